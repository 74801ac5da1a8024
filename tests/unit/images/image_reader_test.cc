// All readers find in an image what was put there.
#include "images/image_reader.h"

#include "images/directory_writer.h"
#include "images/erofs_writer.h"
#include "images/error.h"
#include "images/ext4_writer.h"
#include "tests/unit/images/support.h"

namespace teacup::images {
namespace {

std::vector<std::byte> content_of(const Node& node, u64 size) {
  std::vector<std::byte> bytes(std::min(size, node.content.size));
  if (bytes.empty()) return bytes;
  if (!node.content.store) return bytes;
  node.content.read(*node.content.store->open(), 0, bytes);
  return bytes;
}

void expect_reads(const Tree& tree, const std::string& image) {
  constexpr u64 kMost = 1 * MiB;  // some files of the tree are huge and hollow
  std::map<const Node*, std::string> expected;
  tree.walk([&](const std::string& path, const std::shared_ptr<Node>& node) {
    if (node->type == NodeType::kRegular) expected.try_emplace(node.get(), path);
  });
  auto reader = ImageReader::open(image);
  std::vector<ImageFile> files = reader->files();
  EXPECT_EQ(files.size(), expected.size());
  for (const ImageFile& file : files) {
    auto node = tree.find(file.path);
    ASSERT_TRUE(node) << file.path;
    EXPECT_EQ(file.size, node->content.size) << file.path;
    EXPECT_TRUE(reader->read(file, kMost) == content_of(*node, kMost)) << file.path;
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
