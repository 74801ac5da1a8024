// Locks: kFileLocks, kRecordWaits; waiters are woken after them.
#include "fs/file_locks.h"

#include <algorithm>

#include "fs/file.h"
#include "fs/vfs_state.h"

namespace teacup::fs {

namespace {

constexpr int kLongestChain = 10;  // as Linux: MAX_DEADLK_ITERATIONS

RecordWaits& record_waits() {
  return vfs_state().record_waits;
}

// Whom `owner` waits for; null: nobody. Of several threads with one table, the first found, as on Linux.
const void* blocker_of_locked(RecordWaits& all, const void* owner) {
  for (RecordWait& wait : all.waits) {
    if (const void* blocker = wait.blocker_of(owner); blocker != nullptr) return blocker;
  }
  return nullptr;
}

}  // namespace

void RecordWait::end() {
  if (at_ == nullptr) return;
  RecordWaits& all = record_waits();
  LockGuard guard(all.lock);
  all.waits.remove(*this);
  all.count.fetch_sub(1, std::memory_order_relaxed);
  at_ = nullptr;
}

FileLocks::~FileLocks() {
  while (Record* record = records_.pop_front()) destroy(record);
  while (Flock* flock = flocks_.pop_front()) destroy(flock);
}

const RecordLock* FileLocks::conflict_locked(const RecordLock& wanted) {
  for (Record& record : records_) {
    const RecordLock& lock = record.lock;
    if (lock.owner == wanted.owner || lock.end <= wanted.start || lock.start >= wanted.end) continue;
    if (lock.write || wanted.write) return &lock;
  }
  return nullptr;
}

bool FileLocks::find_conflict(const RecordLock& wanted, RecordLock& found) {
  LockGuard guard(lock_);
  const RecordLock* lock = conflict_locked(wanted);
  if (lock != nullptr) found = *lock;
  return lock != nullptr;
}

// Cuts [start, end) out of what the owner has. A lock cut in two needs a second record: `spare`.
void FileLocks::replace_locked(const void* owner, u64 start, u64 end, Record*& spare) {
  Record* next;
  for (Record* record = records_.front(); record != nullptr; record = next) {
    next = records_.after(*record);
    RecordLock& lock = record->lock;
    if (lock.owner != owner || lock.end <= start || lock.start >= end) continue;
    if (lock.start < start && lock.end > end) {
      Record* rest = std::exchange(spare, nullptr);
      rest->lock = lock;
      rest->lock.start = end;
      lock.end = start;
      records_.push_back(*rest);
      return;
    }
    if (lock.start < start) {
      lock.end = start;
    } else if (lock.end > end) {
      lock.start = end;
    } else {
      records_.remove(*record);
      destroy(record);
    }
  }
}

Result<void> FileLocks::begin_wait_locked(RecordWait& wait, const void* owner, const void* blocker) {
  RecordWaits& all = record_waits();
  LockGuard guard(all.lock);
  const void* at = blocker;
  for (int links = 0; at != nullptr && links <= kLongestChain; links++) {
    if (at == owner) return Errno::DEADLK;
    at = blocker_of_locked(all, at);
  }
  if (wait.at_ == nullptr) {
    all.waits.push_back(wait);
    all.count.fetch_add(1, std::memory_order_relaxed);
  }
  wait.at_ = this;
  wait.owner_ = owner;
  wait.blocker_ = blocker;
  return Errno::AGAIN;
}

void FileLocks::locks_changed_locked() {
  RecordWaits& all = record_waits();
  // A wait for a lock of this file was counted under this file's lock.
  if (all.count.load(std::memory_order_relaxed) == 0) return;
  LockGuard guard(all.lock);
  for (RecordWait& wait : all.waits) {
    if (wait.at_ == this) wait.blocker_ = nullptr;
  }
}

Result<void> FileLocks::set(const RecordLock& wanted, RecordWait* wait) {
  auto fresh = make<Record>();
  auto spare_made = make<Record>();
  if (!fresh.ok() || !spare_made.ok()) {
    if (fresh.ok()) destroy(fresh.value());
    if (spare_made.ok()) destroy(spare_made.value());
    return Errno::NOLCK;
  }
  Record* spare = spare_made.value();
  Record* record = fresh.value();
  record->lock = wanted;
  Result<void> result;
  {
    LockGuard guard(lock_);
    if (const RecordLock* other = conflict_locked(wanted); other != nullptr) {
      result = wait != nullptr ? begin_wait_locked(*wait, wanted.owner, other->owner) : Errno::AGAIN;
    } else {
      replace_locked(wanted.owner, wanted.start, wanted.end, spare);
      // Neighbours of the same kind become one, as F_GETLK shows them.
      Record* next;
      for (Record* other = records_.front(); other != nullptr; other = next) {
        next = records_.after(*other);
        if (other->lock.owner != wanted.owner || other->lock.write != wanted.write) continue;
        if (other->lock.end != record->lock.start && other->lock.start != record->lock.end) continue;
        record->lock.start = std::min(record->lock.start, other->lock.start);
        record->lock.end = std::max(record->lock.end, other->lock.end);
        records_.remove(*other);
        destroy(other);
      }
      records_.push_back(*record);
      record = nullptr;
      locks_changed_locked();  // a write lock may have become a read lock
    }
  }
  if (record != nullptr) destroy(record);
  if (spare != nullptr) destroy(spare);
  if (result.ok()) queue_.wake_all();
  return result;
}

Result<void> FileLocks::clear(const void* owner, u64 start, u64 end) {
  auto spare_made = make<Record>();
  if (!spare_made.ok()) return Errno::NOLCK;
  Record* spare = spare_made.value();
  {
    LockGuard guard(lock_);
    replace_locked(owner, start, end, spare);
    locks_changed_locked();
  }
  if (spare != nullptr) destroy(spare);
  queue_.wake_all();
  return {};
}

Result<void> FileLocks::flock(const File& description, bool exclusive) {
  auto made = make<Flock>();
  if (!made.ok()) return Errno::NOLCK;
  Flock* fresh = made.value();
  bool conflict = false;
  bool weakened = false;
  {
    LockGuard guard(lock_);
    Flock* own = nullptr;
    for (Flock& other : flocks_) {
      if (other.description == &description) {
        own = &other;
      } else if (exclusive || other.exclusive) {
        conflict = true;
      }
    }
    // flock(2): converting is not atomic; what was held is lost if the new kind cannot be had.
    if (own != nullptr) {
      weakened = own->exclusive && (conflict || !exclusive);
      flocks_.remove(*own);
      destroy(own);
    }
    if (!conflict) {
      fresh->description = &description;
      fresh->exclusive = exclusive;
      flocks_.push_back(*fresh);
      fresh = nullptr;
    }
  }
  if (fresh != nullptr) destroy(fresh);
  if (weakened) queue_.wake_all();
  if (conflict) return Errno::AGAIN;
  return {};
}

void FileLocks::unflock(const File& description) {
  {
    LockGuard guard(lock_);
    for (Flock& lock : flocks_) {
      if (lock.description != &description) continue;
      flocks_.remove(lock);
      destroy(&lock);
      break;
    }
  }
  queue_.wake_all();
}

void FileLocks::release_owner(const void* owner) {
  bool any = false;
  {
    LockGuard guard(lock_);
    Record* next;
    for (Record* record = records_.front(); record != nullptr; record = next) {
      next = records_.after(*record);
      if (record->lock.owner != owner) continue;
      records_.remove(*record);
      destroy(record);
      any = true;
    }
    if (any) locks_changed_locked();
  }
  if (any) queue_.wake_all();
}

void FileLocks::release_description(const File& description) {
  release_owner(&description);
  unflock(description);
}

}  // namespace teacup::fs
