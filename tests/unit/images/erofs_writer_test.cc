// The oracle is erofs-utils, and the host kernel where it may mount (root, and a kernel with erofs).
#include "images/erofs_writer.h"

#include <sys/stat.h>

#include "images/error.h"
#include "tests/unit/images/mounted.h"
#include "tests/unit/images/support.h"

namespace teacup::images {
namespace {

TEST(ErofsWriter, FsckAcceptsATreeOfEverything) {
  if (!have("fsck.erofs")) GTEST_SKIP() << "no erofs-utils";
  const Scratch scratch;
  write_erofs(tree_of_everything(std::make_shared<Spool>()), scratch / "image", {});
  int status = 0;
  const std::string output = run("fsck.erofs " + (scratch / "image"), &status);
  EXPECT_EQ(status, 0) << output;
}

TEST(ErofsWriter, SameTreeSameBytes) {
  const Scratch scratch;
  write_erofs(tree_of_everything(std::make_shared<Spool>()), scratch / "one", {});
  write_erofs(tree_of_everything(std::make_shared<Spool>()), scratch / "two", {});
  EXPECT_TRUE(slurp(scratch / "one") == slurp(scratch / "two"));
}

TEST(ErofsWriter, HolesAreKept) {
  const Scratch scratch;
  Tree tree;
  auto huge = std::make_shared<Node>();
  auto spool = std::make_shared<Spool>();
  add_piece(*spool, *huge, 5 * GiB, pattern(4096, 4));
  huge->content.size = 8 * GiB;
  tree.insert("huge", huge);
  write_erofs(tree, scratch / "image", {});
  EXPECT_LT(std::filesystem::file_size(scratch / "image"), 512 * KiB);
}

TEST(ErofsWriter, RefusesForeignAttributes) {
  const Scratch scratch;
  Tree tree;
  auto node = make_directory();
  node->xattrs["weird.name"] = "x";
  tree.insert("d", node);
  EXPECT_THROW(write_erofs(tree, scratch / "image", {}), Error);
  EXPECT_FALSE(std::filesystem::exists(scratch / "image"));
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

TEST(ErofsWriter, TheHostKernelReadsItBack) {
  const Scratch scratch;
  const Tree tree = tree_of_everything(std::make_shared<Spool>());
  write_erofs(tree, scratch / "image", {});
  const Mounted mounted(scratch / "image", "erofs", scratch / "mnt");
  if (!mounted.ok()) GTEST_SKIP() << "cannot mount erofs here";
  compare(tree, scratch / "mnt");
  size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(scratch / "mnt/big"))
    ++entries;
  EXPECT_EQ(entries, 5000u);
  struct stat a, c, top;
  ASSERT_EQ(::stat((scratch / "mnt/links/a").c_str(), &a), 0);
  ASSERT_EQ(::stat((scratch / "mnt/other/c").c_str(), &c), 0);
  ASSERT_EQ(::stat((scratch / "mnt/").c_str(), &top), 0);
  EXPECT_EQ(a.st_ino, c.st_ino);
  EXPECT_EQ(a.st_nlink, 4u);
  EXPECT_EQ(top.st_nlink, 2u + 8u);
}

}  // namespace
}  // namespace teacup::images
