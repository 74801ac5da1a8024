// futex(2), futex_waitv(2), robust lists.
#pragma once

#include "kernel/base/result.h"
#include "kernel/syscall/argument_types.h"
#include "kernel/syscall/table.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

class Task;

namespace abi {
struct FutexWaitv {
  u64 value, address;
  u32 flags, reserved;
};
}  // namespace abi

Result<s32> sys_futex(Task& task, GuestAddress word, FutexOperation operation, FutexValue value,
                      FutexTimeout timeout, FutexTarget target, FutexValue3 value3);
Result<s32> sys_futex_waitv(Task& task, GuestIn<abi::FutexWaitv> waiters, u32 count, u32 flags,
                            GuestAddress timeout, ClockId clock);
Result<void> sys_set_robust_list(Task& task, GuestAddress head, size_t size);
Result<void> sys_get_robust_list(Task& task, s32 tid, GuestOut<u64> head, GuestOut<u64> size);

}  // namespace teacup
