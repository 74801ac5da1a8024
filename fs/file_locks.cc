// Locks: kFileLocks; waiters are woken after it.
#include "fs/file_locks.h"

#include <algorithm>

#include "fs/file.h"

namespace teacup::fs {

FileLocks::~FileLocks() {
  while (Record* record = records_.pop_front()) destroy(record);
  while (Flock* flock = flocks_.pop_front()) destroy(flock);
}

bool FileLocks::find_conflict(const RecordLock& wanted, RecordLock& found) {
  LockGuard guard(lock_);
  for (Record& record : records_) {
    const RecordLock& lock = record.lock;
    if (lock.owner == wanted.owner || lock.end <= wanted.start || lock.start >= wanted.end) continue;
    if (!lock.write && !wanted.write) continue;
    found = lock;
    return true;
  }
  return false;
}

// Cuts [start, end) out of what the owner has. A lock cut in two needs a second record: `spare`.
Result<void> FileLocks::replace_locked(const void* owner, u64 start, u64 end, Record*& spare) {
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
      return {};
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
  return {};
}

Result<void> FileLocks::set(const RecordLock& wanted) {
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
  bool conflict = false;
  {
    LockGuard guard(lock_);
    for (Record& other : records_) {
      const RecordLock& lock = other.lock;
      if (lock.owner == wanted.owner || lock.end <= wanted.start || lock.start >= wanted.end) continue;
      if (lock.write || wanted.write) conflict = true;
    }
    if (!conflict) {
      static_cast<void>(replace_locked(wanted.owner, wanted.start, wanted.end, spare));
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
    }
  }
  if (record != nullptr) destroy(record);
  if (spare != nullptr) destroy(spare);
  if (conflict) return Errno::AGAIN;
  queue_.wake_all();  // a write lock may have become a read lock
  return {};
}

Result<void> FileLocks::clear(const void* owner, u64 start, u64 end) {
  auto spare_made = make<Record>();
  if (!spare_made.ok()) return Errno::NOLCK;
  Record* spare = spare_made.value();
  {
    LockGuard guard(lock_);
    static_cast<void>(replace_locked(owner, start, end, spare));
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
  }
  if (any) queue_.wake_all();
}

void FileLocks::release_description(const File& description) {
  release_owner(&description);
  unflock(description);
}

}  // namespace teacup::fs
