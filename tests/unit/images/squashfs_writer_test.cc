// The oracles are unsquashfs, and the host kernel where it may mount.
#include "images/squashfs_writer.h"

#include "images/error.h"
#include "images/image_reader.h"
#include "tests/unit/images/mounted.h"
#include "tests/unit/images/support.h"

namespace teacup::images {
namespace {

// Whole seconds, and not gigabytes of zeros, through which the writer has to go.
Tree tree_for_squashfs() {
  Tree tree = tree_of_everything(std::make_shared<Spool>());
  tree.find("owned")->mtime_nsec = 0;
  tree.remove("sparse/huge");
  return tree;
}

constexpr const char* kCompressors[] = {"gzip", "lz4", "xz", "zstd"};

class SquashfsWriter : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Compressors, SquashfsWriter, testing::ValuesIn(kCompressors));

TEST_P(SquashfsWriter, TheHostKernelReadsItBack) {
  const Scratch scratch;
  const Tree tree = tree_for_squashfs();
  write_squashfs(tree, scratch / "image", {}, GetParam());
  const Mounted mounted(scratch / "image", "squashfs", scratch / "mnt");
  if (!mounted.ok()) GTEST_SKIP() << "cannot mount squashfs with " << GetParam() << " here";
  compare(tree, scratch / "mnt");
  struct stat a, c, top, hole;
  ASSERT_EQ(::stat((scratch / "mnt/links/a").c_str(), &a), 0);
  ASSERT_EQ(::stat((scratch / "mnt/other/c").c_str(), &c), 0);
  ASSERT_EQ(::stat((scratch / "mnt/").c_str(), &top), 0);
  ASSERT_EQ(::stat((scratch / "mnt/sparse/hole").c_str(), &hole), 0);
  EXPECT_EQ(a.st_ino, c.st_ino);
  EXPECT_EQ(a.st_nlink, 4u);
  EXPECT_EQ(top.st_nlink, 2u + 8u);
  EXPECT_EQ(hole.st_blocks, 0);
}

TEST_P(SquashfsWriter, SameTreeSameBytes) {
  const Scratch scratch;
  write_squashfs(tree_for_squashfs(), scratch / "one", {}, GetParam());
  write_squashfs(tree_for_squashfs(), scratch / "two", {}, GetParam());
  EXPECT_TRUE(slurp(scratch / "one") == slurp(scratch / "two"));
}

TEST(SquashfsWriterTest, UnsquashfsReadsItBack) {
  if (!have("unsquashfs")) GTEST_SKIP() << "no unsquashfs";
  const Scratch scratch;
  Tree tree = tree_for_squashfs();
  tree.remove("special");  // devices are root's to make
  tree.remove("attributes");
  WriteOptions options;
  options.time = 1'000'000'000;
  write_squashfs(tree, scratch / "image", options);
  int status = 0;
  const std::string output =
      run("unsquashfs -quiet -no-progress -strict-errors -d " + (scratch / "out") + " " + (scratch / "image"),
          &status);
  ASSERT_EQ(status, 0) << output;
  tree.walk([&](const std::string& path, const std::shared_ptr<Node>& node) {
    if (node->type != NodeType::kRegular || node->content.size > 1 * MiB) return;
    std::string want(node->content.size, '\0');
    if (node->content.store) {
      node->content.read(*node->content.store->open(), 0, std::as_writable_bytes(std::span(want)));
    }
    EXPECT_TRUE(slurp(scratch / "out" + path) == want) << path;
  });
  EXPECT_NE(run("unsquashfs -s " + (scratch / "image")).find("2001"), std::string::npos);
}

TEST(SquashfsWriterTest, EmptyTree) {
  const Scratch scratch;
  write_squashfs(Tree(), scratch / "image", {});
  auto reader = ImageReader::open(scratch / "image");
  EXPECT_TRUE(reader->list(reader->root()).empty());
}

TEST(SquashfsWriterTest, SaysWhatDoesNotFit) {
  const Scratch scratch;
  Tree tree;
  auto node = make_directory();
  node->xattrs["system.posix_acl_access"] = "x";
  tree.insert("d", node);
  EXPECT_THROW(write_squashfs(tree, scratch / "image", {}), Error);
  EXPECT_THROW(write_squashfs(Tree(), scratch / "image", {}, "lzma"), Error);
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

}  // namespace
}  // namespace teacup::images
