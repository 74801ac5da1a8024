// Pipes, splicing, and the files that stand for events: eventfd, timerfd, signalfd, pidfd, inotify, memfd.
#pragma once

#include "kernel/abi/fs.h"
#include "kernel/abi/ipc.h"
#include "kernel/abi/signal.h"
#include "kernel/abi/time.h"
#include "kernel/base/result.h"
#include "kernel/syscall/argument_types.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

class Task;

Result<void> sys_pipe(Task& task, DescriptorPair ends);
Result<void> sys_pipe2(Task& task, DescriptorPair ends, DescriptorFlags flags);
Result<size_t> sys_splice(Task& task, Fd in, OptionalOffset in_offset, Fd out, OptionalOffset out_offset,
                          size_t size, SpliceFlags flags);
Result<size_t> sys_tee(Task& task, Fd in, Fd out, size_t size, SpliceFlags flags);
Result<size_t> sys_vmsplice(Task& task, Fd fd, GuestIn<abi::IoVec> pieces, size_t count, SpliceFlags flags);

Result<Fd> sys_eventfd(Task& task, u32 initial);
Result<Fd> sys_eventfd2(Task& task, u32 initial, EventfdFlags flags);
Result<Fd> sys_timerfd_create(Task& task, ClockId clock, TimerfdFlags flags);
Result<void> sys_timerfd_settime(Task& task, Fd fd, TimerfdSetFlags flags, GuestIn<abi::ITimerspec> value,
                                 GuestOut<abi::ITimerspec> old);
Result<void> sys_timerfd_gettime(Task& task, Fd fd, GuestOut<abi::ITimerspec> value);
Result<Fd> sys_signalfd(Task& task, Fd fd, SignalSetIn mask, size_t mask_size);
Result<Fd> sys_signalfd4(Task& task, Fd fd, SignalSetIn mask, size_t mask_size, SignalfdFlags flags);
Result<Fd> sys_memfd_create(Task& task, GuestString name, MemfdFlags flags);
Result<Fd> sys_pidfd_open(Task& task, s32 pid, PidfdFlags flags);
Result<void> sys_pidfd_send_signal(Task& task, Fd fd, Signal signal, GuestIn<abi::SigInfo> info, u32 flags);
Result<Fd> sys_pidfd_getfd(Task& task, Fd fd, Fd target, u32 flags);
Result<Fd> sys_inotify_init(Task& task);
Result<Fd> sys_inotify_init1(Task& task, InotifyFlags flags);
Result<s32> sys_inotify_add_watch(Task& task, Fd fd, GuestString path, InotifyMask mask);
Result<void> sys_inotify_rm_watch(Task& task, Fd fd, s32 watch);

}  // namespace teacup
