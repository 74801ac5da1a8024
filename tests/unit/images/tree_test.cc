#include "images/tree.h"

#include <gmock/gmock.h>

#include "images/directory_source.h"
#include "images/directory_writer.h"
#include "images/error.h"
#include "tests/unit/images/support.h"

namespace teacup::images {
namespace {

TEST(Tree, FollowsSymlinkedDirectoriesButNotTheLastName) {
  auto spool = std::make_shared<Spool>();
  Tree tree;
  tree.insert("usr/bin", make_directory());
  tree.insert("bin", make_symlink("usr/bin"));
  tree.insert("./bin/sh", file_node(*spool, "sh"));
  EXPECT_NE(tree.find("/usr/bin/sh"), nullptr);
  tree.insert("bin/", make_directory());  // a directory does not replace a symlink to one
  EXPECT_EQ(tree.find("bin")->type, NodeType::kSymlink);
  tree.insert("bin", file_node(*spool, "a file does"));
  EXPECT_EQ(tree.find("bin")->type, NodeType::kRegular);
}

TEST(Tree, AbsoluteTargetsStayInside) {
  auto spool = std::make_shared<Spool>();
  Tree tree;
  tree.insert("run", make_directory());
  tree.insert("var/run", make_symlink("/../run"));
  tree.insert("var/run/x", file_node(*spool, "x"));
  EXPECT_NE(tree.find("run/x"), nullptr);
}

TEST(Tree, RefusesWhatCannotBe) {
  auto spool = std::make_shared<Spool>();
  Tree tree;
  tree.insert("file", file_node(*spool, "x"));
  tree.insert("loop", make_symlink("loop"));
  EXPECT_THROW(tree.insert("../x", make_directory()), Error);
  EXPECT_THROW(tree.insert("file/x", make_directory()), Error);
  EXPECT_THROW(tree.insert("loop/x", make_directory()), Error);
  EXPECT_THROW(tree.insert(std::string(256, 'x'), make_directory()), Error);
  EXPECT_THROW(tree.link("other", "nothing"), Error);
}

TEST(Tree, KeepsOrTakesTheMetadataOfADirectory) {
  Tree tree;
  tree.insert("d/below", make_directory());
  tree.insert("d", make_directory(0700), OnDirectory::kKeep);
  EXPECT_EQ(tree.find("d")->permissions, 0755);
  tree.insert("d", make_directory(0700), OnDirectory::kReplace);
  EXPECT_EQ(tree.find("d")->permissions, 0700);
  EXPECT_NE(tree.find("d/below"), nullptr);
}

TEST(Tree, ClampsTimes) {
  Tree tree;
  auto node = make_directory();
  node->mtime = 100;
  node->mtime_nsec = 5;
  tree.insert("new", node);
  tree.clamp_times(99);
  EXPECT_EQ(node->mtime, 99);
  EXPECT_EQ(node->mtime_nsec, 0u);
}

TEST(Content, ReadsHolesAsZeros) {
  auto spool = std::make_shared<Spool>();
  Content content;
  spool->append(content, 2, std::as_bytes(std::span("ab", 2)));
  spool->append(content, 6, std::as_bytes(std::span("cd", 2)));
  content.size = 10;
  std::string text(10, 'x');
  content.read(*content.store->open(), 0, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(text, std::string("\0\0ab\0\0cd\0\0", 10));
  text.resize(3);
  content.read(*content.store->open(), 3, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(text, std::string("b\0\0", 3));
  EXPECT_THROW(spool->append(content, 7, std::as_bytes(std::span("x", 1))), Error);
}

TEST(Directory, RoundTrip) {
  const Scratch scratch;
  auto spool = std::make_shared<Spool>();
  Tree tree = tree_of_everything(spool);
  tree.remove("attributes");  // scratch may lie where there are none
  const bool root = ::geteuid() == 0;
  write_directory(tree, scratch / "out", {.owners = root});
  Tree back;
  add_directory(back, scratch / "out", {});
  size_t compared = 0;
  tree.walk([&](const std::string& path, const std::shared_ptr<Node>& node) {
    const std::shared_ptr<Node> other = back.find(path);
    if (!root && (node->type == NodeType::kCharDevice || node->type == NodeType::kBlockDevice)) return;
    ASSERT_NE(other, nullptr) << path;
    ++compared;
    EXPECT_EQ(node->type, other->type) << path;
    EXPECT_EQ(node->target, other->target) << path;
    EXPECT_EQ(node->mtime, other->mtime) << path;
    EXPECT_EQ(node->content.size, other->content.size) << path;
    if (node->type != NodeType::kSymlink) {
      EXPECT_EQ(node->permissions, other->permissions) << path;
    }
    if (root) {
      EXPECT_EQ(node->uid, other->uid) << path;
    }
    if (node->type == NodeType::kRegular && node->content.size > 0 && node->content.size < 1 * MiB) {
      std::string a(node->content.size, 1), b(node->content.size, 2);
      node->content.read(*node->content.store->open(), 0, std::as_writable_bytes(std::span(a)));
      other->content.read(*other->content.store->open(), 0, std::as_writable_bytes(std::span(b)));
      EXPECT_EQ(a, b) << path;
    }
  });
  EXPECT_GT(compared, 5000u);
  EXPECT_EQ(back.find("links/a"), back.find("other/c"));
  const Content& huge = back.find("sparse/huge")->content;
  EXPECT_LE(huge.pieces.size(), 1u);
}

TEST(Directory, SaysWhatIsMissing) {
  Tree tree;
  EXPECT_THROW(add_directory(tree, "/nonexistent/x", {}), Error);
}

}  // namespace
}  // namespace teacup::images
