// The cache of names. See dentry.h for what a dentry is and fs/walk.cc for how it is used.
#pragma once

#include "fs/chain.h"
#include "fs/dentry.h"
#include "fs/inode.h"
#include "kernel/frame/pages.h"

namespace teacup::fs {

u32 name_hash(std::string_view name);

class Dcache {
 public:
  Result<void> start();

  // A root: no name, no parent, never hashed.
  Result<Ref<Dentry>> make_root(Ref<Inode> inode);
  // A name that is not cached (it lives as long as it is used).
  Result<Ref<Dentry>> make_uncached(Dentry& parent, std::string_view name, Ref<Inode> inode);

  // The cached entry, negative ones included; null: not known. Takes no lock unless the tree is changing.
  Ref<Dentry> find(Dentry& parent, std::string_view name);
  // Caches what a lookup said (`inode` null: no such name). `version`: parent's entries_version before it;
  // EAGAIN if that has changed, for what was found may be stale. Gives the entry already there if there is.
  Result<Ref<Dentry>> add(Dentry& parent, std::string_view name, Ref<Inode> inode, u64 version);

  // The directory's entry was changed by its file system: forget (removed) or move the dentry accordingly.
  void remove(Dentry& dentry);                         // unlinked
  void forget(Dentry& parent, std::string_view name);  // whatever is cached of that name, if anything
  void forget_negative(Dentry& parent, std::string_view name);  // that there is no such name
  void move(Dentry& dentry, Dentry& new_parent, std::string_view new_name, Dentry* victim);
  void exchange(Dentry& a, Dentry& b);

  // A counted parent, and name, of a dentry that may be moving; false for a root. `name` must hold 256 bytes.
  bool parent_and_name(Dentry& dentry, Ref<Dentry>& parent, std::span<char> name, size_t& length);

  // Drops all unused entries of a file system that is no longer mounted.
  void forget_all(const FileSystem& file_system);
  // Drops unused entries until `wanted` have gone or none is left; returns how many went.
  u64 shrink(u64 wanted);
  u64 count() const { return count_.load(std::memory_order_relaxed); }

  // --- For the walk without references. Odd: a change is under way.
  u64 sequence() const { return sequence_.load(std::memory_order_acquire); }
  bool unchanged(u64 since) const {
    std::atomic_thread_fence(std::memory_order_acquire);
    return sequence_.load(std::memory_order_relaxed) == since;
  }
  Dentry* find_uncounted(Dentry& parent, std::string_view name, u32 hash) const;
  static bool take(Dentry& dentry) { return dentry.try_ref(); }
  // For changes of the tree that are not the cache's: mounts.
  template <typename Change>
  void change_tree(Change change) {
    LockGuard guard(lock_);
    ChangeScope scope(*this);
    change();
  }

  void release(Dentry* dentry);  // the last reference went

 private:
  class ChangeScope {
   public:
    explicit ChangeScope(Dcache& cache) : cache_(cache) { cache_.sequence_.fetch_add(1); }
    ~ChangeScope() { cache_.sequence_.fetch_add(1); }

   private:
    Dcache& cache_;
  };
  // The table begins as one page of a run that has room for the largest, and grows in place: of a sparse run
  // only what is used costs memory, and a machine that looks at a thousand names does not touch a page for
  // each.
  using Chain = ChainHead<Dentry>;
  static constexpr u64 kFirstBuckets = kPageSize / sizeof(Chain);
  static constexpr u64 kMostBuckets = 1 << 19;
  static constexpr u64 kPagesForPool = 16;

  Chain& bucket(const Dentry& parent, u32 hash) const;
  static u64 kind_of(u32 hash) { return u64{hash} << 32; }
  void grow_locked();
  // Memory for a name that is too long for the dentry itself, and the name in it; null for a short one.
  static Result<char*> copy_long_name(std::string_view name);
  Result<Dentry*> make_locked(Dentry* parent, std::string_view name, char* long_name, u32 hash, Inode* inode);
  Result<Ref<Dentry>> make_unhashed(Dentry* parent, std::string_view name, Ref<Inode> inode);
  Dentry* find_locked(Dentry& parent, std::string_view name, u32 hash);
  void hash_locked(Dentry& dentry);
  void link_locked(Dentry& dentry);
  // Drops the cache's reference to each of a chain (by next_) that was unhashed; how many. Without the lock.
  static u64 drop_chain(Dentry* victims);
  void unhash_locked(Dentry& dentry);
  void rename_locked(Dentry& dentry, Dentry& parent, std::string_view name, char* long_name);

  mutable Mutex lock_{LockRank::kDentry};
  std::atomic<u64> sequence_{0};
  Chain* buckets_ = nullptr;
  std::atomic<u64> mask_{kFirstBuckets - 1};  // changes in a ChangeScope
  Dentry* pool_ = nullptr;                    // free ones, by next_
  u64 fresh_ = 0, fresh_end_ = 0;             // addresses: what is left of the last run, not touched yet
  std::atomic<u64> count_{0};                 // changes under the lock
  u64 hand_ = 0;
};

}  // namespace teacup::fs
