// Advisory locks on one inode: fcntl(2) record locks (owned by a table of descriptors: POSIX; or by an open
// file description: OFD) and flock(2) locks (owned by a description).
//
// Nothing here sleeps: a lock that is not free is EAGAIN, and whoever wants it waits on queue().
//
// Deadlocks (fcntl(2), EDEADLK). Who waits is written down in a RecordWait: the owner, and the owner whose
// lock is in the way. Whoever is about to wait follows these from the one who is in its way: if that leads
// back to itself, all of them would wait for ever. What a waiter waits for is true only until the file's
// locks change, so each change strikes it out, under the file's lock; the waiter, woken, tries again and
// writes it anew, and looks anew. So the entry that closes a circle always finds the others, and none finds
// what is over. Open file descriptions take no part, and a chain longer than Linux follows is not followed
// here either.
//
// Lock order: kFileLocks (the file's), kRecordWaits (the machine's list).
#pragma once

#include "kernel/base/list.h"
#include "kernel/base/result.h"
#include "kernel/sync/wait.h"

namespace teacup::fs {

class File;
class FileLocks;

struct RecordLock {
  u64 start = 0;
  u64 end = ~u64{0};  // one behind the last byte
  bool write = false;
  const void* owner = nullptr;  // FdTable (POSIX) or File (OFD)
  s32 pid = 0;                  // as F_GETLK tells it; -1 for OFD locks
};

// A process's wait for a record lock. Lives in the task.
class RecordWait {
 public:
  // Waits no more. Harmless if it did not.
  void end();
  // kRecordWaits:
  const void* blocker_of(const void* owner) const { return owner_ == owner ? blocker_ : nullptr; }

 private:
  friend class FileLocks;
  friend struct RecordWaits;
  ListNode node_;            // kRecordWaits, as all of it
  FileLocks* at_ = nullptr;  // null: not waiting
  const void* owner_ = nullptr;
  const void* blocker_ = nullptr;  // null: the locks there have changed since
};

struct RecordWaits {
  Mutex lock{LockRank::kRecordWaits};
  List<RecordWait, &RecordWait::node_> waits;
  std::atomic<u32> count{0};
};

class FileLocks {
 public:
  ~FileLocks();

  // The first lock that stands in the way of `wanted`; false: none.
  bool find_conflict(const RecordLock& wanted, RecordLock& found);
  // Takes the lock, changing what the owner already has there. EAGAIN, ENOLCK (no memory). With `wait`,
  // EAGAIN says that the caller is going to wait, until it calls wait->end(); EDEADLK, that it would be for
  // ever.
  Result<void> set(const RecordLock& wanted, RecordWait* wait = nullptr);
  Result<void> clear(const void* owner, u64 start, u64 end);

  // flock(2). EAGAIN.
  Result<void> flock(const File& description, bool exclusive);
  void unflock(const File& description);

  void release_owner(const void* owner);              // a descriptor of the table was closed
  void release_description(const File& description);  // the description went
  WaitQueue& queue() { return queue_; }

 private:
  struct Record {
    ListNode node;
    RecordLock lock;
  };
  struct Flock {
    ListNode node;
    const File* description;
    bool exclusive;
  };

  const RecordLock* conflict_locked(const RecordLock& wanted);
  void replace_locked(const void* owner, u64 start, u64 end, Record*& spare);
  Result<void> begin_wait_locked(RecordWait& wait, const void* owner, const void* blocker);
  void locks_changed_locked();

  Mutex lock_{LockRank::kFileLocks};
  List<Record, &Record::node> records_;  // by owner in no order; ranges of one owner do not overlap
  List<Flock, &Flock::node> flocks_;
  WaitQueue queue_;
};

}  // namespace teacup::fs
