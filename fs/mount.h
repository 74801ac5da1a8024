// Mount: a file system's tree (or, bound, a part of it) as attached to the machine's one tree.
//
// Mounts are few and live long; their memory is never reused for something else.
// Locks: the table's own (kMount) for changes; the walk reads the list without it, under Dcache's sequence.
#pragma once

#include "fs/dentry.h"
#include "fs/filesystem.h"
#include "kernel/base/ref.h"

namespace teacup::fs {

enum MountFlag : u32 {
  kMountReadOnly = 1,
  kMountNoSuid = 2,
  kMountNoDev = 4,
  kMountNoExec = 8,
  kMountNoAtime = 1024,
};

class Mount : public RefCounted<Mount> {
 public:
  static void destroy(Mount* mount);

  FileSystem& file_system() const { return *file_system_; }
  Dentry& root() const { return *root_; }
  // Null for the machine's root mount and for internal ones.
  Mount* parent() const { return parent_.load(std::memory_order_acquire); }
  Dentry* mountpoint() const { return mountpoint_.load(std::memory_order_acquire); }
  u32 id() const { return id_; }
  bool read_only() const { return (flags.load(std::memory_order_relaxed) & kMountReadOnly) != 0; }

  std::atomic<u32> flags{0};  // MountFlag

 private:
  friend class MountTable;
  FileSystem* file_system_ = nullptr;  // counted
  Dentry* root_ = nullptr;             // counted
  std::atomic<Mount*> parent_{nullptr};
  std::atomic<Dentry*> mountpoint_{nullptr};  // counted
  std::atomic<Mount*> next_{nullptr};
  u32 id_ = 0;
};

}  // namespace teacup::fs
