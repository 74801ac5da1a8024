// Advisory locks on one inode: fcntl(2) record locks (owned by a table of descriptors: POSIX; or by an open
// file description: OFD) and flock(2) locks (owned by a description).
//
// Nothing here sleeps: a lock that is not free is EAGAIN, and whoever wants it waits on queue().
// Locks: kFileLocks.
#pragma once

#include "kernel/base/list.h"
#include "kernel/base/result.h"
#include "kernel/sync/wait.h"

namespace teacup::fs {

class File;

struct RecordLock {
  u64 start = 0;
  u64 end = ~u64{0};  // one behind the last byte
  bool write = false;
  const void* owner = nullptr;  // FdTable (POSIX) or File (OFD)
  s32 pid = 0;                  // as F_GETLK tells it; -1 for OFD locks
};

class FileLocks {
 public:
  ~FileLocks();

  // The first lock that stands in the way of `wanted`; false: none.
  bool find_conflict(const RecordLock& wanted, RecordLock& found);
  // Takes the lock, changing what the owner already has there. EAGAIN, ENOLCK (no memory).
  Result<void> set(const RecordLock& wanted);
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

  Result<void> replace_locked(const void* owner, u64 start, u64 end, Record*& spare);

  Mutex lock_{LockRank::kFileLocks};
  List<Record, &Record::node> records_;  // by owner in no order; ranges of one owner do not overlap
  List<Flock, &Flock::node> flocks_;
  WaitQueue queue_;
};

}  // namespace teacup::fs
