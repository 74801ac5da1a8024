// What the two halves of the futexes share: futex.cc (waiting and waking) and futex_lock.cc (locks with an
// owner). Internal to them. The protocol is at the top of futex.cc.
#pragma once

#include "kernel/base/arena_header.h"
#include "kernel/task/futex.h"
#include "kernel/task/task.h"

namespace teacup {

struct FutexBucket {
  Mutex lock{LockRank::kFutexBucket};
  std::atomic<u32> waiters{0};  // queued, or about to be
  List<FutexWaiter, &FutexWaiter::node> queue;
};

namespace futexes {

using mm::WordKey;

// In between two buckets: a waiter that a requeue has in its hands.
inline FutexBucket* moving() {
  return reinterpret_cast<FutexBucket*>(1);
}

FutexBucket& bucket_of(const WordKey& key);
Result<void> check_address(u64 address);  // EINVAL, EFAULT
Result<WordKey> key_of(Task& task, u64 address, bool is_private);
Result<u32> load(u64 address);
// EAGAIN: it was not `expected`.
Result<void> swap_word(u64 address, u32 expected, u32 desired);

inline bool matches(const FutexWaiter& waiter, const WordKey& key, bool wants_lock = false) {
  return waiter.key_object == key.object && waiter.key_offset == key.offset &&
         waiter.wants_lock == wants_lock;
}

inline void enqueue(FutexBucket& bucket, FutexWaiter& waiter) {
  bucket.queue.push_back(waiter);
  waiter.bucket.store(&bucket, std::memory_order_release);
}

inline void dequeue(FutexBucket& bucket, FutexWaiter& waiter) {
  bucket.queue.remove(waiter);
  bucket.waiters.fetch_sub(1, std::memory_order_seq_cst);
}

// Takes a waiter that was not woken from its queue, wherever that is by now. False: it was woken after all.
bool withdraw(FutexWaiter& waiter);

// Queues `waiter` if the word is as expected: EAGAIN if not. `target`: the lock that it is to be requeued to.
Result<void> queue_waiter(Task& task, FutexWaiter& waiter, u64 address, bool is_private, u32 expected,
                          u32 bitset, const WordKey* target = nullptr);

// A dead owner's lock goes to the next waiter, who learns it.
void release_owned_lock(Task& task, u64 address, u32 owner);

// Tasks to be woken once the locks are dropped.
class WakeBatch {
 public:
  ~WakeBatch() { flush(); }
  bool full() const { return count_ == kBatch; }
  void add(FutexWaiter& waiter) {
    tasks_[count_++] = Ref<Task>::share(waiter.task);
    waiter.bucket.store(nullptr, std::memory_order_release);  // it may go from here on
  }
  void flush() {
    for (u32 i = 0; i < count_; i++) {
      notify(*tasks_[i]);
      tasks_[i] = nullptr;
    }
    count_ = 0;
  }

 private:
  static constexpr u32 kBatch = 32;
  Ref<Task> tasks_[kBatch];
  u32 count_ = 0;
};

}  // namespace futexes
}  // namespace teacup
