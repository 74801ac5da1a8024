// Locks of the arena: they work between processes, spin briefly, then sleep on the host. Not recursive, not
// robust: a process killed from outside while its task is in the kernel ends the machine (DESIGN 3).
//
// Every lock has a rank. A task takes locks in rising rank only; a debug build panics otherwise. This is the
// order, and the only place where it is written as a whole; files that take locks say which.
#pragma once

#include <atomic>

#include "kernel/base/types.h"

namespace teacup {

enum class LockRank : u8 {
  kFilePosition = 1,  // an open file's, across a whole read or write
  kGeneratedText,     // a /proc file's text, while it is written: that looks at everything else
  kAddressSpace,      // an address space's map: may be held over host memory calls and clone
  kProcessTree,       // pid table, parents and children, sessions, process groups
  kExec,
  kFdTable,
  kEpollTree,
  kMount,
  kJournal,      // the memory layer is written to --upper's file: held over trips to the broker
  kRename,       // one rename across directories at a time
  kInodeParent,  // a directory, while its child is locked too
  kInode,        // content and attributes
  kInodeChild,   // a second inode of the same kind (address order)
  kJournalList,  // which inodes have changed since
  kFileLocks,
  kRecordWaits,  // who waits for whose record lock
  kDentry,
  kSocketNames,   // the machine's abstract socket names
  kSocketRights,  // sockets in flight
  kSocket,        // an endpoint's, or what an internet socket is about
  kPorts,         // a protocol's ports
  kListener,      // connections that wait to be accepted
  kConnection,    // a TCP connection's state
  kGateway,       // connections that leave the machine
  kQueueWrite,    // the end of a queue of bytes where they go in
  kQueueRead,     // and where they come out
  kPipe,
  kTty,
  kTtyPeer,
  kEpoll,
  kFileOwner,  // who is told of a file's events by signal
  kSignal,     // a process's signal state
  kTimers,
  kFutexBucket,
  kFutexBucket2,
  kStackSlots,  // which tasks run in an address space
  kWaitQueue,
  kEpollReady,  // taken from a wait queue's callback
  kPages,
  kHeap,
  kRing,
  kTrace,
};

class Mutex {
 public:
  explicit constexpr Mutex(LockRank rank) : rank_(rank) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() {
    note_taken();
    u32 free = 0;
    if (!state_.compare_exchange_strong(free, 1, std::memory_order_acquire)) [[unlikely]]
      lock_slow();
  }
  bool try_lock() {
    u32 free = 0;
    if (!state_.compare_exchange_strong(free, 1, std::memory_order_acquire)) return false;
    note_taken();
    return true;
  }
  void unlock() {
    note_released();
    if (state_.exchange(0, std::memory_order_release) == 2) [[unlikely]]
      wake_one();
  }
  bool is_locked() const { return state_.load(std::memory_order_relaxed) != 0; }
  LockRank rank() const { return rank_; }

 private:
  void lock_slow();
  void wake_one();
#ifdef TEACUP_LOCK_CHECKS
  void note_taken();
  void note_released();
#else
  void note_taken() {}
  void note_released() {}
#endif

  std::atomic<u32> state_{0};  // 0 free, 1 held, 2 held and somebody may sleep
  LockRank rank_;
};

class [[nodiscard]] LockGuard {
 public:
  explicit LockGuard(Mutex& mutex) : mutex_(&mutex) { mutex.lock(); }
  ~LockGuard() { unlock(); }
  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;
  // Before the end of the scope; once.
  void unlock() {
    if (mutex_ != nullptr) mutex_->unlock();
    mutex_ = nullptr;
  }

 private:
  Mutex* mutex_;
};

}  // namespace teacup
