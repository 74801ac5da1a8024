// A file tree in memory: what every source (packages, tar, host directory) fills and every writer (EROFS,
// ext4, host directory) reads. Metadata is held here, file data by reference to where it lies, so a tree of
// gigabytes costs some hundred bytes a file. Owners, devices and hard links are values here: nothing needs
// root.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "images/file.h"
#include "kernel/base/types.h"

namespace teacup::images {

enum class NodeType : u8 { kRegular, kDirectory, kSymlink, kCharDevice, kBlockDevice, kFifo, kSocket };

// That of an st_mode; what is nothing else is a regular file.
NodeType node_type(u32 mode);

// Where bytes lie on the host.
class Store {
 public:
  virtual ~Store() = default;
  // An open file to read from, and its name for messages. Callers open one store at a time.
  virtual std::shared_ptr<const File> open() = 0;
  virtual const std::string& name() const = 0;
};

// The data of a regular file: pieces in order of offset, none overlapping or empty; what lies between them is
// hole.
struct Content {
  struct Piece {
    u64 offset;  // in the file
    u64 length;
    u64 store_offset;  // in the store
  };

  u64 size = 0;
  std::vector<Piece> pieces;
  std::shared_ptr<Store> store;

  // Reads `bytes` at `offset`, holes as zeros; the range must lie inside the size.
  void read(const File& file, u64 offset, std::span<std::byte> bytes) const;
};

struct Node {
  NodeType type = NodeType::kRegular;
  u16 permissions = 0644;  // 07777: setuid, setgid and sticky included
  u32 uid = 0;
  u32 gid = 0;
  s64 mtime = 0;  // seconds since the epoch
  u32 mtime_nsec = 0;
  u32 device_major = 0;  // of a device
  u32 device_minor = 0;
  std::string target;                                                  // of a symlink
  Content content;                                                     // of a regular file
  std::map<std::string, std::string, std::less<>> xattrs;              // full name → value
  std::map<std::string, std::shared_ptr<Node>, std::less<>> children;  // of a directory, in byte order

  bool is_directory() const { return type == NodeType::kDirectory; }
  u16 mode() const;  // st_mode: type and permissions
};

// What insert() does with a directory that is already there.
enum class OnDirectory {
  kKeep,     // it keeps its metadata, as dpkg does
  kReplace,  // it takes the new metadata, as tar does
  kLayer,    // the same, and what is there may only be a directory itself, not a symlink to one
};

class Tree {
 public:
  Tree();

  Node& root() { return *root_; }
  const Node& root() const { return *root_; }

  // Paths are relative to the root, with or without a leading '/' or "./"; ".." is refused.
  // Symlinks to directories inside the tree are followed in all components but the last, as extracting onto a
  // disk would: that is how packages with files in /bin land in a tree where /bin is a link to usr/bin.

  // Puts `node` at `path`, making parents (0755, root, time 0) as needed. It replaces what is there, but a
  // directory stays when a directory, or symlink to one, is there already. Error on a path through something
  // that is not one.
  void insert(std::string_view path, std::shared_ptr<Node> node,
              OnDirectory on_directory = OnDirectory::kReplace);
  // A second name for the node at `target`.
  void link(std::string_view path, std::string_view target);
  // The node at `path`, or null. The last component is not followed.
  std::shared_ptr<Node> find(std::string_view path) const;
  // Removes the name, and what is below it. False when there is none.
  bool remove(std::string_view path);

  // Calls visit(path, node) for everything below the root, a directory before its children, in byte order of
  // names.
  template <typename Visit>
  void walk(Visit visit) const {
    walk_below(*root_, "", visit);
  }

  // No time is later than this afterwards (reproducible-builds.org, SOURCE_DATE_EPOCH).
  void clamp_times(s64 latest);

 private:
  enum class Missing { kMake, kNull };
  // The directory at the path of `names`, symlinks followed; null when missing is kNull and there is none.
  std::shared_ptr<Node> directory_at(std::vector<std::string> names, Missing missing,
                                     std::string_view path) const;

  template <typename Visit>
  static void walk_below(const Node& directory, const std::string& prefix, Visit& visit) {
    for (const auto& [name, child] : directory.children) {
      const std::string path = prefix + "/" + name;
      visit(path, child);
      if (child->is_directory()) walk_below(*child, path, visit);
    }
  }

  std::shared_ptr<Node> root_;
};

std::shared_ptr<Node> make_directory(u16 permissions = 0755);
std::shared_ptr<Node> make_symlink(std::string target);

// Bytes in memory, appended by those who make file data (small files of recipes, archive members): one
// unnamed temporary file, so that it may outgrow memory.
class Spool : public Store, public std::enable_shared_from_this<Spool> {
 public:
  Spool() : file_(std::make_shared<File>(File::temporary())) {}
  std::shared_ptr<const File> open() override { return file_; }
  const std::string& name() const override { return name_; }

  // Called with the bytes held so far, when there are more. May be empty.
  std::function<void(u64)> on_append;

  // Adds the bytes as a piece of `content` at `offset`, which may not lie before the end of its last piece.
  void append(Content& content, u64 offset, std::span<const std::byte> bytes);

 private:
  std::string name_ = "temporary file";
  std::shared_ptr<File> file_;
  u64 end_ = 0;
};

}  // namespace teacup::images
