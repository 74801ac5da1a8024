// kPendingSignal is a hint: "look at the queues on the way out". Only the task itself clears it, before it
// looks; so whoever queues a signal and then sets it is not missed:
//   sender: queue under the lock; pending |= Signal; awake? kick : notify
//   task:   pending &= ~Signal; look at the queues under the lock
//
// Lock order: kProcessTree (the callers that walk groups), then one kSignal at a time. Wakes and kicks come
// after both (SignalBatch).
#include "kernel/task/send_signal.h"

#include "kernel/abi/fs.h"
#include "kernel/task/processes.h"

namespace teacup {

namespace {

using abi::signal_bit;
using abi::SigSet;

constexpr int kCapKill = 5;

bool wants(const Task& task, int signal) {
  if (task.mode.load(std::memory_order_relaxed) == Mode::kDead) return false;
  return ((task.signals.blocked & ~task.signals.awaited) & signal_bit(signal)) == 0;
}

// Of the tasks in guest code that would take the signal each in turn; null if there is none. A profiler wants
// its signal where the time goes: on Linux it is the running thread that finds the timer expired.
Task* choose_running_task(Process& process, int signal) {
  u32 count = 0;
  for (Task& task : process.tasks) {
    if (task.mode.load(std::memory_order_relaxed) == Mode::kUser && wants(task, signal)) count++;
  }
  if (count == 0) return nullptr;
  u32 turn = process.profile_turn++ % count;
  for (Task& task : process.tasks) {
    bool running = task.mode.load(std::memory_order_relaxed) == Mode::kUser && wants(task, signal);
    if (running && turn-- == 0) return &task;
  }
  return nullptr;
}

// The task that is to take a process signal: the leader if it will, else another; one that runs or can be
// woken rather than one that waits for its vfork child.
Task* choose_task(Process& process, int signal, const Task* except = nullptr) {
  if (signal == abi::kSIGPROF || signal == abi::kSIGVTALRM) {
    if (Task* running = choose_running_task(process, signal); running != nullptr && running != except)
      return running;
  }
  Task* second = nullptr;
  for (Task& task : process.tasks) {
    if (&task == except || !wants(task, signal)) continue;
    if (task.lend_state.load(std::memory_order_relaxed) == 0) return &task;
    if (second == nullptr) second = &task;
  }
  return second;
}

void point_out(Task& task, SignalBatch& batch) {
  task.pending.fetch_or(kPendingSignal, std::memory_order_seq_cst);
  batch.add(task);
}

// Each task clears its kPendingStop itself: a call that it interrupted is to be restarted on the way out,
// which is taken only while something is pending.
void wake_from_stop(Process& process, SignalBatch& batch) {
  process.stopping = false;
  process.tasks_in_stop = 0;
  for (Task& task : process.tasks) {
    if (task.in_stop) batch.add(task);
  }
}

// What stop signals and SIGCONT do when they are sent, whether or not they are blocked or ignored
// (signal(7)).
void before_queueing(Process& process, int signal, SignalBatch& batch) {
  SigSet bit = signal_bit(signal);
  SigSet cancelled = 0;
  if ((bit & kStopSignals) != 0) cancelled = signal_bit(abi::kSIGCONT);
  if (signal == abi::kSIGCONT) cancelled = kStopSignals;
  if (cancelled != 0) {
    process.queue.discard(cancelled);
    for (Task& task : process.tasks) task.signals.queue.discard(cancelled);
  }
  if (signal == abi::kSIGCONT || signal == abi::kSIGKILL) process.continue_count++;
  if (signal == abi::kSIGCONT && process.stopping) {
    bool was_stopped = std::exchange(process.stopped, false);
    wake_from_stop(process, batch);
    if (was_stopped) batch.add_continued(process);
  }
  if (signal == abi::kSIGKILL) {
    process.stopped = false;
    wake_from_stop(process, batch);
  }
}

Result<void> queue_locked(Process& process, Task* to, const abi::SigInfo& info, SignalBatch& batch) {
  int signal = info.signo;
  if (process.ending || process.zombie) return {};
  before_queueing(process, signal, batch);
  const Task* reference = to != nullptr ? to : process.tasks.front();
  bool blocked = reference != nullptr && (reference->signals.blocked & signal_bit(signal)) != 0;
  if (!blocked && is_ignored_locked(process, signal)) return {};
  SignalQueue& queue = to != nullptr ? to->signals.queue : process.queue;
  if (!queue.add(info, process.limit(abi::kRLIMIT_SIGPENDING))) return Errno::AGAIN;
  process.signal_queue.wake(abi::kPOLLIN);
  Task* target = to;
  if (to == nullptr) target = choose_task(process, signal);
  if (target != nullptr && wants(*target, signal)) point_out(*target, batch);
  return {};
}

}  // namespace

abi::SigInfo user_signal(int signal, int code) {
  Task& task = current_task();
  abi::SigInfo info{};
  info.signo = signal;
  info.code = code;
  info.rt.pid = task.pid();
  info.rt.uid = task.credentials.uid;
  return info;
}

abi::SigInfo kernel_signal(int signal, int code) {
  abi::SigInfo info{};
  info.signo = signal;
  info.code = code;
  return info;
}

void SignalBatch::add(Task& task) {
  // More than fit are rare (a stop of a process with many threads): told at once rather than never.
  if (task_count_ == kSize) {
    interrupt(task, static_cast<Pending>(0));
  } else {
    tasks_[task_count_++] = Ref<Task>::share(&task);
  }
}

void SignalBatch::add_continued(Process& process) {
  if (continued_count_ < kSize) continued_[continued_count_++] = Ref<Process>::share(&process);
}

void SignalBatch::flush() {
  for (u32 i = 0; i < task_count_; i++) {
    // The reasons were set when the signal was queued: this only makes the task see them.
    interrupt(*tasks_[i], static_cast<Pending>(0));
    tasks_[i] = nullptr;
  }
  task_count_ = 0;
  while (continued_count_ > 0) {
    Ref<Process> process = std::move(continued_[--continued_count_]);
    report_to_parent(*process, abi::kCLD_CONTINUED);
  }
}

bool is_ignored_locked(const Process& process, int signal) {
  u64 handler = process.handlers[static_cast<size_t>(signal - 1)].handler;
  if (handler == abi::kSIG_IGN) return true;
  return handler == abi::kSIG_DFL && (signal_bit(signal) & kIgnoredByDefault) != 0;
}

Result<void> queue_signal(Process& process, const abi::SigInfo& info, SignalBatch& batch) {
  LockGuard guard(process.lock);
  return queue_locked(process, nullptr, info, batch);
}

Result<void> queue_signal(Task& task, const abi::SigInfo& info, SignalBatch& batch) {
  LockGuard guard(task.process->lock);
  return queue_locked(*task.process, &task, info, batch);
}

Result<void> send_signal(Process& process, const abi::SigInfo& info) {
  SignalBatch batch;
  return queue_signal(process, info, batch);
}

Result<void> send_signal(Task& task, const abi::SigInfo& info) {
  SignalBatch batch;
  return queue_signal(task, info, batch);
}

Result<void> send_signal_to_group(s32 group, const abi::SigInfo& info) {
  SignalBatch batch;
  LockGuard tree(processes().lock);
  ProcessGroup* members = processes().group_locked(group);
  if (members == nullptr) return Errno::SRCH;
  for (Process& process : members->members) (void)queue_signal(process, info, batch);
  return {};
}

void force_signal(Task& task, const abi::SigInfo& info) {
  SignalBatch batch;
  Process& process = *task.process;
  LockGuard guard(process.lock);
  abi::SigAction& action = process.handlers[static_cast<size_t>(info.signo - 1)];
  SigSet bit = signal_bit(info.signo);
  if ((task.signals.blocked & bit) != 0 || action.handler == abi::kSIG_IGN) {
    action.handler = abi::kSIG_DFL;
    task.signals.blocked &= ~bit;
  }
  // A pending one of the same number, sent by kill(2), must not hide this one's details.
  task.signals.queue.discard(bit);
  (void)task.signals.queue.add(info, ~u64{0});
  point_out(task, batch);
}

bool may_signal(Task& from, Process& to, int signal) {
  const Credentials& mine = from.credentials;
  if (from.process == &to || mine.has(kCapKill)) return true;
  {
    LockGuard guard(to.lock);
    Task* task = to.tasks.front();
    if (task == nullptr) return true;  // a zombie: nothing can happen to it
    const Credentials& theirs = task->credentials;
    if (mine.euid == theirs.suid || mine.euid == theirs.uid || mine.uid == theirs.suid ||
        mine.uid == theirs.uid) {
      return true;
    }
  }
  if (signal != abi::kSIGCONT) return false;
  // The tree's lock is held by callers that walk groups: sessions are compared without it, as they only
  // change by the process's own setsid(2).
  return from.process->group && to.group && from.process->group->session == to.group->session;
}

bool signal_pending(Task& task) {
  LockGuard guard(task.process->lock);
  return ((task.signals.queue.pending() | task.process->queue.pending()) & ~task.signals.blocked) != 0;
}

SigSet pending_signals(Task& task) {
  LockGuard guard(task.process->lock);
  return task.signals.queue.pending() | task.process->queue.pending();
}

int take_signal(Task& task, SigSet allowed, abi::SigInfo* info) {
  LockGuard guard(task.process->lock);
  int signal = task.signals.queue.take(allowed, info);
  return signal != 0 ? signal : task.process->queue.take(allowed, info);
}

void retarget_signals_locked(Process& process, const Task& except, SigSet signals, SignalBatch& batch) {
  for (SigSet left = process.queue.pending() & signals; left != 0; left &= left - 1) {
    int signal = __builtin_ctzll(left) + 1;
    Task* other = choose_task(process, signal, &except);
    if (other != nullptr) point_out(*other, batch);
  }
}

void set_blocked(Task& task, SigSet blocked) {
  blocked &= ~kUnblockable;
  if (task.signals.blocked == blocked) return;
  SignalBatch batch;
  Process& process = *task.process;
  LockGuard guard(process.lock);
  SigSet added = blocked & ~task.signals.blocked;
  task.signals.blocked = blocked;
  if ((process.queue.pending() & added) != 0) retarget_signals_locked(process, task, added, batch);
  SigSet deliverable = (task.signals.queue.pending() | process.queue.pending()) & ~blocked;
  if (deliverable != 0) task.pending.fetch_or(kPendingSignal, std::memory_order_seq_cst);
}

void retarget_timer_signal_locked(Process& process, Task* to, int signal, SignalBatch& batch) {
  process.signal_queue.wake(abi::kPOLLIN);
  if (to == nullptr) to = choose_task(process, signal);
  if (to != nullptr && wants(*to, signal)) point_out(*to, batch);
}

void interrupt_tasks(Process& process, const Task* except, Pending reason) {
  // One after another by tid: the list may change while the lock is dropped for the wake.
  s32 after = 0;
  for (;;) {
    Ref<Task> next;
    {
      LockGuard guard(process.lock);
      Task* lowest = nullptr;
      for (Task& task : process.tasks) {
        if (&task == except || task.tid <= after) continue;
        if (lowest == nullptr || task.tid < lowest->tid) lowest = &task;
      }
      if (lowest == nullptr) return;
      lowest->pending.fetch_or(reason, std::memory_order_seq_cst);
      next = Ref<Task>::share(lowest);
    }
    after = next->tid;
    interrupt(*next, reason);
  }
}

void report_to_parent(Process& process, int code) {
  Ref<Process> parent;
  SignalBatch batch;
  {
    LockGuard tree(processes().lock);
    if (process.zombie || process.parent == nullptr) return;
    parent = Ref<Process>::share(process.parent);
    abi::SigInfo info{};
    info.signo = abi::kSIGCHLD;
    info.code = code;
    info.child.pid = process.pid;
    {
      LockGuard guard(process.lock);
      if (code == abi::kCLD_STOPPED && !process.stopped) return;  // it goes on already
      info.child.status = code == abi::kCLD_STOPPED ? process.stop_signal : abi::kSIGCONT;
      if (Task* task = process.tasks.front()) info.child.uid = task->credentials.uid;
    }
    process.stop_report = code == abi::kCLD_STOPPED ? info.child.status : 0;
    process.continue_report = code == abi::kCLD_CONTINUED;
    LockGuard guard(parent->lock);
    bool wanted = (parent->handlers[abi::kSIGCHLD - 1].flags & abi::kSA_NOCLDSTOP) == 0;
    guard.unlock();
    if (wanted) (void)queue_signal(*parent, info, batch);
  }
  parent->child_events.wake_all();
}

void TemporaryMask::set(SigSet mask) {
  task_.signals.saved_blocked = task_.signals.blocked;
  task_.signals.restore_blocked = true;
  set_ = true;
  set_blocked(task_, mask);
}

void TemporaryMask::end(bool interrupted) {
  if (!set_) return;
  set_ = false;
  if (interrupted) {
    // The way out delivers with the temporary mask, and then goes back: it must be taken.
    task_.pending.fetch_or(kPendingSignal, std::memory_order_seq_cst);
    return;
  }
  task_.signals.restore_blocked = false;
  set_blocked(task_, task_.signals.saved_blocked);
}

}  // namespace teacup
