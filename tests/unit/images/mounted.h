// Images mounted by the host kernel, where it may (root, and a kernel with the file system), as the oracle.
#pragma once

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/unit/images/support.h"

namespace teacup::images {

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

// Expects below `top` what the tree says.
inline void compare(const Tree& tree, const std::string& top) {
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

}  // namespace teacup::images
