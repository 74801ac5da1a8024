// Lock order: kProcessTree, then kSignal. Wakes and kicks come after both (SignalBatch).
#include "kernel/syscall/signal_calls.h"

#include "kernel/signal/frame.h"
#include "kernel/signal/signal.h"
#include "kernel/task/processes.h"
#include "kernel/time/clock.h"

namespace teacup {

namespace {

using abi::SigSet;

bool is_signal(int signal) {
  return signal >= 1 && signal <= abi::kNSIG;
}

Result<void> check_size(size_t mask_size) {
  if (mask_size != sizeof(SigSet)) return Errno::INVAL;
  return {};
}

}  // namespace

// sigaction(2).
Result<void> sys_rt_sigaction(Task& task, Signal signal, GuestIn<abi::SigAction> next,
                              GuestOut<abi::SigAction> old, size_t mask_size) {
  TRY(check_size(mask_size));
  if (!is_signal(signal)) return Errno::INVAL;
  if (next && (abi::signal_bit(signal) & kUnblockable) != 0) return Errno::INVAL;
  abi::SigAction wanted{};
  if (next) {
    wanted = TRY(next.read());
    wanted.mask &= ~kUnblockable;
    constexpr u64 kKnown = abi::kSA_NOCLDSTOP | abi::kSA_NOCLDWAIT | abi::kSA_SIGINFO | abi::kSA_ONSTACK |
                           abi::kSA_RESTART | abi::kSA_NODEFER | u64{abi::kSA_RESETHAND} |
                           abi::kSA_EXPOSE_TAGBITS | abi::kSA_RESTORER;
    wanted.flags &= kKnown;  // so that programs can find out which are supported (sigaction(2))
  }
  Process& process = *task.process;
  abi::SigAction before;
  {
    LockGuard guard(process.lock);
    abi::SigAction& action = process.handlers[static_cast<size_t>(signal - 1)];
    before = action;
    if (next) {
      action = wanted;
      if (is_ignored_locked(process, signal)) {
        // POSIX: what is pending and now ignored is gone, blocked or not.
        process.queue.discard(abi::signal_bit(signal));
        for (Task& other : process.tasks) other.signals.queue.discard(abi::signal_bit(signal));
      }
    }
  }
  if (old) return old.write(before);
  return {};
}

// sigprocmask(2).
Result<void> sys_rt_sigprocmask(Task& task, MaskHow how, SignalSetIn next, SignalSetOut old,
                                size_t mask_size) {
  TRY(check_size(mask_size));
  SigSet before = task.signals.blocked;
  if (next) {
    SigSet set = TRY(next.read());
    switch (how) {
      case abi::kSIG_BLOCK:
        set_blocked(task, before | set);
        break;
      case abi::kSIG_UNBLOCK:
        set_blocked(task, before & ~set);
        break;
      case abi::kSIG_SETMASK:
        set_blocked(task, set);
        break;
      default:
        return Errno::INVAL;
    }
  }
  if (old) return old.write(before);
  return {};
}

// sigreturn(2).
Result<Control> sys_rt_sigreturn(Task& task, SignalFrame) {
  Frame& frame = frame_of(task);
  if (!pop_signal_frame(task, frame).ok()) {
    frame.call_number = kNoCall;
    force_signal(task, kernel_signal(abi::kSIGSEGV));
  }
  return Control{};
}

// sigpending(2).
Result<void> sys_rt_sigpending(Task& task, SignalSetOut set, size_t mask_size) {
  if (mask_size > sizeof(SigSet)) return Errno::INVAL;
  SigSet pending = pending_signals(task) & task.signals.blocked;
  return copy_to_guest(set.address(), &pending, mask_size);
}

// sigtimedwait(2).
Result<s32> sys_rt_sigtimedwait(Task& task, SignalSetIn set, GuestOut<abi::SigInfo> info,
                                GuestIn<abi::Timespec> timeout, size_t mask_size) {
  TRY(check_size(mask_size));
  SigSet wanted = TRY(set.read()) & ~kUnblockable;
  u64 deadline = kNoDeadline;
  bool poll = false;
  if (timeout) {
    u64 duration = TRY(from_timespec(TRY(timeout.read())));
    poll = duration == 0;
    deadline = add_time(gate::monotonic_now(), duration);
  }
  abi::SigInfo taken;
  Errno error = Errno::AGAIN;
  {
    LockGuard guard(task.process->lock);
    task.signals.awaited = wanted;
  }
  int signal = 0;
  for (bool last = poll;;) {
    // The hint is the task's own to clear, before it looks.
    task.pending.fetch_and(~u32{kPendingSignal}, std::memory_order_seq_cst);
    signal = take_signal(task, wanted, &taken);
    if (signal != 0 || last) break;
    if (signal_pending(task)) {
      error = Errno::INTR;
      break;
    }
    u32 others = task.pending.load(std::memory_order_seq_cst) & ~u32{kPendingSignal};
    if (others != 0) {
      // As on Linux a stop ends the wait; what the guest does not see does not.
      error = (others & kPendingStop) != 0 ? Errno::INTR : Errno::RESTARTNOINTR;
      break;
    }
    last = park("a signal", deadline) == Woken::kTimeout;
  }
  {
    LockGuard guard(task.process->lock);
    task.signals.awaited = 0;
  }
  if (signal_pending(task)) task.pending.fetch_or(kPendingSignal, std::memory_order_seq_cst);
  if (signal == 0) return error;
  if (info) TRY(info.write(taken));
  return signal;
}

// sigsuspend(2).
Result<void> sys_rt_sigsuspend(Task& task, SignalSetIn mask, size_t mask_size) {
  TRY(check_size(mask_size));
  SigSet wanted = TRY(mask.read());
  TemporaryMask temporary(task);
  temporary.set(wanted);
  while (park("a signal") != Woken::kInterrupted) {
  }
  return temporary.finish(Result<void>(Errno::RESTARTNOHAND));
}

// pause(2).
Result<void> sys_pause(Task&) {
  while (park("a signal") != Woken::kInterrupted) {
  }
  return Errno::RESTARTNOHAND;
}

namespace {

Result<void> send_checked(Task& task, Process& process, int signal, const abi::SigInfo& info) {
  if (!may_signal(task, process, signal)) return Errno::PERM;
  if (signal == 0) return {};
  return send_signal(process, info);
}

// kill(-group): EPERM only if none could be signalled.
Result<void> kill_group(Task& task, s32 group, int signal) {
  SignalBatch batch;
  LockGuard tree(processes().lock);
  ProcessGroup* members = processes().group_locked(group);
  if (members == nullptr) return Errno::SRCH;
  bool any = false;
  for (Process& process : members->members) {
    if (!may_signal(task, process, signal)) continue;
    any = true;
    if (signal != 0) (void)queue_signal(process, user_signal(signal), batch);
  }
  if (!any) return Errno::PERM;
  return {};
}

Result<void> kill_all(Task& task, int signal) {
  bool any = false, denied = false;
  for (Ref<Process> process = processes().next_process(1); process;
       process = processes().next_process(process->pid)) {
    if (process == task.process) continue;
    Result<void> sent = send_checked(task, *process, signal, user_signal(signal));
    any = any || sent.ok();
    denied = denied || sent.is(Errno::PERM);
  }
  if (any) return {};
  return denied ? Errno::PERM : Errno::SRCH;
}

Result<void> send_to_thread(Task& task, s32 pid, s32 tid, int signal, const abi::SigInfo& info) {
  if (tid <= 0 || (pid != -1 && pid <= 0)) return Errno::INVAL;
  if (signal != 0 && !is_signal(signal)) return Errno::INVAL;
  Ref<Task> target = processes().find_task(tid);
  if (!target || !target->process || (pid != -1 && target->process->pid != pid)) return Errno::SRCH;
  if (!may_signal(task, *target->process, signal)) return Errno::PERM;
  if (signal == 0) return {};
  return send_signal(*target, info);
}

// What a process may claim about a signal it queues: not that the kernel or kill(2) sent it, but to itself.
Result<abi::SigInfo> checked_info(Task& task, s32 pid, int signal, GuestIn<abi::SigInfo> info) {
  abi::SigInfo given = TRY(info.read());
  if ((given.code >= 0 || given.code == abi::kSI_TKILL) && task.pid() != pid) return Errno::PERM;
  given.signo = signal;
  return given;
}

}  // namespace

// kill(2).
Result<void> sys_kill(Task& task, s32 pid, Signal signal) {
  if (signal != 0 && !is_signal(signal)) return Errno::INVAL;
  if (pid == -1) return kill_all(task, signal);
  if (pid == -0x7fffffff - 1) return Errno::SRCH;
  if (pid < 0) return kill_group(task, -pid, signal);
  if (pid == 0) {
    s32 group = 0;
    {
      LockGuard tree(processes().lock);
      group = task.process->group->id;
    }
    return kill_group(task, group, signal);
  }
  Ref<Process> process = processes().find_process(pid);
  if (!process) {
    // As on Linux a thread's tid names its process.
    Ref<Task> thread = processes().find_task(pid);
    if (thread) process = thread->process;
  }
  if (!process) return Errno::SRCH;
  return send_checked(task, *process, signal, user_signal(signal));
}

// tkill(2), tgkill(2).
Result<void> sys_tkill(Task& task, s32 tid, Signal signal) {
  return send_to_thread(task, -1, tid, signal, user_signal(signal, abi::kSI_TKILL));
}
Result<void> sys_tgkill(Task& task, s32 pid, s32 tid, Signal signal) {
  if (pid <= 0) return Errno::INVAL;
  return send_to_thread(task, pid, tid, signal, user_signal(signal, abi::kSI_TKILL));
}

// rt_sigqueueinfo(2).
Result<void> sys_rt_sigqueueinfo(Task& task, s32 pid, Signal signal, GuestIn<abi::SigInfo> info) {
  abi::SigInfo given = TRY(checked_info(task, pid, signal, info));
  if (signal != 0 && !is_signal(signal)) return Errno::INVAL;
  Ref<Process> process = processes().find_process(pid);
  if (!process) return Errno::SRCH;
  return send_checked(task, *process, signal, given);
}

Result<void> sys_rt_tgsigqueueinfo(Task& task, s32 pid, s32 tid, Signal signal, GuestIn<abi::SigInfo> info) {
  if (pid <= 0 || tid <= 0) return Errno::INVAL;
  abi::SigInfo given = TRY(checked_info(task, pid, signal, info));
  return send_to_thread(task, pid, tid, signal, given);
}

// sigaltstack(2).
Result<void> sys_sigaltstack(Task& task, GuestIn<abi::SigAltStack> next, GuestOut<abi::SigAltStack> old) {
  u64 rsp = frame_of(task).rsp;
  abi::SigAltStack before = task.signals.alt_stack;
  if ((before.flags & abi::kSS_DISABLE) == 0 && on_alternate_stack(task, rsp))
    before.flags |= abi::kSS_ONSTACK;
  if (next) TRY(set_alternate_stack(task, TRY(next.read()), rsp));
  if (old) return old.write(before);
  return {};
}

// restart_syscall(2): what a call that was stopped and continued goes on with.
Result<s64> sys_restart_syscall(Task& task) {
  RestartBlock& block = task.restart;
  if (block.resume == nullptr) return Errno::INTR;
  s64 result = block.resume(task, block);
  if (result < 0) return static_cast<Errno>(-result);
  return result;
}

}  // namespace teacup
