// Problem: path walks are most of what programs ask of a file system, from many processes at once, and the
// cache must shrink while they walk. Alternatives: a lock per bucket and a count per step (two locked
// operations a component, and shared lines bounce between cores); epochs (a process killed from outside would
// hold them back). Choice: one sequence number for all changes that take something away (unhash, move,
// mount); additions need none. A walk reads the number, follows pointers without counting, and counts only
// its end; if the number moved meanwhile it goes again, with counts. Dentries come from a pool of their own
// and are never anything else, so what a walk reads from one being freed is wrong but readable.
//
// Locks: kDentry, for all changes. References are dropped after it: the last one takes it again.
#include "fs/dcache.h"

#include "fs/vfs.h"
#include "fs/vfs_internal.h"
#include "fs/vfs_state.h"
#include "kernel/abi/ipc.h"
#include "kernel/base/memory.h"

namespace teacup::fs {

namespace {

// Without the hash's own reference nobody finds it; with only that one, nobody uses it.
constexpr u32 kOnlyCached = 1;
constexpr u64 kMaxDentries = 1 << 20;

}  // namespace

u32 name_hash(std::string_view name) {
  u64 hash = name.size() * 0x9e3779b97f4a7c15;
  size_t i = 0;
  for (; i + 8 <= name.size(); i += 8) {
    u64 word;
    __builtin_memcpy(&word, name.data() + i, 8);
    hash = (hash ^ word) * 0x9fb21c651e98df25;
    hash ^= hash >> 32;
  }
  u64 rest = 0;
  for (; i < name.size(); i++) rest = rest << 8 | static_cast<u8>(name[i]);
  hash = (hash ^ rest) * 0x9fb21c651e98df25;
  return static_cast<u32>(hash >> 32);
}

void Dentry::destroy(Dentry* dentry) {
  vfs_state().dcache.release(dentry);
}

Result<void> Dcache::start() {
  PageRun run = TRY(allocate_run(kMostBuckets * sizeof(*buckets_) / kPageSize));
  buckets_ = reinterpret_cast<Chain*>(run.address());
  return {};
}

Dcache::Chain& Dcache::bucket(const Dentry& parent, u32 hash) const {
  u64 mixed = (reinterpret_cast<u64>(&parent) >> 6) * 0x9e3779b97f4a7c15 ^ hash * u64{0x9fb21c651e98df25};
  return buckets_[mixed >> 40 & mask_.load(std::memory_order_acquire)];
}

// Four times as many buckets: each chain goes to itself and to three that nobody has used.
void Dcache::grow_locked() {
  ChangeScope change(*this);
  u64 size = mask_.load(std::memory_order_relaxed) + 1;
  mask_.store(4 * size - 1, std::memory_order_release);
  for (u64 i = 0; i < size; i++) {
    Dentry* at = buckets_[i].first();
    buckets_[i].pop(nullptr);
    while (at != nullptr) {
      Dentry* next = at->next_.load(std::memory_order_relaxed);
      link_locked(*at);
      at = next;
    }
  }
}

Result<char*> Dcache::copy_long_name(std::string_view name) {
  if (name.size() <= Dentry::kInlineName) return nullptr;
  auto* text = static_cast<char*>(heap_allocate(name.size()));
  if (text == nullptr) return Errno::NOMEM;
  memcpy(text, name.data(), name.size());
  return text;
}

// Unhashed: nobody sees it yet. `long_name` and a reference to `inode`, if there are any, are the dentry's
// from then on.
Result<Dentry*> Dcache::make_locked(Dentry* parent, std::string_view name, char* long_name, u32 hash,
                                    Inode* inode) {
  Dentry* dentry = pool_;
  if (dentry != nullptr) {
    pool_ = dentry->next_.load(std::memory_order_relaxed);
  } else {
    if (fresh_end_ - fresh_ < sizeof(Dentry)) {
      if (!commit_pages(kPagesForPool)) return Errno::NOMEM;
      PageRun run = TRY(allocate_run(kPagesForPool));
      fresh_ = run.address();
      fresh_end_ = run.address() + run.bytes();
    }
    dentry = reinterpret_cast<Dentry*>(fresh_);
    fresh_ += sizeof(Dentry);
  }
  count_.store(count() + 1, std::memory_order_relaxed);
  new (dentry) Dentry;
  dentry->hash_ = hash;
  dentry->name_length_ = static_cast<u8>(name.size());
  if (long_name == nullptr) {
    memcpy(dentry->name_.bytes, name.data(), name.size());
  } else {
    dentry->name_.text = long_name;
  }
  if (parent != nullptr) parent->ref();
  dentry->parent_.store(parent, std::memory_order_relaxed);
  dentry->inode_.store(inode, std::memory_order_relaxed);
  return dentry;
}

Result<Ref<Dentry>> Dcache::make_unhashed(Dentry* parent, std::string_view name, Ref<Inode> inode) {
  char* long_name = TRY(copy_long_name(name));
  auto made = [&] {
    LockGuard guard(lock_);
    return make_locked(parent, name, long_name, name_hash(name), inode.get());
  }();
  if (!made.ok()) {
    heap_free(long_name);
    return made.error();
  }
  static_cast<void>(inode.leak());
  return Ref<Dentry>::adopt(made.value());
}

Result<Ref<Dentry>> Dcache::make_root(Ref<Inode> inode) {
  return make_unhashed(nullptr, {}, std::move(inode));
}

Result<Ref<Dentry>> Dcache::make_uncached(Dentry& parent, std::string_view name, Ref<Inode> inode) {
  return make_unhashed(&parent, name, std::move(inode));
}

// A dentry that is being changed may say that its name is in the heap when its bytes are not that pointer.
// What is compared then does not count, but it has to be memory.
static bool can_be_read(const char* text) {
  auto address = reinterpret_cast<u64>(text);
  return address >= kArenaBase && address - kArenaBase <= arena().arena_size - 256;
}

Dentry* Dcache::find_uncounted(Dentry& parent, std::string_view name, u32 hash) const {
  Dentry* dentry = bucket(parent, hash).first_of(kind_of(hash));
  // A chain that is being changed may lead astray, even in circles: the sequence tells, after a while.
  for (u32 steps = 0; dentry != nullptr && steps < 256; steps++) {
    if (dentry->hash_ == hash && dentry->parent() == &parent && dentry->name_length_ == name.size()) {
      const char* data = dentry->name_data(name.size());
      bool usable = name.size() <= Dentry::kInlineName || can_be_read(data);
      if (usable && memcmp(data, name.data(), name.size()) == 0) return dentry;
    }
    dentry = dentry->next_.load(std::memory_order_acquire);
  }
  return nullptr;
}

Dentry* Dcache::find_locked(Dentry& parent, std::string_view name, u32 hash) {
  Dentry* dentry = bucket(parent, hash).first_of(kind_of(hash));
  for (; dentry != nullptr; dentry = dentry->next_.load(std::memory_order_relaxed)) {
    if (dentry->hash_ == hash && dentry->parent() == &parent && dentry->name() == name) return dentry;
  }
  return nullptr;
}

Ref<Dentry> Dcache::find(Dentry& parent, std::string_view name) {
  u32 hash = name_hash(name);
  u64 before = sequence();
  if ((before & 1) == 0) {
    Dentry* dentry = find_uncounted(parent, name, hash);
    if (dentry == nullptr) {
      if (unchanged(before)) return nullptr;
    } else if (dentry->try_ref()) {
      Ref<Dentry> found = Ref<Dentry>::adopt(dentry);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (unchanged(before)) {
        if (!dentry->has(Dentry::kUsed)) dentry->set(Dentry::kUsed);
        return found;
      }
    }
  }
  LockGuard guard(lock_);
  return Ref<Dentry>::share(find_locked(parent, name, hash));
}

void Dcache::hash_locked(Dentry& dentry) {
  dentry.set(Dentry::kHashed);
  link_locked(dentry);
}

void Dcache::link_locked(Dentry& dentry) {
  Chain& chain = bucket(*dentry.parent(), dentry.hash_);
  dentry.next_.store(chain.first(), std::memory_order_relaxed);
  chain.push(dentry, kind_of(dentry.hash_));
}

// In a ChangeScope. The hash's reference is the caller's afterwards.
void Dcache::unhash_locked(Dentry& dentry) {
  Chain& chain = bucket(*dentry.parent(), dentry.hash_);
  Dentry* next = dentry.next_.load(std::memory_order_relaxed);
  if (chain.first() == &dentry) {
    chain.pop(next);
  } else {
    Dentry* at = chain.first();
    for (;;) {
      KERNEL_ASSERT(at != nullptr);
      Dentry* behind = at->next_.load(std::memory_order_relaxed);
      if (behind == &dentry) break;
      at = behind;
    }
    at->next_.store(next, std::memory_order_release);
  }
  dentry.clear(Dentry::kHashed);
}

Result<Ref<Dentry>> Dcache::add(Dentry& parent, std::string_view name, Ref<Inode> inode, u64 version) {
  if (count() >= kMaxDentries) shrink(256);
  make_room(1);
  u32 hash = name_hash(name);
  char* long_name = TRY(copy_long_name(name));
  auto added = [&]() -> Result<Ref<Dentry>> {
    LockGuard guard(lock_);
    if (parent.inode()->entries_version.load(std::memory_order_seq_cst) != version) return Errno::AGAIN;
    if (Dentry* there = find_locked(parent, name, hash); there != nullptr) return Ref<Dentry>::share(there);
    bool hashed = !parent.is_deleted();
    Dentry* fresh = TRY(make_locked(&parent, name, long_name, hash, inode.get()));
    long_name = nullptr;
    static_cast<void>(inode.leak());
    if (hashed) {
      fresh->ref();  // the hash's
      fresh->flags_.store(Dentry::kHashed, std::memory_order_relaxed);
      link_locked(*fresh);
      u64 size = mask_.load(std::memory_order_relaxed) + 1;
      if (count() > size && size < kMostBuckets) grow_locked();
    }
    return Ref<Dentry>::adopt(fresh);
  }();
  heap_free(long_name);
  return added;
}

void Dcache::remove(Dentry& dentry) {
  bool was_hashed;
  {
    LockGuard guard(lock_);
    ChangeScope change(*this);
    was_hashed = dentry.is_hashed();
    if (was_hashed) unhash_locked(dentry);
    dentry.set(Dentry::kDeleted);
  }
  if (was_hashed) dentry.unref();
}

void Dcache::forget(Dentry& parent, std::string_view name) {
  Dentry* dentry;
  {
    LockGuard guard(lock_);
    dentry = find_locked(parent, name, name_hash(name));
    if (dentry == nullptr) return;
    ChangeScope change(*this);
    unhash_locked(*dentry);
  }
  dentry->unref();
}

void Dcache::forget_negative(Dentry& parent, std::string_view name) {
  Dentry* dentry;
  {
    LockGuard guard(lock_);
    dentry = find_locked(parent, name, name_hash(name));
    if (dentry == nullptr || !dentry->negative()) return;
    ChangeScope change(*this);
    unhash_locked(*dentry);
  }
  dentry->unref();
}

// `long_name`: memory for the name if it is long. What the dentry had before is the caller's.
void Dcache::rename_locked(Dentry& dentry, Dentry& parent, std::string_view name, char* long_name) {
  memcpy(long_name != nullptr ? long_name : dentry.name_.bytes, name.data(), name.size());
  if (long_name != nullptr) dentry.name_.text = long_name;
  dentry.name_length_ = static_cast<u8>(name.size());
  dentry.hash_ = name_hash(name);
  dentry.parent_.store(&parent, std::memory_order_release);
}

void Dcache::move(Dentry& dentry, Dentry& new_parent, std::string_view new_name, Dentry* victim) {
  char* long_name = nullptr;
  if (new_name.size() > Dentry::kInlineName) {
    long_name = static_cast<char*>(heap_allocate(new_name.size()));
    if (long_name == nullptr) {
      // The names are the file system's; the cache may just forget. Holders see it as deleted.
      remove(dentry);
      if (victim != nullptr) remove(*victim);
      return;
    }
  }
  Dentry* dropped = nullptr;  // whatever was cached under the new name
  Dentry* old_parent = nullptr;
  char* old_name = nullptr;
  new_parent.ref();
  {
    LockGuard guard(lock_);
    ChangeScope change(*this);
    dropped = find_locked(new_parent, new_name, name_hash(new_name));
    if (dropped == &dentry) dropped = nullptr;
    if (dropped != nullptr) {
      unhash_locked(*dropped);
      if (!dropped->negative()) dropped->set(Dentry::kDeleted);
    }
    if (victim != nullptr && victim != &dentry) victim->set(Dentry::kDeleted);
    bool was_hashed = dentry.is_hashed();
    if (was_hashed) unhash_locked(dentry);
    old_parent = dentry.parent();
    old_name = dentry.long_name();
    rename_locked(dentry, new_parent, new_name, long_name);
    if (was_hashed) hash_locked(dentry);
  }
  heap_free(old_name);
  if (old_parent != nullptr) old_parent->unref();
  if (dropped != nullptr) dropped->unref();
}

void Dcache::exchange(Dentry& a, Dentry& b) {
  if (&a == &b) return;
  LockGuard guard(lock_);
  ChangeScope change(*this);
  bool a_hashed = a.is_hashed();
  bool b_hashed = b.is_hashed();
  if (a_hashed) unhash_locked(a);
  if (b_hashed) unhash_locked(b);
  Dentry* parent = a.parent();
  a.parent_.store(b.parent());
  b.parent_.store(parent);
  std::swap(a.name_, b.name_);
  std::swap(a.name_length_, b.name_length_);
  std::swap(a.hash_, b.hash_);
  if (a_hashed) hash_locked(a);
  if (b_hashed) hash_locked(b);
}

bool Dcache::parent_and_name(Dentry& dentry, Ref<Dentry>& parent, std::span<char> name, size_t& length) {
  Ref<Dentry> found;
  {
    LockGuard guard(lock_);
    if (dentry.parent() == nullptr) return false;
    found = Ref<Dentry>::share(dentry.parent());
    length = dentry.name_length_;
    KERNEL_ASSERT(length <= name.size());
    memcpy(name.data(), dentry.name_data(length), length);
  }
  parent = std::move(found);
  return true;
}

u64 Dcache::drop_chain(Dentry* victims) {
  u64 count = 0;
  while (victims != nullptr) {
    Dentry* next = victims->next_.load(std::memory_order_relaxed);
    victims->unref();
    victims = next;
    count++;
  }
  return count;
}

u64 Dcache::shrink(u64 wanted) {
  u64 gone = 0;
  for (u64 visited = 0; visited <= 2 * mask_.load(std::memory_order_relaxed) && gone < wanted; visited++) {
    Dentry* victims = nullptr;  // chained by next_
    {
      LockGuard guard(lock_);
      Chain& chain = buckets_[hand_++ & mask_.load(std::memory_order_relaxed)];
      if (chain.first() == nullptr) continue;
      ChangeScope change(*this);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      for (Dentry* at = chain.first(); at != nullptr;) {
        Dentry* next = at->next_.load(std::memory_order_relaxed);
        if (at->has(Dentry::kUsed)) {
          at->clear(Dentry::kUsed);
        } else if (at->ref_count() == kOnlyCached) {
          unhash_locked(*at);
          at->next_.store(victims, std::memory_order_relaxed);
          victims = at;
        }
        at = next;
      }
    }
    gone += drop_chain(victims);
  }
  return gone;
}

void Dcache::forget_all(const FileSystem& file_system) {
  bool found = true;
  // From the leaves up: an entry is used by those below it.
  while (found) {
    found = false;
    for (u64 i = 0; i <= mask_.load(std::memory_order_acquire); i++) {
      if (buckets_[i].first() == nullptr) continue;
      Dentry* victims = nullptr;
      {
        LockGuard guard(lock_);
        for (Dentry* at = buckets_[i].first(); at != nullptr;) {
          Dentry* next = at->next_.load(std::memory_order_relaxed);
          Dentry* parent = at->parent();
          if (at->ref_count() == kOnlyCached && parent != nullptr && parent->inode() != nullptr &&
              &parent->inode()->file_system() == &file_system) {
            ChangeScope change(*this);
            std::atomic_thread_fence(std::memory_order_seq_cst);
            if (at->ref_count() == kOnlyCached) {
              unhash_locked(*at);
              at->next_.store(victims, std::memory_order_relaxed);
              victims = at;
            }
          }
          at = next;
        }
      }
      if (drop_chain(victims) > 0) found = true;
    }
  }
}

void Dcache::release(Dentry* dentry) {
  // Up the tree in a loop: a deep directory must not recurse on a 64 KiB stack.
  while (dentry != nullptr) {
    Dentry* parent = dentry->parent_.exchange(nullptr);
    if (Inode* inode = dentry->inode_.exchange(nullptr); inode != nullptr) {
      // The name of a file without links is gone, and with it the last that was open by it.
      if (dentry->is_deleted() && (inode->nlink == 0 || inode->is_directory())) {
        notify_inode(*inode, abi::kIN_DELETE_SELF);
      }
      inode->unref();
    }
    heap_free(dentry->long_name());
    dentry->name_length_ = 0;
    {
      LockGuard guard(lock_);
      dentry->next_.store(pool_, std::memory_order_relaxed);
      pool_ = dentry;
      count_.store(count() - 1, std::memory_order_relaxed);
    }
    if (parent == nullptr || !parent->drop_is_last()) return;
    dentry = parent;
  }
}

}  // namespace teacup::fs
