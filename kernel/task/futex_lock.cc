// Locks with an owner (FUTEX_LOCK_PI). The word holds the owner's tid; the kernel hands the lock from one to
// the next, in the order of arrival. A condition's waiters may be requeued to such a lock: each then returns
// as its owner (FUTEX_WAIT_REQUEUE_PI, FUTEX_CMP_REQUEUE_PI). Differs from Linux: the host schedules, so no
// priority is inherited.
//
// Lock order: kFutexBucket, one at a time. Wakes come after it.
#include "kernel/abi/process.h"
#include "kernel/task/futex_queue.h"

namespace teacup {

using namespace futexes;

namespace {

FutexWaiter* next_for_lock(FutexBucket& bucket, const WordKey& key) {
  for (FutexWaiter& waiter : bucket.queue) {
    if (matches(waiter, key, true)) return &waiter;
  }
  return nullptr;
}

// Takes a free lock, or says that it will be waited for. Done: true if the lock is ours. EAGAIN: the word
// changed meanwhile.
Result<bool> try_to_own(FutexBucket& bucket, const WordKey& key, u64 address, u32 tid, bool mark) {
  u32 word = TRY(load(address));
  u32 owner = word & abi::kFUTEX_TID_MASK;
  if (owner == tid) return Errno::DEADLK;
  if (owner == 0) {
    u32 waiters = next_for_lock(bucket, key) != nullptr ? u32{abi::kFUTEX_WAITERS} : 0;
    TRY(swap_word(address, word, tid | waiters | (word & abi::kFUTEX_OWNER_DIED)));
    return true;
  }
  if (mark && (word & abi::kFUTEX_WAITERS) == 0) TRY(swap_word(address, word, word | abi::kFUTEX_WAITERS));
  return false;
}

// Gives the lock to the next waiter, or frees it. Under the bucket's lock; EAGAIN as above.
Result<void> pass_on(FutexBucket& bucket, const WordKey& key, u64 address, u32 word, u32 flags,
                     WakeBatch& woken) {
  FutexWaiter* next = next_for_lock(bucket, key);
  if (next == nullptr) return swap_word(address, word, flags);
  u32 tid = static_cast<u32>(next->task->tid);
  dequeue(bucket, *next);
  u32 waiters = next_for_lock(bucket, key) != nullptr ? u32{abi::kFUTEX_WAITERS} : 0;
  Result<void> swapped = swap_word(address, word, tid | waiters | flags);
  if (!swapped.ok()) {
    bucket.waiters.fetch_add(1, std::memory_order_seq_cst);
    bucket.queue.push_front(*next);
    return swapped;
  }
  woken.add(*next);
  return {};
}

}  // namespace

namespace {

// Until the lock was handed over.
Result<void> wait_for_lock(FutexWaiter& waiter, u64 deadline) {
  while (waiter.bucket.load(std::memory_order_acquire) != nullptr) {
    Woken woken = park("a futex lock", deadline);
    if (woken == Woken::kNews) continue;
    if (!withdraw(waiter)) break;  // it was handed over after all
    return woken == Woken::kTimeout ? Errno::TIMEDOUT : Errno::RESTARTNOINTR;
  }
  return {};
}

// A waiter that came from a condition: the lock is its own, or it waits for it. EAGAIN: the word changed.
Result<void> arrive_at_lock(FutexBucket& bucket, const WordKey& key, u64 address, FutexWaiter& waiter,
                            WakeBatch& woken) {
  Result<bool> owned = try_to_own(bucket, key, address, static_cast<u32>(waiter.task->tid), true);
  if (owned.is(Errno::AGAIN)) return Errno::AGAIN;
  // A waiter that owns the lock already, or a word that has gone, waits: nobody can hand it over, a signal
  // ends it.
  if (!owned.ok() || !owned.value()) {
    enqueue(bucket, waiter);
  } else {
    bucket.waiters.fetch_sub(1, std::memory_order_seq_cst);
    woken.add(waiter);
  }
  return {};
}

}  // namespace

Result<void> futex_wait_for_lock(Task& task, u64 address, u64 lock, bool is_private, u32 expected,
                                 u64 deadline) {
  if (address == lock) return Errno::INVAL;
  WordKey target = TRY(key_of(task, lock, is_private));
  FutexWaiter& waiter = task.futex;
  TRY(queue_waiter(task, waiter, address, is_private, expected, kAllFutexBits, &target));
  Result<void> result = wait_for_lock(waiter, deadline);
  // Once it was requeued the call cannot be begun again: the word of the condition has changed by now.
  if (result.is(Errno::RESTARTNOINTR) && waiter.wants_lock) return Errno::AGAIN;
  return result;
}

Result<u32> futex_requeue_to_lock(Task& task, u64 address, u64 lock, bool is_private, u32 requeue,
                                  u32 compare) {
  if (address == lock) return Errno::INVAL;
  WordKey from = TRY(key_of(task, address, is_private));
  WordKey to = TRY(key_of(task, lock, is_private));
  TRY(load(lock));
  FutexBucket& source = bucket_of(from);
  FutexBucket& destination = bucket_of(to);
  List<FutexWaiter, &FutexWaiter::node> on_the_way;
  u32 moved = 0;
  bool refused = false;
  {
    LockGuard guard(source.lock);
    if (TRY(load(address)) != compare) return Errno::AGAIN;
    // One more than `requeue`: the first is the one to be woken, if the lock is free.
    for (FutexWaiter* waiter = source.queue.front(); waiter != nullptr && moved <= requeue;) {
      FutexWaiter* next = source.queue.after(*waiter);
      if (matches(*waiter, from)) {
        refused = waiter->target_object != to.object || waiter->target_offset != to.offset;
        if (refused) break;
        dequeue(source, *waiter);
        waiter->bucket.store(moving(), std::memory_order_release);
        on_the_way.push_back(*waiter);
        moved++;
      }
      waiter = next;
    }
  }
  destination.waiters.fetch_add(moved, std::memory_order_seq_cst);
  while (FutexWaiter* waiter = on_the_way.pop_front()) {
    WakeBatch woken;
    LockGuard guard(destination.lock);
    waiter->key_object = to.object;
    waiter->key_offset = to.offset;
    waiter->wants_lock = true;
    while (arrive_at_lock(destination, to, lock, *waiter, woken).is(Errno::AGAIN)) {
    }
  }
  if (refused) return Errno::INVAL;
  return moved;
}

Result<void> futex_lock(Task& task, u64 address, bool is_private, bool only_try, u64 deadline) {
  WordKey key = TRY(key_of(task, address, is_private));
  FutexBucket& bucket = bucket_of(key);
  u32 tid = static_cast<u32>(task.tid);
  FutexWaiter& waiter = task.futex;
  for (;;) {
    LockGuard guard(bucket.lock);
    Result<bool> owned = try_to_own(bucket, key, address, tid, !only_try);
    if (owned.is(Errno::AGAIN)) continue;
    if (TRY(std::move(owned))) return {};
    if (only_try) return Errno::AGAIN;
    waiter.key_object = key.object;
    waiter.key_offset = key.offset;
    waiter.wants_lock = true;
    waiter.task = &task;
    bucket.waiters.fetch_add(1, std::memory_order_seq_cst);
    enqueue(bucket, waiter);
    break;
  }
  return wait_for_lock(waiter, deadline);
}

Result<void> futex_unlock(Task& task, u64 address, bool is_private) {
  WordKey key = TRY(key_of(task, address, is_private));
  FutexBucket& bucket = bucket_of(key);
  for (;;) {
    WakeBatch woken;
    LockGuard guard(bucket.lock);
    u32 word = TRY(load(address));
    if ((word & abi::kFUTEX_TID_MASK) != static_cast<u32>(task.tid)) return Errno::PERM;
    Result<void> passed = pass_on(bucket, key, address, word, 0, woken);
    if (!passed.is(Errno::AGAIN)) return passed;
  }
}

namespace futexes {

// A dead owner's lock goes to the next waiter, who learns it.
void release_owned_lock(Task& task, u64 address, u32 owner) {
  // Threads of one process lock with the private key: both are looked at.
  for (bool is_private : {false, true}) {
    Result<WordKey> one = key_of(task, address, is_private);
    if (!one.ok()) return;
    FutexBucket& bucket = bucket_of(one.value());
    for (;;) {
      WakeBatch woken;
      LockGuard guard(bucket.lock);
      Result<u32> word = load(address);
      if (!word.ok() || (word.value() & abi::kFUTEX_TID_MASK) != owner) return;
      if (!is_private && next_for_lock(bucket, one.value()) == nullptr) break;
      if (!pass_on(bucket, one.value(), address, word.value(), abi::kFUTEX_OWNER_DIED, woken)
               .is(Errno::AGAIN))
        return;
    }
  }
}

}  // namespace futexes
}  // namespace teacup
