// All readers find in an image what was put there.
#include "images/image_reader.h"

#include "images/directory_source.h"
#include "images/erofs_writer.h"
#include "images/error.h"
#include "images/ext4_writer.h"
#include "tests/unit/images/support.h"

namespace teacup::images {
namespace {

constexpr u64 kMost = 1 * MiB;  // some files of the tree are huge and hollow

std::vector<std::byte> content_of(const Node& node) {
  std::vector<std::byte> bytes(std::min(kMost, node.content.size));
  if (bytes.empty()) return bytes;
  if (!node.content.store) return bytes;
  node.content.read(*node.content.store->open(), 0, bytes);
  return bytes;
}

void expect_node(ImageReader& reader, const std::string& path, const Node& node) {
  const u64 number = reader.find(path, false);
  const ImageStat status = reader.stat(number);
  EXPECT_EQ(status.mode, node.mode()) << path;
  EXPECT_EQ(status.uid, node.uid) << path;
  EXPECT_EQ(status.gid, node.gid) << path;
  EXPECT_EQ(status.mtime, node.mtime) << path;
  EXPECT_EQ(status.mtime_nsec, node.mtime_nsec) << path;
  EXPECT_EQ(status.device_major, node.device_major) << path;
  EXPECT_EQ(status.device_minor, node.device_minor) << path;
  EXPECT_TRUE(reader.xattrs(number) ==
              (std::map<std::string, std::string>(node.xattrs.begin(), node.xattrs.end())))
      << path;
  if (node.type == NodeType::kSymlink) {
    EXPECT_EQ(reader.link_target(number), node.target) << path;
  }
  if (node.is_directory()) {
    const auto entries = reader.list(number);
    EXPECT_EQ(entries.size(), node.children.size()) << path;
  }
}

void expect_reads(const Tree& tree, const std::string& image) {
  std::map<const Node*, std::string> expected;
  auto reader = ImageReader::open(image);
  tree.walk([&](const std::string& path, const std::shared_ptr<Node>& node) {
    if (node->type == NodeType::kRegular) expected.try_emplace(node.get(), path);
    expect_node(*reader, path, *node);
  });
  std::vector<ImageFile> files = reader->files();
  EXPECT_EQ(files.size(), expected.size());
  for (const ImageFile& file : files) {
    auto node = tree.find(file.path);
    ASSERT_TRUE(node) << file.path;
    EXPECT_EQ(file.size, node->content.size) << file.path;
    EXPECT_TRUE(reader->read(file, kMost) == content_of(*node)) << file.path;
  }
}

TEST(ImageReader, ReadsErofs) {
  const Scratch scratch;
  const Tree tree = tree_of_everything(std::make_shared<Spool>());
  write_erofs(tree, scratch / "image", {});
  expect_reads(tree, scratch / "image");
}

TEST(ImageReader, ReadsExt4) {
  const Scratch scratch;
  const Tree tree = tree_of_everything(std::make_shared<Spool>());
  write_ext4(tree, scratch / "image", {});
  expect_reads(tree, scratch / "image");
}

// What other tools write, from a directory of the host's: compared with that directory.
void expect_like_directory(const std::string& image, const std::string& directory) {
  Tree tree;
  add_directory(tree, directory, {});
  expect_reads(tree, image);
}

std::string make_directory_tree(const Scratch& scratch) {
  const std::string top = scratch / "tree";
  std::filesystem::create_directories(top + "/sub/deeper");
  std::ofstream(top + "/sub/file") << pattern(300'000, 1);
  std::ofstream(top + "/sub/text") << std::string(500'000, 'a') << pattern(100, 2)
                                   << std::string(500'000, 'b');
  std::filesystem::create_hard_link(top + "/sub/file", top + "/other");
  std::filesystem::create_symlink("sub/file", top + "/link");
  for (int i = 0; i < 300; i++) std::ofstream(top + "/sub/deeper/" + std::to_string(i)) << i;
  const int touched = ::system(("find " + top + " -exec touch -h -d @1000000000 {} +").c_str());
  EXPECT_EQ(touched, 0);
  return top;
}

TEST(ImageReader, ReadsSquashfs) {
  for (const char* options :
       {"-comp gzip", "-comp lz4", "-comp xz", "-comp zstd", "-no-exports -no-fragments"}) {
    const Scratch scratch;
    const std::string top = make_directory_tree(scratch);
    int status = 1;
    const std::string output =
        run("mksquashfs " + top + " " + (scratch / "image") + " -quiet -no-progress -noappend " + options,
            &status);
    ASSERT_EQ(status, 0) << output;
    expect_like_directory(scratch / "image", top);
  }
}

TEST(ImageReader, ReadsCompressedErofs) {
  for (const char* options : {"-zlz4", "-zlz4hc -C65536", "-zlz4 -Eztailpacking -Eforce-inode-extended"}) {
    const Scratch scratch;
    const std::string top = make_directory_tree(scratch);
    int status = 1;
    const std::string output = run(
        "mkfs.erofs " + std::string(options) + " -T1000000000 " + (scratch / "image") + " " + top, &status);
    ASSERT_EQ(status, 0) << output;
    expect_like_directory(scratch / "image", top);
  }
}

TEST(ImageReader, ReadsArchives) {
  const Scratch scratch;
  const std::string top = make_directory_tree(scratch);
  ASSERT_EQ(setenv("XDG_CACHE_HOME", (scratch / "cache").c_str(), 1), 0);
  int status = 1;
  run("tar -czf " + (scratch / "image.tar.gz") + " -C " + top + " .", &status);
  ASSERT_EQ(status, 0);
  expect_like_directory(scratch / "image.tar.gz", top);
}

TEST(ImageReader, FindsPaths) {
  const Scratch scratch;
  Tree tree;
  auto spool = std::make_shared<Spool>();
  tree.insert("usr/bin/tool", file_node(*spool, "tool"));
  tree.insert("bin", make_symlink("/usr/bin"));
  tree.insert("usr/bin/alias", make_symlink("../../../../bin/tool"));
  tree.insert("loop", make_symlink("loop"));
  write_erofs(tree, scratch / "image", {});
  auto reader = ImageReader::open(scratch / "image");
  const u64 tool = reader->find("usr/bin/tool", false);
  EXPECT_EQ(reader->find("/bin/alias", true), tool);
  EXPECT_EQ(reader->find("//usr/../bin/./tool", true), tool);
  EXPECT_NE(reader->find("bin/alias", false), tool);
  EXPECT_EQ(reader->find("", true), reader->root());
  for (const char* bad : {"missing", "bin/tool/x", "bin/tool/", "loop", "loop/x"}) {
    EXPECT_THROW(reader->find(bad, true), Error) << bad;
  }
  EXPECT_NO_THROW(reader->find("loop", false));
}

TEST(ImageReader, ReadsDirectories) {
  const Scratch scratch;
  std::filesystem::create_directories(scratch / "tree/sub");
  std::ofstream(scratch / "tree/sub/file") << "text";
  std::filesystem::create_hard_link(scratch / "tree/sub/file", scratch / "tree/other");
  std::filesystem::create_symlink("other", scratch / "tree/link");
  auto reader = ImageReader::open((scratch / "tree") + "/");
  std::vector<ImageFile> files = reader->files();
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(reader->read(files[0], 2).size(), 2u);
}

TEST(ImageReader, RefusesWhatIsNone) {
  const Scratch scratch;
  EXPECT_THROW(ImageReader::open(scratch / "missing"), Error);
  std::ofstream(scratch / "short") << "x";
  EXPECT_THROW(ImageReader::open(scratch / "short"), Error);
  std::ofstream(scratch / "zeros") << std::string(8192, '\0');
  EXPECT_THROW(ImageReader::open(scratch / "zeros"), Error);
}

// A damaged image is an error or gives wrong bytes, but nothing worse.
TEST(ImageReader, DamagedImagesEnd) {
  const Scratch scratch;
  Tree tree;
  auto spool = std::make_shared<Spool>();
  for (int i = 0; i < 20; i++)
    tree.insert("d" + std::to_string(i % 3) + "/f" + std::to_string(i), file_node(*spool, "text"));
  write_erofs(tree, scratch / "image", {});
  const std::string whole = slurp(scratch / "image");
  unsigned state = 1;
  auto random = [&] { return (state = state * 1103515245 + 12345) >> 8; };
  for (int i = 0; i < 300; i++) {
    std::string bytes = whole;
    for (int n = 0; n < 8; n++) bytes[1024 + random() % (bytes.size() - 1024)] = static_cast<char>(random());
    if (i % 5 == 0) bytes.resize(4096 + random() % (bytes.size() - 4095));
    std::ofstream(scratch / "damaged", std::ios::binary) << bytes;
    try {
      auto reader = ImageReader::open(scratch / "damaged");
      for (const ImageFile& file : reader->files()) (void)reader->read(file, 64);
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace teacup::images
