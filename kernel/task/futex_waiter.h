// A task's place in the queue of a futex word. Part of the task: one word is waited for at a time, and
// futex_waitv(2)'s further ones are on the heap.
#pragma once

#include <atomic>

#include "kernel/base/list.h"
#include "kernel/base/types.h"

namespace teacup {

class Task;
struct FutexBucket;

struct FutexWaiter {
  ListNode node;
  u64 key_object = 0;
  u64 key_offset = 0;
  u32 bitset = 0;
  bool wants_lock = false;  // waits to be made the owner (FUTEX_LOCK_PI)
  // The lock that it is to be requeued to (FUTEX_WAIT_REQUEUE_PI); object 0: none.
  u64 target_object = 0;
  u64 target_offset = 0;
  Task* task = nullptr;
  std::atomic<FutexBucket*> bucket{nullptr};  // null: woken, or not waiting. Written under the bucket's lock.
};

}  // namespace teacup
