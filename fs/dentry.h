// Dentry: a name in a directory, as the cache of names knows it. A directory has at most one. What a dentry
// names never changes: an unlinked dentry is unhashed and keeps its inode for those who hold it; a negative
// one (no inode) says that the name is known not to exist.
//
// Memory of dentries is only ever used for dentries, so that the walk without locks (fs/walk.cc) may look at
// one that is being freed; what it saw counts only if Dcache's sequence did not change meanwhile.
//
// Locks: all changes under the cache's one lock (kDentry). Lookups take none.
#pragma once

#include <atomic>
#include <string_view>

#include "kernel/base/ref.h"
#include "kernel/base/result.h"
#include "kernel/base/types.h"
#include "kernel/sync/lock.h"

namespace teacup {
class TextBuffer;
}

namespace teacup::fs {

class Inode;

class Dentry : public RefCounted<Dentry> {
 public:
  static constexpr size_t kInlineName = 47;

  static void destroy(Dentry* dentry);

  // Null for a root. Stable while the caller holds the dentry and the cache's lock, or under its sequence.
  Dentry* parent() const { return parent_.load(std::memory_order_acquire); }
  Inode* inode() const { return inode_.load(std::memory_order_acquire); }
  bool negative() const { return inode() == nullptr; }
  // Under the cache's lock or sequence: renames change it.
  std::string_view name() const { return {name_data(), name_length_}; }
  bool is_hashed() const { return hashed_.load(std::memory_order_acquire); }
  // Removed from its directory: getcwd(2) fails, paths show " (deleted)".
  bool is_deleted() const { return deleted_.load(std::memory_order_acquire); }
  bool is_mountpoint() const { return mounts.load(std::memory_order_acquire) != 0; }

  std::atomic<u32> mounts{0};  // how many mounts cover it
  // Until when it is believed (ns, monotonic), of a file system whose names change by themselves; 0: for
  // ever.
  std::atomic<u64> valid_until{0};

 private:
  friend class Dcache;
  Dentry() = default;
  // Gives up a reference; true if it was the last: the caller then releases.
  bool drop_is_last() const { return drop(); }
  const char* name_data() const {
    return name_length_ <= kInlineName ? inline_name_ : long_name_.load(std::memory_order_relaxed);
  }

  u32 hash_ = 0;
  std::atomic<bool> hashed_{false};
  std::atomic<bool> deleted_{false};
  std::atomic<bool> used_{false};  // since the clock's hand last came by
  u8 name_length_ = 0;
  std::atomic<Dentry*> next_{nullptr};  // in the bucket; in the pool
  std::atomic<Dentry*> parent_{nullptr};
  std::atomic<Inode*> inode_{nullptr};
  std::atomic<char*> long_name_{nullptr};
  char inline_name_[kInlineName + 1] = {};
};

}  // namespace teacup::fs
