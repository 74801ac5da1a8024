// Path: a place in the machine's tree (a mount and a dentry in it), and finding one by name:
// path_resolution(7).
#pragma once

#include "fs/dentry.h"
#include "fs/fs_context.h"
#include "fs/inode.h"
#include "fs/mount.h"
#include "kernel/base/format.h"

namespace teacup::fs {

class Path {
 public:
  Path() = default;
  Path(Ref<Mount> mount, Ref<Dentry> dentry) : mount_(std::move(mount)), dentry_(std::move(dentry)) {}

  explicit operator bool() const { return static_cast<bool>(dentry_); }
  bool operator==(const Path& other) const { return mount_ == other.mount_ && dentry_ == other.dentry_; }
  Mount& mount() const { return *mount_; }
  Dentry& dentry() const { return *dentry_; }
  const Ref<Mount>& mount_ref() const { return mount_; }
  const Ref<Dentry>& dentry_ref() const { return dentry_; }
  Inode& inode() const { return *dentry_->inode(); }  // of a positive dentry: all that resolve() gives

 private:
  Ref<Mount> mount_;
  Ref<Dentry> dentry_;
};

// Who asks.
struct Caller {
  FsContext& context;
  const Credentials& credentials;
};

enum ResolveFlag : u32 {
  kFollow = 1,     // a symbolic link at the end is followed (in the middle they always are)
  kDirectory = 2,  // ENOTDIR unless it ends at a directory
  kEmptyPath = 4,  // "" is `start` itself, not ENOENT (AT_EMPTY_PATH)
  kNoXdev = 8,     // openat2(2), RESOLVE_*
  kNoMagicLinks = 16,
  kNoSymlinks = 32,
  kBeneath = 64,
  kInRoot = 128,
};

// Where `path` leads, starting at `start` (null: the working directory; a path from "/" starts at the root).
// ENOENT, ENOTDIR, EACCES, ELOOP (40 links), ENAMETOOLONG, EXDEV. Takes no lock and makes no host call when
// all names are in the cache.
Result<Path> resolve(const Caller& caller, const Path* start, std::string_view path, u32 flags);

// For calls that make or remove a name: where it lies, and the name itself (in `path`'s memory).
struct Parent {
  Path directory;
  std::string_view name;  // may be "." or ".."; empty: the path was "/"
  bool trailing_slash = false;
};
Result<Parent> resolve_parent(const Caller& caller, const Path* start, std::string_view path, u32 flags);
// The entry `name` of a directory: a positive path, or ENOENT. Mounts on it are entered.
Result<Path> resolve_child(const Path& directory, std::string_view name);

// Absolute name of `path` as seen from `root`; "(unreachable)" in front if it is not below it, " (deleted)"
// behind if its name was removed. ENAMETOOLONG if it does not fit.
Result<void> path_text(const Path& path, const Path& root, TextBuffer& text);

// A path to an open file: the one it was opened by, or an anonymous one (pipes, sockets), as /proc/PID/fd/N
// leads to. Opening that calls File::reopen().
Result<Path> path_of(File& file);

}  // namespace teacup::fs
