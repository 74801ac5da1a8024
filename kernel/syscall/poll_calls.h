// Waiting on many files: poll(2), select(2), epoll(7).
#pragma once

#include "kernel/abi/fs.h"
#include "kernel/abi/signal.h"
#include "kernel/abi/time.h"
#include "kernel/base/result.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

class Task;

// pselect6's last argument.
struct SelectMask {
  u64 mask;  // address of a SigSet, or 0
  u64 size;
};

Result<s32> sys_poll(Task& task, GuestInOut<abi::PollFd> files, u32 count, s32 timeout_ms);
Result<s32> sys_ppoll(Task& task, GuestInOut<abi::PollFd> files, u32 count, GuestInOut<abi::Timespec> timeout,
                      GuestIn<abi::SigSet> mask, size_t mask_size);
Result<s32> sys_select(Task& task, s32 count, GuestInOut<u64> read, GuestInOut<u64> write,
                       GuestInOut<u64> except, GuestInOut<abi::Timeval> timeout);
Result<s32> sys_pselect6(Task& task, s32 count, GuestInOut<u64> read, GuestInOut<u64> write,
                         GuestInOut<u64> except, GuestInOut<abi::Timespec> timeout, GuestIn<SelectMask> mask);

Result<Fd> sys_epoll_create(Task& task, s32 size);
Result<Fd> sys_epoll_create1(Task& task, u32 flags);
Result<void> sys_epoll_ctl(Task& task, Fd epoll, int operation, Fd fd, GuestIn<abi::EpollEvent> event);
Result<s32> sys_epoll_wait(Task& task, Fd epoll, GuestOut<abi::EpollEvent> events, s32 count, s32 timeout_ms);
Result<s32> sys_epoll_pwait(Task& task, Fd epoll, GuestOut<abi::EpollEvent> events, s32 count, s32 timeout_ms,
                            GuestIn<abi::SigSet> mask, size_t mask_size);
Result<s32> sys_epoll_pwait2(Task& task, Fd epoll, GuestOut<abi::EpollEvent> events, s32 count,
                             GuestIn<abi::Timespec> timeout, GuestIn<abi::SigSet> mask, size_t mask_size);

}  // namespace teacup
