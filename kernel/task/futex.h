// Futexes: futex(2)'s queues and operations, and the words that a task's end touches.
//
// Locks: a bucket's (kFutexBucket), one at a time. The word is read under it, by a copy that cannot take a
// kernel lock.
#pragma once

#include <span>

#include "kernel/base/result.h"
#include "kernel/mm/address_space.h"
#include "kernel/sync/wait.h"
#include "kernel/task/futex_waiter.h"

namespace teacup {

class Task;

inline constexpr u32 kAllFutexBits = ~u32{0};

void futexes_start();

// All addresses are the calling task's; `is_private` as FUTEX_PRIVATE_FLAG.

// Sleeps while the word is `expected`. EAGAIN: it is not; ETIMEDOUT (deadline: ns, monotonic); ERESTARTSYS.
Result<void> futex_wait(Task& task, u64 address, bool is_private, u32 expected, u32 bitset, u64 deadline);
// Number woken.
Result<u32> futex_wake(Task& task, u64 address, bool is_private, u32 count, u32 bitset);
// Wakes `wake`, moves up to `requeue` to `target`. With `compare`, EAGAIN unless the word is that.
Result<u32> futex_requeue(Task& task, u64 address, u64 target, bool is_private, u32 wake, u32 requeue,
                          const u32* compare);
Result<u32> futex_wake_op(Task& task, u64 address, u64 target, bool is_private, u32 wake, u32 wake_target,
                          u32 operation);

// FUTEX_LOCK_PI, TRYLOCK_PI (EAGAIN: it is taken), UNLOCK_PI (EPERM: not by the caller). EDEADLK, ETIMEDOUT.
Result<void> futex_lock(Task& task, u64 address, bool is_private, bool only_try, u64 deadline);
Result<void> futex_unlock(Task& task, u64 address, bool is_private);

// FUTEX_WAIT_REQUEUE_PI: sleeps on the word until it was requeued to `lock` and owns that. EAGAIN, ETIMEDOUT.
Result<void> futex_wait_for_lock(Task& task, u64 address, u64 lock, bool is_private, u32 expected,
                                 u64 deadline);
// FUTEX_CMP_REQUEUE_PI: the first such waiter gets the lock if it is free; it and up to `requeue` more wait
// for it otherwise. Their number. EAGAIN; EINVAL: one waits for something else.
Result<u32> futex_requeue_to_lock(Task& task, u64 address, u64 lock, bool is_private, u32 requeue,
                                  u32 compare);

// futex_waitv(2).
struct FutexWaitSpec {
  u64 address;
  u32 expected;
  bool is_private;
};
// The index of one that was woken.
Result<u32> futex_wait_any(Task& task, std::span<const FutexWaitSpec> words, u64 deadline);

// A task's end, in its own address space (or, for `of`, a sibling's): marks the robust mutexes it holds as
// ownerless, clears and wakes clear_child_tid.
void release_robust_list(Task& task, Task& of);
void release_child_tid(Task& task);

}  // namespace teacup
