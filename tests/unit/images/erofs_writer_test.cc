// The oracle is erofs-utils, and the host kernel where it may mount (root, and a kernel with erofs).
#include "images/erofs_writer.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "images/error.h"
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

class Mounted {
 public:
  Mounted(const std::string& image, const std::string& type, const std::string& where) : where_(where) {
    std::filesystem::create_directory(where);
    run("mount -o loop,ro -t " + type + " " + image + " " + where, &status_);
  }
  ~Mounted() {
    if (ok()) ::umount(where_.c_str());
  }
  bool ok() const { return status_ == 0; }

 private:
  std::string where_;
  int status_ = -1;
};

void compare(const Tree& tree, const std::string& top) {
  tree.walk([&](const std::string& path, const std::shared_ptr<Node>& node) {
    struct stat st;
    ASSERT_EQ(::lstat((top + path).c_str(), &st), 0) << path;
    EXPECT_EQ(st.st_mode, node->mode()) << path;
    EXPECT_EQ(st.st_uid, node->uid) << path;
    EXPECT_EQ(st.st_gid, node->gid) << path;
    EXPECT_EQ(st.st_mtim.tv_sec, node->mtime) << path;
    EXPECT_EQ(st.st_mtim.tv_nsec, node->mtime_nsec) << path;
    EXPECT_EQ(major(st.st_rdev), node->device_major) << path;
    EXPECT_EQ(minor(st.st_rdev), node->device_minor) << path;
    for (const auto& [name, value] : node->xattrs) {
      std::string got(65536, '\0');
      const ssize_t size = ::lgetxattr((top + path).c_str(), name.c_str(), got.data(), got.size());
      ASSERT_EQ(size, static_cast<ssize_t>(value.size())) << path << " " << name;
      EXPECT_EQ(got.substr(0, value.size()), value) << path << " " << name;
    }
    if (node->type == NodeType::kSymlink) {
      EXPECT_EQ(std::filesystem::read_symlink(top + path).string(), node->target) << path;
    }
    if (node->type != NodeType::kRegular) return;
    ASSERT_EQ(static_cast<u64>(st.st_size), node->content.size) << path;
    const int fd = ::open((top + path).c_str(), O_RDONLY);
    ASSERT_GE(fd, 0) << path;
    std::string got, want;
    for (u64 at = 0; at < node->content.size;) {
      // Ends and edges of data, not gigabytes of zeros.
      const u64 length = std::min<u64>(node->content.size - at, 128 * KiB);
      bool interesting = node->content.size < 1 * MiB || at == 0 || at + length == node->content.size;
      for (const auto& piece : node->content.pieces) {
        interesting |= piece.offset < at + length && at < piece.offset + piece.length;
      }
      if (interesting) {
        got.assign(length, 1);
        want.assign(length, 0);
        ASSERT_EQ(::pread(fd, got.data(), length, static_cast<off_t>(at)), static_cast<ssize_t>(length))
            << path;
        if (node->content.store != nullptr) {
          node->content.read(*node->content.store->open(), at, std::as_writable_bytes(std::span(want)));
        }
        EXPECT_TRUE(got == want) << path << " at " << at;
      }
      at += length;
    }
    ::close(fd);
  });
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
  EXPECT_EQ(a.st_nlink, 3u);
  EXPECT_EQ(top.st_nlink, 2u + 8u);
}

}  // namespace
}  // namespace teacup::images
