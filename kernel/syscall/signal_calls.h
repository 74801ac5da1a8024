// Signals: signal(7).
#pragma once

#include "kernel/abi/signal.h"
#include "kernel/abi/time.h"
#include "kernel/base/result.h"
#include "kernel/syscall/argument_types.h"
#include "kernel/syscall/table.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

class Task;

Result<void> sys_rt_sigaction(Task& task, Signal signal, GuestIn<abi::SigAction> next,
                              GuestOut<abi::SigAction> old, size_t mask_size);
Result<void> sys_rt_sigprocmask(Task& task, MaskHow how, SignalSetIn next, SignalSetOut old,
                                size_t mask_size);
Result<Control> sys_rt_sigreturn(Task& task, SignalFrame frame);
Result<void> sys_rt_sigpending(Task& task, SignalSetOut set, size_t mask_size);
Result<s32> sys_rt_sigtimedwait(Task& task, SignalSetIn set, GuestOut<abi::SigInfo> info,
                                GuestIn<abi::Timespec> timeout, size_t mask_size);
Result<void> sys_rt_sigsuspend(Task& task, SignalSetIn mask, size_t mask_size);
Result<void> sys_rt_sigqueueinfo(Task& task, s32 pid, Signal signal, GuestIn<abi::SigInfo> info);
Result<void> sys_rt_tgsigqueueinfo(Task& task, s32 pid, s32 tid, Signal signal, GuestIn<abi::SigInfo> info);
Result<void> sys_sigaltstack(Task& task, GuestIn<abi::SigAltStack> next, GuestOut<abi::SigAltStack> old);
Result<void> sys_kill(Task& task, s32 pid, Signal signal);
Result<void> sys_tkill(Task& task, s32 tid, Signal signal);
Result<void> sys_tgkill(Task& task, s32 pid, s32 tid, Signal signal);
Result<void> sys_pause(Task& task);
Result<s64> sys_restart_syscall(Task& task);

}  // namespace teacup
