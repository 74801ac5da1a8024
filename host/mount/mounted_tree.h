// MountedTree: the operations of `teacup mount`, on nodes known by a number as FUSE has it, without FUSE.
// What fs/ does in a machine it does here: the same walk, permission checks, memory layer.
//
// A node's number is valid from when it was given out until it was forgotten as often as it was given out.
// The names of one file have one number. Any thread.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fs/vfs.h"

namespace teacup::mount {

using NodeId = u64;
using FileId = u64;
inline constexpr NodeId kRootNode = 1;

// Who asks.
struct User {
  u32 uid = 0;
  u32 gid = 0;
  std::vector<u32> groups{};
};

struct Entry {
  NodeId node = 0;
  abi::Stat stat{};
};

struct Changes {
  enum Mask : u32 { kMode = 1, kUid = 2, kGid = 4, kSize = 8, kAtime = 16, kMtime = 32 };
  u32 mask = 0;
  u32 mode = 0;
  u32 uid = 0;
  u32 gid = 0;
  u64 size = 0;
  fs::TimeChange atime{fs::TimeChange::kOmit, {}};
  fs::TimeChange mtime{fs::TimeChange::kOmit, {}};
};

class MountedTree {
 public:
  // Once a process, after fs_start_tree(). `everybody_is_root`: the caller's identity is not asked for, as
  // when an ordinary user mounts for himself.
  static Result<std::unique_ptr<MountedTree>> create(bool everybody_is_root);
  ~MountedTree();

  // --- Names. Each Entry given out counts as one of its node.
  Result<Entry> lookup(const User& user, NodeId parent, std::string_view name);
  void forget(NodeId node, u64 count);
  Result<Entry> make_node(const User& user, NodeId parent, std::string_view name, u32 mode, u64 device);
  Result<Entry> make_directory(const User& user, NodeId parent, std::string_view name, u32 mode);
  Result<Entry> make_symlink(const User& user, std::string_view target, NodeId parent, std::string_view name);
  Result<Entry> link(const User& user, NodeId node, NodeId parent, std::string_view name);
  Result<void> unlink(const User& user, NodeId parent, std::string_view name);
  Result<void> remove_directory(const User& user, NodeId parent, std::string_view name);
  Result<void> rename(const User& user, NodeId parent, std::string_view name, NodeId new_parent,
                      std::string_view new_name, u32 flags);

  // --- Attributes.
  Result<abi::Stat> stat(NodeId node);
  // `file`: the open file by which it is asked for, or 0; its right to write is that of ftruncate(2).
  Result<abi::Stat> change(const User& user, NodeId node, const Changes& changes, FileId file = 0);
  Result<void> check_access(const User& user, NodeId node, u32 may);
  Result<std::string> read_link(NodeId node);
  Result<abi::Statfs> statfs();
  Result<std::string> get_xattr(const User& user, NodeId node, std::string_view name);
  Result<std::string> list_xattrs(const User& user, NodeId node);  // each with its NUL
  Result<void> set_xattr(const User& user, NodeId node, std::string_view name,
                         std::span<const std::byte> value, u32 flags);
  Result<void> remove_xattr(const User& user, NodeId node, std::string_view name);

  // --- Open files and directories; close() ends a FileId.
  Result<FileId> open(const User& user, NodeId node, u32 flags);
  Result<std::pair<Entry, FileId>> create_file(const User& user, NodeId parent, std::string_view name,
                                               u32 mode, u32 flags);
  void close(FileId file);
  Result<size_t> read(FileId file, u64 offset, std::span<std::byte> into);
  Result<size_t> write(const User& user, FileId file, u64 offset, std::span<const std::byte> from);
  Result<void> sync(FileId file);
  Result<void> allocate(FileId file, int mode, u64 offset, u64 length);
  Result<u64> seek(FileId file, u64 offset, int whence);  // SEEK_DATA, SEEK_HOLE
  // From `position` (0: the start) on, "." and ".." too, until `add` says false. `next`: the position behind
  // the entry.
  using AddEntry = std::function<bool(std::string_view name, u64 inode, u8 type, u64 next)>;
  Result<void> read_directory(FileId directory, u64 position, const AddEntry& add);

 private:
  struct Node {
    fs::Path path;
    u64 count = 0;
  };
  explicit MountedTree(bool everybody_is_root) : everybody_is_root_(everybody_is_root) {}

  Credentials credentials_of(const User& user) const;
  Result<fs::Path> path_of(NodeId node);
  Result<Entry> give_out(fs::Path path);

  bool everybody_is_root_;
  Ref<fs::FsContext> context_;
  std::mutex lock_;
  std::unordered_map<fs::Inode*, Node*> nodes_;
};

}  // namespace teacup::mount
