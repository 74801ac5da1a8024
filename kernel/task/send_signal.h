// Sending signals. What the guest asked for has been checked by the caller (permission: may_signal()).
//
// Locks: the target's (kSignal), inside; for groups Processes::lock too. Host calls (a wake, a kick) are made
// after they were dropped.
#pragma once

#include "kernel/task/process.h"

namespace teacup {

// A siginfo as kill(2) fills it, from the calling task; or from the kernel (SI_KERNEL).
abi::SigInfo user_signal(int signal, int code = abi::kSI_USER);
abi::SigInfo kernel_signal(int signal, int code = abi::kSI_KERNEL);

// Who is to be told once the locks are dropped. Several signals may be collected in one.
class SignalBatch {
 public:
  SignalBatch() = default;
  SignalBatch(const SignalBatch&) = delete;
  SignalBatch& operator=(const SignalBatch&) = delete;
  ~SignalBatch() { flush(); }
  void flush();

  void add(Task& task);
  void add_continued(Process& process);

 private:
  static constexpr u32 kSize = 16;
  Ref<Task> tasks_[kSize];
  u32 task_count_ = 0;
  Ref<Process> continued_[kSize];
  u32 continued_count_ = 0;
};
// Queue a signal; under Processes::lock or none. Those concerned are woken by the batch.
Result<void> queue_signal(Process& process, const abi::SigInfo& info, SignalBatch& batch);
Result<void> queue_signal(Task& task, const abi::SigInfo& info, SignalBatch& batch);

// EAGAIN: a queued real-time signal found no room (RLIMIT_SIGPENDING).
Result<void> send_signal(Process& process, const abi::SigInfo& info);
Result<void> send_signal(Task& task, const abi::SigInfo& info);
// To every member. ESRCH: there is no such group.
Result<void> send_signal_to_group(s32 group, const abi::SigInfo& info);
// A signal that the task cannot refuse, caused by its own doing: if it is blocked or ignored the default
// action is taken (a fault whose signal is blocked kills).
void force_signal(Task& task, const abi::SigInfo& info);

// Has `from` the permission of kill(2) over `to`: same real or effective user, CAP_KILL, or SIGCONT within
// the session.
bool may_signal(Task& from, Process& to, int signal);

// Is a signal pending that `task` would take now? For calls that return EINTR early.
bool signal_pending(Task& task);
// Signals pending for the task, its own and the process's (sigpending(2), signalfd).
abi::SigSet pending_signals(Task& task);
// Takes one of `allowed` without delivering it (sigtimedwait, signalfd); 0: none is pending.
int take_signal(Task& task, abi::SigSet allowed, abi::SigInfo* info);

// Process signals that `task` was to take and no longer will (it blocks them, or ends): finds them others.
void retarget_signals_locked(Process& process, const Task& except, abi::SigSet signals, SignalBatch& batch);

// A timer queued its signal by itself: points out the task that is to take it (`to`, or one of the process).
void retarget_timer_signal_locked(Process& process, Task* to, int signal, SignalBatch& batch);

// Sets `reason` for all tasks of the process but `except`, and makes them see it.
void interrupt_tasks(Process& process, const Task* except, Pending reason);

// Tells the parent that its child stopped (CLD_STOPPED) or goes on (CLD_CONTINUED). No lock held.
void report_to_parent(Process& process, int code);
bool is_ignored_locked(const Process& process, int signal);

// Changes the task's mask (never SIGKILL, SIGSTOP) and sees to what became deliverable.
void set_blocked(Task& task, abi::SigSet blocked);

// For ppoll, pselect, epoll_pwait, sigsuspend: sets a mask for the length of a call. If the call ends by a
// signal (EINTR, ERESTARTNOHAND…), its handler runs with this mask and the old one comes back behind it.
class TemporaryMask {
 public:
  explicit TemporaryMask(Task& task) : task_(task) {}
  void set(abi::SigSet mask);
  // At the end of the call.
  template <typename T>
  Result<T> finish(Result<T> result) {
    end(result.is(Errno::INTR) || result.is(Errno::RESTARTSYS) || result.is(Errno::RESTARTNOHAND) ||
        result.is(Errno::RESTART_RESTARTBLOCK));
    return result;
  }
  TemporaryMask(const TemporaryMask&) = delete;
  TemporaryMask& operator=(const TemporaryMask&) = delete;

 private:
  void end(bool interrupted);
  Task& task_;
  bool set_ = false;
};

}  // namespace teacup
