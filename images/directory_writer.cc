#include "images/directory_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <unordered_map>

#include "images/error.h"

namespace teacup::images {

namespace {

class Writer {
 public:
  Writer(std::string top, const DirectoryWriteOptions& options) : top_(std::move(top)), options_(options) {}

  void write(const Tree& tree) {
    if (::mkdir(top_.c_str(), 0755) != 0 && errno != EEXIST) throw_errno("cannot make " + top_);
    if (::rmdir(top_.c_str()) != 0) throw_errno("cannot write a tree into " + top_);
    if (::mkdir(top_.c_str(), 0700) != 0) throw_errno("cannot make " + top_);
    std::vector<std::pair<std::string, const Node*>> directories{{top_, &tree.root()}};
    tree.walk([&](const std::string& path, const std::shared_ptr<Node>& node) {
      add(top_ + path, *node);
      if (node->is_directory()) directories.emplace_back(top_ + path, node.get());
    });
    // Last, deepest first: modes may forbid, and times change, with what is made below.
    for (auto at = directories.rbegin(); at != directories.rend(); ++at) set_metadata(at->first, *at->second);
  }

 private:
  void add(const std::string& path, const Node& node) {
    if (!node.is_directory()) {
      const auto [known, first] = names_.try_emplace(&node, path);
      if (!first) {
        check(::link(known->second.c_str(), path.c_str()), path);
        return;
      }
    }
    switch (node.type) {
      case NodeType::kDirectory:
        check(::mkdir(path.c_str(), 0700), path);
        return;
      case NodeType::kRegular:
        write_file(path, node.content);
        break;
      case NodeType::kSymlink:
        check(::symlink(node.target.c_str(), path.c_str()), path);
        break;
      case NodeType::kCharDevice:
      case NodeType::kBlockDevice:
        if (!options_.owners) return;
        [[fallthrough]];
      case NodeType::kFifo:
      case NodeType::kSocket:
        check(::mknod(path.c_str(), node.mode(), makedev(node.device_major, node.device_minor)), path);
        break;
    }
    set_metadata(path, node);
  }

  static void check(int result, const std::string& path) {
    if (result != 0) throw_errno("cannot make " + path);
  }

  static void write_file(const std::string& path, const Content& content) {
    const File file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file) throw_errno("cannot make " + path);
    if (!content.pieces.empty()) {
      const std::shared_ptr<const File> from = content.store->open();
      for (const Content::Piece& piece : content.pieces) {
        copy_range(*from, piece.store_offset, file, piece.offset, piece.length, content.store->name(), path);
      }
    }
    check(::ftruncate(file.fd(), static_cast<off_t>(content.size)), path);
  }

  void set_metadata(const std::string& path, const Node& node) const {
    if (options_.owners) check(::lchown(path.c_str(), node.uid, node.gid), path);
    for (const auto& [name, value] : node.xattrs) {
      if (!options_.owners && !name.starts_with("user.")) continue;
      check(::lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0), path);
    }
    if (node.type != NodeType::kSymlink) check(::chmod(path.c_str(), node.permissions), path);
    const timespec times[2] = {{node.mtime, static_cast<long>(node.mtime_nsec)},
                               {node.mtime, static_cast<long>(node.mtime_nsec)}};
    check(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), path);
  }

  std::string top_;
  const DirectoryWriteOptions& options_;
  std::unordered_map<const Node*, std::string> names_;
};

}  // namespace

void write_directory(const Tree& tree, const std::string& path, const DirectoryWriteOptions& options) {
  Writer(path, options).write(tree);
}

}  // namespace teacup::images
