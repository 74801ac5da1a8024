#include "kernel/syscall/futex_calls.h"

#include "kernel/abi/process.h"
#include "kernel/abi/time.h"
#include "kernel/task/futex.h"
#include "kernel/task/processes.h"
#include "kernel/time/clock.h"

namespace teacup {

namespace {

// A relative wait that a signal interrupted goes on until the same deadline.
s64 resume_wait(Task& task, RestartBlock& block);

Result<void> wait_relative(Task& task, u64 word, bool is_private, u32 expected, u32 bitset, u64 deadline) {
  Result<void> result = futex_wait(task, word, is_private, expected, bitset, deadline);
  if (!result.is(Errno::RESTARTSYS) || deadline == kNoDeadline) return result;
  task.restart = RestartBlock{&resume_wait, {word, is_private, expected, bitset, deadline}};
  return Errno::RESTART_RESTARTBLOCK;
}

s64 resume_wait(Task& task, RestartBlock& block) {
  Result<void> result =
      wait_relative(task, block.data[0], block.data[1] != 0, static_cast<u32>(block.data[2]),
                    static_cast<u32>(block.data[3]), block.data[4]);
  return result.ok() ? 0 : -static_cast<s64>(result.error());
}

Result<u64> deadline_of(GuestAddress timeout, bool absolute, int clock) {
  if (timeout.value == 0) return kNoDeadline;
  u64 time = TRY(from_timespec(TRY(GuestIn<abi::Timespec>(timeout.value).read())));
  if (absolute) return deadline_on(clock, time);
  return add_time(gate::monotonic_now(), time);
}

s32 count_of(u32 count) {
  return static_cast<s32>(count);
}

}  // namespace

// futex(2).
Result<s32> sys_futex(Task& task, GuestAddress word, FutexOperation operation, FutexValue value,
                      FutexTimeout timeout, FutexTarget target, FutexValue3 value3) {
  bool is_private = (operation & abi::kFUTEX_PRIVATE_FLAG) != 0;
  bool realtime = (operation & abi::kFUTEX_CLOCK_REALTIME) != 0;
  int clock = realtime ? abi::kCLOCK_REALTIME : abi::kCLOCK_MONOTONIC;
  u32 value2 = static_cast<u32>(timeout.value);
  int command = operation & abi::kFUTEX_CMD_MASK;
  if (realtime && command != abi::kFUTEX_WAIT && command != abi::kFUTEX_WAIT_BITSET &&
      command != abi::kFUTEX_LOCK_PI2 && command != abi::kFUTEX_WAIT_REQUEUE_PI) {
    return Errno::NOSYS;
  }
  switch (command) {
    case abi::kFUTEX_WAIT: {
      u64 deadline = TRY(deadline_of(timeout, false, clock));
      TRY(wait_relative(task, word.value, is_private, value, kAllFutexBits, deadline));
      return 0;
    }
    case abi::kFUTEX_WAIT_BITSET: {
      u64 deadline = TRY(deadline_of(timeout, true, clock));
      TRY(futex_wait(task, word.value, is_private, value, value3, deadline));
      return 0;
    }
    case abi::kFUTEX_WAKE:
      return count_of(TRY(futex_wake(task, word.value, is_private, value, kAllFutexBits)));
    case abi::kFUTEX_WAKE_BITSET:
      return count_of(TRY(futex_wake(task, word.value, is_private, value, value3)));
    case abi::kFUTEX_REQUEUE:
    case abi::kFUTEX_CMP_REQUEUE: {
      if (static_cast<s32>(value) < 0 || static_cast<s32>(value2) < 0) return Errno::INVAL;
      u32 expected = value3;
      const u32* compare = command == abi::kFUTEX_CMP_REQUEUE ? &expected : nullptr;
      return count_of(TRY(futex_requeue(task, word.value, target.value, is_private, value, value2, compare)));
    }
    case abi::kFUTEX_WAKE_OP:
      return count_of(TRY(futex_wake_op(task, word.value, target.value, is_private, value, value2, value3)));
    case abi::kFUTEX_LOCK_PI:
    case abi::kFUTEX_LOCK_PI2: {
      if (command == abi::kFUTEX_LOCK_PI) clock = abi::kCLOCK_REALTIME;
      u64 deadline = TRY(deadline_of(timeout, true, clock));
      TRY(futex_lock(task, word.value, is_private, false, deadline));
      return 0;
    }
    case abi::kFUTEX_TRYLOCK_PI:
      TRY(futex_lock(task, word.value, is_private, true, kNoDeadline));
      return 0;
    case abi::kFUTEX_WAIT_REQUEUE_PI: {
      u64 deadline = TRY(deadline_of(timeout, true, clock));
      TRY(futex_wait_for_lock(task, word.value, target.value, is_private, value, deadline));
      return 0;
    }
    case abi::kFUTEX_CMP_REQUEUE_PI:
      if (value != 1 || static_cast<s32>(value2) < 0) return Errno::INVAL;
      return count_of(TRY(futex_requeue_to_lock(task, word.value, target.value, is_private, value2, value3)));
    case abi::kFUTEX_UNLOCK_PI:
      TRY(futex_unlock(task, word.value, is_private));
      return 0;
    default:
      return Errno::NOSYS;
  }
}

// futex_waitv(2).
Result<s32> sys_futex_waitv(Task& task, GuestIn<abi::FutexWaitv> waiters, u32 count, u32 flags,
                            GuestAddress timeout, ClockId clock) {
  constexpr u32 kSize32 = 2;
  if (flags != 0 || count == 0 || count > abi::kFUTEX_WAITV_MAX || !waiters) return Errno::INVAL;
  if (timeout.value != 0 && clock != abi::kCLOCK_MONOTONIC && clock != abi::kCLOCK_REALTIME)
    return Errno::INVAL;
  u64 deadline = TRY(deadline_of(timeout, true, clock));
  auto words = TRY(HeapArray<FutexWaitSpec>::create(count));
  for (u32 i = 0; i < count; i++) {
    abi::FutexWaitv waiter = TRY(waiters.at(i));
    constexpr u32 kKnown = kSize32 | u32{abi::kFUTEX_PRIVATE_FLAG};
    if ((waiter.flags & ~kKnown) != 0 || (waiter.flags & kSize32) == 0 || waiter.reserved != 0)
      return Errno::INVAL;
    words[i] = {waiter.address, static_cast<u32>(waiter.value),
                (waiter.flags & abi::kFUTEX_PRIVATE_FLAG) != 0};
  }
  return count_of(TRY(futex_wait_any(task, {words.data(), words.size()}, deadline)));
}

// set_robust_list(2).
Result<void> sys_set_robust_list(Task& task, GuestAddress head, size_t size) {
  constexpr size_t kHeadSize = 24;
  if (size != kHeadSize) return Errno::INVAL;
  task.robust_list = head.value;
  return {};
}

Result<void> sys_get_robust_list(Task& task, s32 tid, GuestOut<u64> head, GuestOut<u64> size) {
  u64 list = task.robust_list;
  if (tid != 0 && tid != task.tid) {
    Ref<Task> other = processes().find_task(tid);
    if (!other) return Errno::SRCH;
    if (other->process != task.process) return Errno::PERM;
    list = other->robust_list;
  }
  TRY(size.write(24));
  return head.write(list);
}

}  // namespace teacup
