// The oracle is e2fsck, and the host kernel where it may mount.
#include "images/ext4_writer.h"

#include "images/error.h"
#include "tests/unit/images/mounted.h"
#include "tests/unit/images/support.h"

namespace teacup::images {
namespace {

// Attributes and links as far as ext4 has room for them.
Tree tree_for_ext4() {
  Tree tree = tree_of_everything(std::make_shared<Spool>());
  tree.find("long")->target.resize(3000);
  return tree;
}

TEST(Ext4Writer, FsckAcceptsATreeOfEverything) {
  if (!have("e2fsck")) GTEST_SKIP() << "no e2fsck";
  const Scratch scratch;
  write_ext4(tree_for_ext4(), scratch / "image", {});
  int status = 0;
  const std::string output = run("e2fsck -fn " + (scratch / "image"), &status);
  EXPECT_EQ(status, 0) << output;
}

TEST(Ext4Writer, SmallAndEmptyTreesFit) {
  if (!have("e2fsck")) GTEST_SKIP() << "no e2fsck";
  const Scratch scratch;
  auto spool = std::make_shared<Spool>();
  // Sizes around that of a block group, 32768 blocks, where tables and cut-off last groups change.
  for (const u64 blocks : {0, 1, 1000, 32600, 33000}) {
    Tree tree;
    auto node = std::make_shared<Node>();
    if (blocks > 0) add_piece(*spool, *node, 0, std::string(blocks * 4096, 'x'));
    tree.insert("file", node);
    write_ext4(tree, scratch / "image", {});
    int status = 0;
    const std::string output = run("e2fsck -fn " + (scratch / "image"), &status);
    EXPECT_EQ(status, 0) << blocks << output;
  }
}

TEST(Ext4Writer, SameTreeSameBytes) {
  const Scratch scratch;
  write_ext4(tree_for_ext4(), scratch / "one", {});
  write_ext4(tree_for_ext4(), scratch / "two", {});
  EXPECT_TRUE(slurp(scratch / "one") == slurp(scratch / "two"));
}

TEST(Ext4Writer, SaysWhatDoesNotFit) {
  const Scratch scratch;
  Tree tree;
  auto node = make_directory();
  node->xattrs["user.large"] = pattern(10000, 3);
  tree.insert("d", node);
  EXPECT_THROW(write_ext4(tree, scratch / "image", {}), Error);
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

TEST(Ext4Writer, TheHostKernelReadsItBack) {
  const Scratch scratch;
  const Tree tree = tree_for_ext4();
  write_ext4(tree, scratch / "image", {});
  const Mounted mounted(scratch / "image", "ext4", scratch / "mnt");
  if (!mounted.ok()) GTEST_SKIP() << "cannot mount ext4 here";
  compare(tree, scratch / "mnt");
  struct stat a, c, top, huge;
  ASSERT_EQ(::stat((scratch / "mnt/links/a").c_str(), &a), 0);
  ASSERT_EQ(::stat((scratch / "mnt/other/c").c_str(), &c), 0);
  ASSERT_EQ(::stat((scratch / "mnt/").c_str(), &top), 0);
  ASSERT_EQ(::stat((scratch / "mnt/sparse/huge").c_str(), &huge), 0);
  EXPECT_EQ(a.st_ino, c.st_ino);
  EXPECT_EQ(a.st_nlink, 4u);
  EXPECT_EQ(top.st_nlink, 2u + 8u);
  EXPECT_EQ(huge.st_blocks, 8);
}

}  // namespace
}  // namespace teacup::images
