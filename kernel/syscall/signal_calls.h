// Signals: signal(7).
#pragma once

#include "kernel/abi/signal.h"
#include "kernel/abi/time.h"
#include "kernel/base/result.h"
#include "kernel/syscall/table.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

class Task;

Result<void> sys_rt_sigaction(Task& task, int signal, GuestIn<abi::SigAction> next,
                              GuestOut<abi::SigAction> old, size_t mask_size);
Result<void> sys_rt_sigprocmask(Task& task, int how, GuestIn<abi::SigSet> next, GuestOut<abi::SigSet> old,
                                size_t mask_size);
Result<Control> sys_rt_sigreturn(Task& task);
Result<void> sys_rt_sigpending(Task& task, GuestOut<abi::SigSet> set, size_t mask_size);
Result<s32> sys_rt_sigtimedwait(Task& task, GuestIn<abi::SigSet> set, GuestOut<abi::SigInfo> info,
                                GuestIn<abi::Timespec> timeout, size_t mask_size);
Result<void> sys_rt_sigsuspend(Task& task, GuestIn<abi::SigSet> mask, size_t mask_size);
Result<void> sys_rt_sigqueueinfo(Task& task, s32 pid, int signal, GuestIn<abi::SigInfo> info);
Result<void> sys_rt_tgsigqueueinfo(Task& task, s32 pid, s32 tid, int signal, GuestIn<abi::SigInfo> info);
Result<void> sys_sigaltstack(Task& task, GuestIn<abi::SigAltStack> next, GuestOut<abi::SigAltStack> old);
Result<void> sys_kill(Task& task, s32 pid, int signal);
Result<void> sys_tkill(Task& task, s32 tid, int signal);
Result<void> sys_tgkill(Task& task, s32 pid, s32 tid, int signal);
Result<void> sys_pause(Task& task);
Result<s64> sys_restart_syscall(Task& task);

}  // namespace teacup
