// Dentry: a name in a directory, as the cache of names knows it. A directory has at most one. What a dentry
// names never changes: an unlinked dentry is unhashed and keeps its inode for those who hold it; a negative
// one (no inode) says that the name is known not to exist.
//
// Memory of dentries is only ever used for dentries, so that the walk without locks (fs/walk.cc) may look at
// one that is being freed; what it saw counts only if Dcache's sequence did not change meanwhile.
//
// It is one cache line: of a tree of a million files all names may be cached.
//
// Locks: all changes under the cache's one lock (kDentry). Lookups take none.
#pragma once

#include <algorithm>
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
  static constexpr size_t kInlineName = 24;

  static void destroy(Dentry* dentry);

  // Null for a root. Stable while the caller holds the dentry and the cache's lock, or under its sequence.
  Dentry* parent() const { return parent_.load(std::memory_order_acquire); }
  Inode* inode() const { return inode_.load(std::memory_order_acquire); }
  bool negative() const { return inode() == nullptr; }
  // Under the cache's lock or sequence: renames change it.
  std::string_view name() const { return {name_data(name_length_), name_length_}; }
  bool is_hashed() const { return has(kHashed); }
  // Removed from its directory: getcwd(2) fails, paths show " (deleted)".
  bool is_deleted() const { return has(kDeleted); }

  // Whether a mount covers it, or so many did once that they are not counted any more. Counted under the
  // mount table's lock.
  bool is_mountpoint() const { return mounts_.load(std::memory_order_acquire) != 0; }
  void covered() {
    if (u16 count = mounts_.load(); count != kManyMounts) mounts_.store(static_cast<u16>(count + 1));
  }
  void uncovered() {
    if (u16 count = mounts_.load(); count != kManyMounts) mounts_.store(static_cast<u16>(count - 1));
  }

  // Of a file system whose names change by themselves: until when it is believed (ns, monotonic, up to 17 ms
  // less). Others are believed for ever.
  void believe_until(u64 time) { valid_until_.store(std::max(tick_of(time), u32{1})); }
  bool expires() const { return valid_until_.load(std::memory_order_relaxed) != 0; }
  bool is_believed(u64 now) const {
    return static_cast<s32>(valid_until_.load(std::memory_order_relaxed) - tick_of(now)) > 0;
  }

 private:
  friend class Dcache;
  Dentry() = default;
  // Gives up a reference; true if it was the last: the caller then releases.
  bool drop_is_last() const { return drop(); }
  enum Flag : u8 { kHashed = 1, kDeleted = 2, kUsed = 4 };  // used since the clock's hand last came by
  bool has(Flag flag) const { return (flags_.load(std::memory_order_acquire) & flag) != 0; }
  void set(Flag flag) { flags_.fetch_or(flag, std::memory_order_acq_rel); }
  void clear(Flag flag) { flags_.fetch_and(static_cast<u8>(~flag), std::memory_order_acq_rel); }

  static constexpr u16 kManyMounts = 0xffff;
  static u32 tick_of(u64 time) { return static_cast<u32>(time >> 24); }
  char* long_name() const { return name_length_ > kInlineName ? name_.text : nullptr; }
  const char* name_data(size_t length) const { return length <= kInlineName ? name_.bytes : name_.text; }

  u32 hash_ = 0;
  std::atomic<u32> valid_until_{0};  // a tick, which may wrap around; 0: for ever
  std::atomic<u16> mounts_{0};
  std::atomic<u8> flags_{0};
  u8 name_length_ = 0;
  std::atomic<Dentry*> next_{nullptr};  // in the bucket; in the pool
  std::atomic<Dentry*> parent_{nullptr};
  std::atomic<Inode*> inode_{nullptr};
  union {
    char bytes[kInlineName];
    char* text;  // of a longer name, in the heap
  } name_{};
};
static_assert(sizeof(Dentry) == 64);

}  // namespace teacup::fs
