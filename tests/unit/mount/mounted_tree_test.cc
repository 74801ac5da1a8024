// The operations of `teacup mount` without FUSE, on a memory layer over an image.
#include "host/mount/mounted_tree.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "images/erofs_writer.h"
#include "images/opened_image.h"
#include "tests/unit/images/support.h"

namespace teacup::mount {
namespace {

constexpr User kRoot{0, 0, {}};
constexpr User kKeeper{1000, 1000, {}};

// The value of what must succeed.
template <typename T>
T good(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(errno_name(result.error()));
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// One tree for all tests, as there is one a process; each test has a directory of its own in it.
class MountedTreeTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const images::Scratch scratch;
    auto spool = std::make_shared<images::Spool>();
    images::Tree tree;
    tree.insert("dir/file", images::file_node(*spool, "from the image"));
    tree.insert("dir/other", images::file_node(*spool, std::string(100'000, 'o')));
    tree.link("dir/hard", "dir/file");
    tree.insert("dir/link", images::make_symlink("file"));
    auto secret = images::file_node(*spool, "secret", 0600);
    secret->xattrs["user.name"] = "value";
    secret->xattrs["trusted.name"] = "hidden";
    tree.insert("secret", secret);
    write_erofs(tree, scratch / "image", {});
    static auto image = images::OpenedImage::open(scratch / "image");
    ASSERT_TRUE(fs::fs_start_tree(image->image(), false).ok());
    tree_ = good(MountedTree::create(false)).release();
  }

  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    here_ = good(tree_->make_directory(kRoot, kRootNode, name, 0777)).node;
    dir_ = good(tree_->lookup(kRoot, kRootNode, "dir")).node;
  }

  NodeId make(const std::string& name, const std::string& text, u32 mode = 0644) {
    const auto [entry, file] = good(tree_->create_file(kRoot, here_, name, mode, abi::kO_RDWR));
    EXPECT_EQ(good(tree_->write(kRoot, file, 0, bytes(text))), text.size());
    tree_->close(file);
    return entry.node;
  }

  std::string read(NodeId node) {
    const FileId file = good(tree_->open(kRoot, node, abi::kO_RDONLY));
    std::string text(200'000, '\0');
    text.resize(good(tree_->read(file, 0, std::as_writable_bytes(std::span(text)))));
    tree_->close(file);
    return text;
  }

  // `some`: so many entries at a time.
  std::vector<std::string> list(NodeId node, size_t some = 1000) {
    const FileId directory = good(tree_->open(kRoot, node, abi::kO_RDONLY | abi::kO_DIRECTORY));
    std::vector<std::string> names;
    for (u64 position = 0;;) {
      size_t taken = 0;
      good(tree_->read_directory(directory, position, [&](std::string_view name, u64, u8, u64 next) {
        if (taken == some) return false;
        taken++;
        names.emplace_back(name);
        position = next;
        return true;
      }));
      if (taken == 0) break;
    }
    tree_->close(directory);
    std::sort(names.begin(), names.end());
    return names;
  }

  static MountedTree* tree_;
  NodeId here_ = 0, dir_ = 0;
};
MountedTree* MountedTreeTest::tree_ = nullptr;

TEST_F(MountedTreeTest, NamesOfOneFileAreOneNode) {
  const Entry file = good(tree_->lookup(kRoot, dir_, "file"));
  const Entry hard = good(tree_->lookup(kRoot, dir_, "hard"));
  EXPECT_EQ(file.node, hard.node);
  EXPECT_EQ(file.stat.nlink, 2u);
  EXPECT_EQ(read(file.node), "from the image");
  EXPECT_EQ(good(tree_->read_link(good(tree_->lookup(kRoot, dir_, "link")).node)), "file");
  EXPECT_TRUE(tree_->lookup(kRoot, dir_, "none").is(Errno::NOENT));
  EXPECT_TRUE(tree_->lookup(kRoot, file.node, "none").is(Errno::NOTDIR));
  tree_->forget(file.node, 2);
}

TEST_F(MountedTreeTest, ForgottenNodesComeBack) {
  const Entry first = good(tree_->lookup(kRoot, dir_, "other"));
  good(tree_->lookup(kRoot, dir_, "other"));
  tree_->forget(first.node, 1);
  EXPECT_EQ(good(tree_->stat(first.node)).size, 100'000);
  tree_->forget(first.node, 1);
  const Entry again = good(tree_->lookup(kRoot, dir_, "other"));
  EXPECT_EQ(again.stat.ino, first.stat.ino);
  tree_->forget(again.node, 1);
}

TEST_F(MountedTreeTest, WritesGoToMemory) {
  const NodeId node = make("new", "text");
  EXPECT_EQ(read(node), "text");
  const FileId file = good(tree_->open(kRoot, node, abi::kO_RDWR));
  EXPECT_EQ(good(tree_->write(kRoot, file, 10, bytes("more"))), 4u);
  EXPECT_EQ(read(node), std::string("text\0\0\0\0\0\0more", 14));
  Changes shorter;
  shorter.mask = Changes::kSize;
  shorter.size = 2;
  EXPECT_EQ(good(tree_->change(kRoot, node, shorter, file)).size, 2);
  good(tree_->allocate(file, 0, 0, 5));
  EXPECT_EQ(good(tree_->stat(node)).size, 5);
  good(tree_->sync(file));
  EXPECT_TRUE(tree_->seek(file, 100, abi::kSEEK_DATA).is(Errno::NXIO));
  tree_->close(file);
  // Of the image's, a copy.
  const Entry there = good(tree_->lookup(kRoot, dir_, "other"));
  const FileId other = good(tree_->open(kRoot, there.node, abi::kO_WRONLY));
  EXPECT_EQ(good(tree_->write(kRoot, other, 50'000, bytes("x"))), 1u);
  tree_->close(other);
  std::string expected(100'000, 'o');
  expected[50'000] = 'x';
  EXPECT_TRUE(read(there.node) == expected);
  tree_->forget(there.node, 1);
}

TEST_F(MountedTreeTest, UnlinkedFilesStayOpen) {
  const NodeId node = make("gone", "still there");
  const FileId file = good(tree_->open(kRoot, node, abi::kO_RDONLY));
  good(tree_->unlink(kRoot, here_, "gone"));
  EXPECT_TRUE(tree_->lookup(kRoot, here_, "gone").is(Errno::NOENT));
  std::string text(11, '\0');
  EXPECT_EQ(good(tree_->read(file, 0, std::as_writable_bytes(std::span(text)))), 11u);
  EXPECT_EQ(text, "still there");
  EXPECT_EQ(good(tree_->stat(node)).nlink, 0u);
  tree_->close(file);
  tree_->forget(node, 1);
}

TEST_F(MountedTreeTest, NamesAreMadeAndMoved) {
  const NodeId sub = good(tree_->make_directory(kRoot, here_, "sub", 0755)).node;
  const NodeId file = make("file", "text");
  EXPECT_EQ(good(tree_->link(kRoot, file, sub, "second")).node, file);
  good(tree_->rename(kRoot, here_, "file", sub, "first", 0));
  EXPECT_EQ(list(sub, 1), (std::vector<std::string>{".", "..", "first", "second"}));
  EXPECT_EQ(list(here_), (std::vector<std::string>{".", "..", "sub"}));
  // The name that the node was found by is gone; another one serves.
  good(tree_->unlink(kRoot, sub, "first"));
  EXPECT_EQ(good(tree_->lookup(kRoot, sub, "second")).node, file);
  EXPECT_EQ(good(tree_->link(kRoot, file, here_, "third")).node, file);
  EXPECT_TRUE(tree_->rename(kRoot, here_, "third", sub, "second", abi::kRENAME_NOREPLACE).is(Errno::EXIST));
  EXPECT_TRUE(tree_->remove_directory(kRoot, here_, "sub").is(Errno::NOTEMPTY));
  EXPECT_TRUE(tree_->rename(kRoot, here_, "sub", sub, "inside", 0).is(Errno::INVAL));
  good(tree_->unlink(kRoot, sub, "second"));
  good(tree_->remove_directory(kRoot, here_, "sub"));
  const Entry link = good(tree_->make_symlink(kRoot, "target", here_, "link"));
  EXPECT_EQ(good(tree_->read_link(link.node)), "target");
  const Entry fifo = good(tree_->make_node(kRoot, here_, "fifo", abi::kS_IFIFO | 0600, 0));
  EXPECT_EQ(fifo.stat.mode, abi::kS_IFIFO | 0600u);
}

TEST_F(MountedTreeTest, PermissionsAreTheCallers) {
  const Entry secret = good(tree_->lookup(kKeeper, kRootNode, "secret"));
  EXPECT_TRUE(tree_->open(kKeeper, secret.node, abi::kO_RDONLY).is(Errno::ACCES));
  EXPECT_TRUE(tree_->check_access(kKeeper, secret.node, fs::kMayRead).is(Errno::ACCES));
  EXPECT_TRUE(tree_->check_access(kRoot, secret.node, fs::kMayRead).ok());
  Changes open;
  open.mask = Changes::kMode;
  open.mode = 0666;
  EXPECT_TRUE(tree_->change(kKeeper, secret.node, open).is(Errno::PERM));
  const auto [mine, file] = good(tree_->create_file(kKeeper, here_, "mine", 0600, abi::kO_RDWR));
  EXPECT_EQ(mine.stat.uid, 1000u);
  tree_->close(file);
  EXPECT_EQ(good(tree_->change(kKeeper, mine.node, open)).mode & 07777, 0666u);
  EXPECT_TRUE(tree_->make_directory(kKeeper, dir_, "new", 0755).is(Errno::ACCES));
  const User member{1000, 1000, {4711}};
  Changes group;
  group.mask = Changes::kGid;
  group.gid = 4711;
  EXPECT_TRUE(tree_->change(kKeeper, mine.node, group).is(Errno::PERM));
  EXPECT_EQ(good(tree_->change(member, mine.node, group)).gid, 4711u);
  // A mount of an ordinary user's is his.
  const auto own = good(MountedTree::create(true));
  EXPECT_TRUE(
      own->check_access(kKeeper, good(own->lookup(kKeeper, kRootNode, "secret")).node, fs::kMayRead).ok());
}

TEST_F(MountedTreeTest, Times) {
  const NodeId node = make("file", "x");
  Changes times;
  times.mask = Changes::kAtime | Changes::kMtime;
  times.mtime = {fs::TimeChange::kSet, {1'000'000'000, 5}};
  const abi::Stat stat = good(tree_->change(kRoot, node, times));
  EXPECT_EQ(stat.mtime, 1'000'000'000);
  EXPECT_EQ(stat.mtime_nsec, 5);
  EXPECT_GT(stat.atime, 1'000'000'000);
}

TEST_F(MountedTreeTest, ExtendedAttributes) {
  const Entry secret = good(tree_->lookup(kRoot, kRootNode, "secret"));
  EXPECT_EQ(good(tree_->get_xattr(kRoot, secret.node, "user.name")), "value");
  EXPECT_TRUE(tree_->get_xattr(kKeeper, secret.node, "user.name").is(Errno::ACCES));
  const auto all = good(tree_->list_xattrs(kRoot, secret.node));
  EXPECT_NE(all.find("trusted.name"), all.npos);
  EXPECT_EQ(good(tree_->list_xattrs(kKeeper, secret.node)), std::string("user.name\0", 10));
  const NodeId node = make("file", "x");
  good(tree_->set_xattr(kRoot, node, "user.a", bytes("1"), 0));
  EXPECT_EQ(good(tree_->get_xattr(kRoot, node, "user.a")), "1");
  good(tree_->remove_xattr(kRoot, node, "user.a"));
  EXPECT_TRUE(tree_->get_xattr(kRoot, node, "user.a").is(Errno::NODATA));
  EXPECT_TRUE(tree_->set_xattr(kRoot, node, "other.a", bytes("1"), 0).is(Errno::NOTSUP));
}

TEST_F(MountedTreeTest, LongListingsInPieces) {
  for (int i = 0; i < 500; i++) make(std::to_string(i), "");
  EXPECT_EQ(list(here_).size(), 502u);
  EXPECT_EQ(list(here_, 7).size(), 502u);
}

TEST_F(MountedTreeTest, Statfs) {
  const abi::Statfs statfs = good(tree_->statfs());
  EXPECT_GT(statfs.blocks, statfs.bavail);
  EXPECT_EQ(statfs.namelen, 255);
}

}  // namespace
}  // namespace teacup::mount
