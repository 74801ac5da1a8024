// Pipes, splicing, and the files that stand for events: eventfd, timerfd, signalfd, pidfd, inotify, memfd.
#pragma once

#include "kernel/abi/fs.h"
#include "kernel/abi/ipc.h"
#include "kernel/abi/signal.h"
#include "kernel/abi/time.h"
#include "kernel/base/result.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

class Task;

Result<void> sys_pipe(Task& task, GuestOut<s32> ends);
Result<void> sys_pipe2(Task& task, GuestOut<s32> ends, u32 flags);
Result<size_t> sys_splice(Task& task, Fd in, GuestInOut<s64> in_offset, Fd out, GuestInOut<s64> out_offset,
                          size_t size, u32 flags);
Result<size_t> sys_tee(Task& task, Fd in, Fd out, size_t size, u32 flags);
Result<size_t> sys_vmsplice(Task& task, Fd fd, GuestIn<abi::IoVec> pieces, size_t count, u32 flags);

Result<Fd> sys_eventfd(Task& task, u32 initial);
Result<Fd> sys_eventfd2(Task& task, u32 initial, u32 flags);
Result<Fd> sys_timerfd_create(Task& task, int clock, u32 flags);
Result<void> sys_timerfd_settime(Task& task, Fd fd, u32 flags, GuestIn<abi::ITimerspec> value,
                                 GuestOut<abi::ITimerspec> old);
Result<void> sys_timerfd_gettime(Task& task, Fd fd, GuestOut<abi::ITimerspec> value);
Result<Fd> sys_signalfd(Task& task, Fd fd, GuestIn<abi::SigSet> mask, size_t mask_size);
Result<Fd> sys_signalfd4(Task& task, Fd fd, GuestIn<abi::SigSet> mask, size_t mask_size, u32 flags);
Result<Fd> sys_memfd_create(Task& task, GuestString name, u32 flags);
Result<Fd> sys_pidfd_open(Task& task, s32 pid, u32 flags);
Result<void> sys_pidfd_send_signal(Task& task, Fd fd, int signal, GuestIn<abi::SigInfo> info, u32 flags);
Result<Fd> sys_pidfd_getfd(Task& task, Fd fd, Fd target, u32 flags);
Result<Fd> sys_inotify_init(Task& task);
Result<Fd> sys_inotify_init1(Task& task, u32 flags);
Result<s32> sys_inotify_add_watch(Task& task, Fd fd, GuestString path, u32 mask);
Result<void> sys_inotify_rm_watch(Task& task, Fd fd, s32 watch);

}  // namespace teacup
