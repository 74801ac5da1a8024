// A hash table of buckets; a waiter is in the bucket of its key. A waker must not miss a task that is about
// to sleep, and must make no host call when nobody sleeps:
//   wait: waiters++ (full barrier); lock; word == expected? queue; unlock; park
//   wake: (the guest changed the word) full barrier; waiters == 0? done; lock; ...
// Either the waker sees the count, or the waiter sees the changed word.
//
// A waiter's `bucket` says whether it is still queued: the waker clears it under the lock, before it
// notifies. The waker then holds a reference to the task: it may return from futex(2) and end at any moment.
//
// A requeue takes the waiters out of one bucket, then puts them into the other, and never holds both locks:
// in between they belong to it alone (kMoving). A wake of the target in that moment counts as one before it.
//
// Lock order: kFutexBucket, one at a time. Wakes come after it.
#include "kernel/task/futex_queue.h"

#include <utility>

#include "kernel/abi/process.h"
#include "kernel/frame/heap.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

extern "C" int guest_load32(const u32* at, u32* value);
extern "C" int guest_cas32(u32* at, u32* expected, u32 desired);

namespace {

constexpr u32 kBuckets = 1024;
struct FutexTable {
  FutexBucket buckets[kBuckets];
};

}  // namespace

namespace futexes {

FutexBucket& bucket_of(const WordKey& key) {
  u64 hash = (key.object >> 4) * 0x9e3779b97f4a7c15 ^ (key.offset >> 2) * 0xc2b2ae3d27d4eb4f;
  return root<FutexTable>(Root::kFutexes)->buckets[hash >> 32 & (kBuckets - 1)];
}

Result<void> check_address(u64 address) {
  if (!is_aligned(address, 4)) return Errno::INVAL;
#ifndef TEACUP_HOSTED
  if (!is_guest_range(address, 4)) return Errno::FAULT;
#endif
  return {};
}

Result<WordKey> key_of(Task& task, u64 address, bool is_private) {
  TRY(check_address(address));
  WordKey key = TRY(task.memory->word_key(address, is_private));
  // As on Linux the two kinds of operation do not meet, even on memory that is private: words are aligned, so
  // the lowest bit can tell them apart.
  if (!is_private && key.object == reinterpret_cast<u64>(task.memory.get())) key.offset |= 1;
  return key;
}

Result<u32> load(u64 address) {
  u32 value = 0;
  if (guest_load32(reinterpret_cast<const u32*>(address), &value) != 0) return Errno::FAULT;
  return value;
}

Result<void> swap_word(u64 address, u32 expected, u32 desired) {
  u32 seen = expected;
  if (guest_cas32(reinterpret_cast<u32*>(address), &seen, desired) != 0) return Errno::FAULT;
  if (seen != expected) return Errno::AGAIN;
  return {};
}

// Takes a waiter that was not woken from its queue, wherever that is by now. False: it was woken after all.
bool withdraw(FutexWaiter& waiter) {
  for (;;) {
    FutexBucket* bucket = waiter.bucket.load(std::memory_order_acquire);
    if (bucket == nullptr) return false;
    if (bucket == moving()) {
      gate::yield();
      continue;
    }
    LockGuard guard(bucket->lock);
    if (waiter.bucket.load(std::memory_order_acquire) != bucket) continue;  // requeued meanwhile
    dequeue(*bucket, waiter);
    waiter.bucket.store(nullptr, std::memory_order_release);
    return true;
  }
}

// Queues `waiter` if the word is as expected.
Result<void> queue_waiter(Task& task, FutexWaiter& waiter, u64 address, bool is_private, u32 expected,
                          u32 bitset, const WordKey* target) {
  WordKey key = TRY(key_of(task, address, is_private));
  FutexBucket& bucket = bucket_of(key);
  waiter.key_object = key.object;
  waiter.key_offset = key.offset;
  waiter.bitset = bitset;
  waiter.wants_lock = false;
  waiter.target_object = target != nullptr ? target->object : 0;
  waiter.target_offset = target != nullptr ? target->offset : 0;
  waiter.task = &task;
  bucket.waiters.fetch_add(1, std::memory_order_seq_cst);
  LockGuard guard(bucket.lock);
  Result<u32> value = load(address);
  if (!value.ok() || value.value() != expected) {
    bucket.waiters.fetch_sub(1, std::memory_order_seq_cst);
    return value.ok() ? Errno::AGAIN : value.error();
  }
  enqueue(bucket, waiter);
  return {};
}

}  // namespace futexes

using namespace futexes;

namespace {

// Wakes up to `count` from `key`; stops early when the batch is full. Under the bucket's lock. EINVAL: one
// that can only be requeued to a lock is in the way.
Result<u32> wake_locked(FutexBucket& bucket, const WordKey& key, u32 count, u32 bitset, WakeBatch& woken) {
  u32 done = 0;
  for (FutexWaiter* waiter = bucket.queue.front(); waiter != nullptr && done < count && !woken.full();) {
    FutexWaiter* next = bucket.queue.after(*waiter);
    if (matches(*waiter, key) && (waiter->bitset & bitset) != 0) {
      if (waiter->target_object != 0) return Errno::INVAL;
      dequeue(bucket, *waiter);
      woken.add(*waiter);
      done++;
    }
    waiter = next;
  }
  return done;
}

Result<u32> wake_key(const WordKey& key, u32 count, u32 bitset) {
  FutexBucket& bucket = bucket_of(key);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (bucket.waiters.load(std::memory_order_seq_cst) == 0) return u32{0};
  u32 total = 0;
  for (;;) {
    WakeBatch woken;
    u32 done = 0;
    {
      LockGuard guard(bucket.lock);
      done = TRY(wake_locked(bucket, key, count - total, bitset, woken));
    }
    total += done;
    if (total >= count || !woken.full()) return total;
  }
}

}  // namespace

void futexes_start() {
  auto* table = make<FutexTable>().value_or(nullptr);
  if (table == nullptr) panic("no memory for the futex table");
  set_root(Root::kFutexes, table);
}

Result<void> futex_wait(Task& task, u64 address, bool is_private, u32 expected, u32 bitset, u64 deadline) {
  if (bitset == 0) return Errno::INVAL;
  FutexWaiter& waiter = task.futex;
  TRY(queue_waiter(task, waiter, address, is_private, expected, bitset));
  while (waiter.bucket.load(std::memory_order_acquire) != nullptr) {
    Woken woken = park("a futex", deadline);
    if (woken == Woken::kNews) continue;
    if (!withdraw(waiter)) break;
    return woken == Woken::kTimeout ? Errno::TIMEDOUT : Errno::RESTARTSYS;
  }
  return {};
}

Result<u32> futex_wake(Task& task, u64 address, bool is_private, u32 count, u32 bitset) {
  if (bitset == 0) return Errno::INVAL;
  WordKey key = TRY(key_of(task, address, is_private));
  return wake_key(key, count, bitset);
}

Result<u32> futex_requeue(Task& task, u64 address, u64 target, bool is_private, u32 wake, u32 requeue,
                          const u32* compare) {
  WordKey from = TRY(key_of(task, address, is_private));
  WordKey to = TRY(key_of(task, target, is_private));
  FutexBucket& source = bucket_of(from);
  FutexBucket& destination = bucket_of(to);
  u32 woken_count = 0, moved = 0;
  List<FutexWaiter, &FutexWaiter::node> on_the_way;
  for (bool first = true, again = true; again; first = false) {
    WakeBatch woken;
    LockGuard guard(source.lock);
    if (first && compare != nullptr && TRY(load(address)) != *compare) return Errno::AGAIN;
    woken_count += TRY(wake_locked(source, from, wake - woken_count, kAllFutexBits, woken));
    again = woken_count < wake && woken.full();
    if (again) continue;
    for (FutexWaiter* waiter = source.queue.front(); waiter != nullptr && moved < requeue;) {
      FutexWaiter* next = source.queue.after(*waiter);
      if (matches(*waiter, from)) {
        if (waiter->target_object != 0) break;  // to a lock, or not at all
        moved++;
        dequeue(source, *waiter);
        waiter->bucket.store(moving(), std::memory_order_release);
        on_the_way.push_back(*waiter);
      }
      waiter = next;
    }
  }
  if (moved > 0) {
    destination.waiters.fetch_add(moved, std::memory_order_seq_cst);
    LockGuard guard(destination.lock);
    while (FutexWaiter* waiter = on_the_way.pop_front()) {
      waiter->key_object = to.object;
      waiter->key_offset = to.offset;
      enqueue(destination, *waiter);
    }
  }
  // Differs from futex(2), which says so of FUTEX_CMP_REQUEUE alone; Linux counts both for both.
  return woken_count + moved;
}

namespace {

Result<bool> change_word(u64 address, u32 operation) {
  u32 code = operation >> 28 & 7;
  bool shift = (operation >> 31) != 0;
  u32 compare = operation >> 24 & 15;
  auto sign_extend = [](u32 value) { return static_cast<s32>(value << 20) >> 20; };
  s32 argument = sign_extend(operation >> 12 & 0xfff);
  s32 limit = sign_extend(operation & 0xfff);
  u32 operand = shift ? u32{1} << (argument & 31) : static_cast<u32>(argument);
  u32 old = TRY(load(address));
  for (;;) {
    u32 desired = 0;
    switch (code) {
      case abi::kFUTEX_OP_SET:
        desired = operand;
        break;
      case abi::kFUTEX_OP_ADD:
        desired = old + operand;
        break;
      case abi::kFUTEX_OP_OR:
        desired = old | operand;
        break;
      case abi::kFUTEX_OP_ANDN:
        desired = old & ~operand;
        break;
      case abi::kFUTEX_OP_XOR:
        desired = old ^ operand;
        break;
      default:
        return Errno::NOSYS;
    }
    u32 seen = old;
    if (guest_cas32(reinterpret_cast<u32*>(address), &seen, desired) != 0) return Errno::FAULT;
    if (seen == old) break;
    old = seen;
  }
  s32 value = static_cast<s32>(old);
  switch (compare) {
    case abi::kFUTEX_OP_CMP_EQ:
      return value == limit;
    case abi::kFUTEX_OP_CMP_NE:
      return value != limit;
    case abi::kFUTEX_OP_CMP_LT:
      return value < limit;
    case abi::kFUTEX_OP_CMP_LE:
      return value <= limit;
    case abi::kFUTEX_OP_CMP_GT:
      return value > limit;
    case abi::kFUTEX_OP_CMP_GE:
      return value >= limit;
    default:
      return Errno::NOSYS;
  }
}

}  // namespace

Result<u32> futex_wake_op(Task& task, u64 address, u64 target, bool is_private, u32 wake, u32 wake_target,
                          u32 operation) {
  WordKey key = TRY(key_of(task, address, is_private));
  WordKey target_key = TRY(key_of(task, target, is_private));
  // The operation is atomic by itself; both wakes come after it, as a waiter of either word sees them.
  bool second = TRY(change_word(target, operation));
  u32 count = TRY(wake_key(key, wake, kAllFutexBits));
  if (second) count += TRY(wake_key(target_key, wake_target, kAllFutexBits));
  return count;
}

Result<u32> futex_wait_any(Task& task, std::span<const FutexWaitSpec> words, u64 deadline) {
  auto waiters = TRY(HeapArray<FutexWaiter>::create(words.size()));
  auto withdraw_all = [&](size_t count) {
    s64 woken = -1;
    for (size_t i = 0; i < count; i++) {
      if (!withdraw(waiters[i]) && woken < 0) woken = static_cast<s64>(i);
    }
    return woken;
  };
  for (size_t i = 0; i < words.size(); i++) {
    new (&waiters[i]) FutexWaiter;
    Result<void> queued = queue_waiter(task, waiters[i], words[i].address, words[i].is_private,
                                       words[i].expected, kAllFutexBits);
    if (queued.ok()) continue;
    s64 woken = withdraw_all(i);
    if (woken >= 0) return static_cast<u32>(woken);
    return queued.error();
  }
  for (;;) {
    for (size_t i = 0; i < words.size(); i++) {
      if (waiters[i].bucket.load(std::memory_order_acquire) != nullptr) continue;
      withdraw_all(words.size());
      return static_cast<u32>(i);
    }
    Woken woken = park("futexes", deadline);
    if (woken == Woken::kNews) continue;
    s64 index = withdraw_all(words.size());
    if (index >= 0) return static_cast<u32>(index);
    return woken == Woken::kTimeout ? Errno::TIMEDOUT : Errno::RESTARTSYS;
  }
}

// --- A task's end.

namespace {

// The owner died: the next to lock learns it (FUTEX_OWNER_DIED); one waiter is woken to do so.
void release_robust_word(Task& task, u64 address, u32 owner, bool pending) {
  if (!check_address(address).ok()) return;
  Result<u32> word = load(address);
  if (!word.ok()) return;
  u32 old = word.value();
  // A task that died between unlocking and waking: its wake is made up for.
  if (pending && old == 0) {
    (void)futex_wake(task, address, false, 1, kAllFutexBits);
    return;
  }
  for (;;) {
    if ((old & abi::kFUTEX_TID_MASK) != owner) return;
    u32 seen = old;
    u32 desired = (old & abi::kFUTEX_WAITERS) | abi::kFUTEX_OWNER_DIED;
    if (guest_cas32(reinterpret_cast<u32*>(address), &seen, desired) != 0) return;
    if (seen == old) break;
    old = seen;
  }
  if ((old & abi::kFUTEX_WAITERS) != 0) (void)futex_wake(task, address, false, 1, kAllFutexBits);
}

}  // namespace

void release_robust_list(Task& task, Task& of) {
  u64 head = std::exchange(of.robust_list, 0);
  if (head == 0) return;
  // struct robust_list_head: next, futex_offset, list_op_pending. Bit 0 of a pointer marks a PI mutex.
  struct Head {
    u64 next;
    s64 futex_offset;
    u64 pending;
  };
  auto read = GuestIn<Head>(head).read();
  if (!read.ok()) return;
  Head list = read.value();
  u32 owner = static_cast<u32>(of.tid);
  constexpr u32 kLimit = 2048;  // ROBUST_LIST_LIMIT: the list is the guest's, and may be circular
  u64 pending = list.pending & ~u64{1};
  u64 entry = list.next;
  auto release = [&](u64 pointer, bool is_pending) {
    u64 word = (pointer & ~u64{1}) + static_cast<u64>(list.futex_offset);
    if ((pointer & 1) != 0) {
      if (check_address(word).ok()) release_owned_lock(task, word, owner);
    } else {
      release_robust_word(task, word, owner, is_pending);
    }
  };
  for (u32 i = 0; i < kLimit; i++) {
    u64 at = entry & ~u64{1};
    if (at == head || at == 0) break;
    auto next = GuestIn<u64>(at).read();  // before the word is let go
    if (at != pending) release(entry, false);
    if (!next.ok()) break;
    entry = next.value();
  }
  if (pending != 0) release(list.pending, true);
}

void release_child_tid(Task& task) {
  u64 address = std::exchange(task.clear_child_tid, 0);
  if (address == 0) return;
  if (!copy_to_guest(address, "\0\0\0", 4).ok()) return;
  (void)futex_wake(task, address, false, 1, kAllFutexBits);
}

}  // namespace teacup
