// FsContext: root directory, working directory and umask of a process, shared by CLONE_FS.
//
// Locks: its own (kFdTable rank: a leaf here). Paths are handed out by value.
#pragma once

#include <atomic>

#include "kernel/base/ref.h"
#include "kernel/base/result.h"
#include "kernel/sync/lock.h"

namespace teacup::fs {

class Path;
class Mount;
class Dentry;

class FsContext : public RefCounted<FsContext> {
 public:
  // At the machine's root, umask 022.
  static Result<Ref<FsContext>> create();
  static void destroy(FsContext* context);
  Result<Ref<FsContext>> clone();
  ~FsContext();

  Path root();
  Path working_directory();
  void set_root(const Path& path);
  void set_working_directory(const Path& path);
  u32 umask() const { return umask_.load(std::memory_order_relaxed); }
  u32 set_umask(u32 mask) { return umask_.exchange(mask & 0777, std::memory_order_relaxed); }

 private:
  friend class Walker;
  struct Place {
    std::atomic<Mount*> mount{nullptr};
    std::atomic<Dentry*> dentry{nullptr};
  };
  void set(Place& place, const Path& path);

  Mutex lock_{LockRank::kFdTable};
  Place root_, working_directory_;
  std::atomic<u32> version_{0};  // odd while a place changes: for the walk without references
  std::atomic<u32> umask_{022};
};

}  // namespace teacup::fs
