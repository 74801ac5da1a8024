// Waiting on many files: poll(2), select(2), epoll(7).
#pragma once

#include "kernel/abi/fs.h"
#include "kernel/abi/signal.h"
#include "kernel/abi/time.h"
#include "kernel/base/result.h"
#include "kernel/syscall/argument_types.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

class Task;

// pselect6's last argument.
struct SelectMask {
  u64 mask;  // address of a SigSet, or 0
  u64 size;
};

Result<s32> sys_poll(Task& task, PollFds files, u32 count, s32 timeout_ms);
Result<s32> sys_ppoll(Task& task, PollFds files, u32 count, PselectTimeout timeout, SignalSetIn mask,
                      size_t mask_size);
Result<s32> sys_select(Task& task, s32 count, FdSet read, FdSet write, FdSet except, SelectTimeout timeout);
Result<s32> sys_pselect6(Task& task, s32 count, FdSet read, FdSet write, FdSet except, PselectTimeout timeout,
                         GuestIn<SelectMask> mask);

Result<Fd> sys_epoll_create(Task& task, s32 size);
Result<Fd> sys_epoll_create1(Task& task, EpollFlags flags);
Result<void> sys_epoll_ctl(Task& task, Fd epoll, EpollOperation operation, Fd fd,
                           GuestIn<abi::EpollEvent> event);
Result<s32> sys_epoll_wait(Task& task, Fd epoll, EpollEvents events, s32 count, s32 timeout_ms);
Result<s32> sys_epoll_pwait(Task& task, Fd epoll, EpollEvents events, s32 count, s32 timeout_ms,
                            SignalSetIn mask, size_t mask_size);
Result<s32> sys_epoll_pwait2(Task& task, Fd epoll, EpollEvents events, s32 count,
                             GuestIn<abi::Timespec> timeout, SignalSetIn mask, size_t mask_size);

}  // namespace teacup
