// Ending (DESIGN 3). Nothing may die holding a lock, and a host exit_group kills every thread of the host
// process, so the protocol is:
//
//   The task that ends the process (the reaper: the first to get here) sets kPendingDying for its siblings.
//   Each of them, on its way out of the kernel, releases its robust mutexes, becomes kDead and ends its host
//   thread; those in guest code are kicked. The reaper waits until all are dead: one that went on in guest
//   code could write to frames that the end has given back and that are another file's by now, and whether a
//   task is in guest code or just entering the kernel cannot be told without a fence at every entry
//   (entry.S). A task that ends by itself (exit) leaves the list under the lock but may still be inside an
//   unlock: it counts in `leaving` until its last instruction but one. Then the reaper does what the
//   process's end does to the rest of the machine, and ends the host process, or leaves it to the next
//   program (zygote.h).
//
//   If other guest processes live in the address space (borrowers, or their parent), there is no host
//   exit_group: the last thread ends by itself.
//
// A task waits for another's mode on the mode word itself: the dying task's last access to shared memory is
// the store, and the host wake that follows only names an address.
//
// Lock order: kProcessTree, then one kSignal at a time. Signals are sent and references dropped after them.
#include "kernel/task/exit.h"

#include <algorithm>

#include "kernel/abi/fs.h"
#include "kernel/task/borrow.h"
#include "kernel/task/futex.h"
#include "kernel/task/machine.h"
#include "kernel/task/process_timers.h"
#include "kernel/task/processes.h"
#include "kernel/task/send_signal.h"
#include "kernel/task/stack_switch.h"
#include "kernel/task/times.h"
#include "kernel/task/tracer.h"
#include "kernel/task/zygote.h"

namespace teacup {

namespace {

// Sleeps while `word` is `value`, with no lock held.
void sleep_on(std::atomic<u32>& word, u32 value, const char* what) {
  TaskCore& self = current_core();
  self.waiting_for.store(what, std::memory_order_relaxed);
  self.mode.store(Mode::kParked, std::memory_order_seq_cst);
  gate::futex_wait(word, value, gate::kNoDeadline);
  self.mode.store(Mode::kKernel, std::memory_order_seq_cst);
  self.waiting_for.store(nullptr, std::memory_order_relaxed);
}

// A sibling that is not dead yet; null if there is none.
Ref<Task> living_sibling(Task& self) {
  Process& process = *self.process;
  LockGuard guard(process.lock);
  for (Task& sibling : process.tasks) {
    if (&sibling == &self) continue;
    // One whose host thread is with its vfork child has no thread to end.
    if (abandon_if_lent(sibling)) retire(sibling);
    if (sibling.mode.load(std::memory_order_seq_cst) == Mode::kDead) continue;
    return Ref<Task>::share(&sibling);
  }
  return nullptr;
}

void end_siblings(Task& self) {
  interrupt_tasks(*self.process, &self, kPendingDying);
  while (Ref<Task> sibling = living_sibling(self)) {
    u32 mode = static_cast<u32>(sibling->mode.load(std::memory_order_seq_cst));
    if (mode == static_cast<u32>(Mode::kDead)) continue;
    sleep_on(mode_word(*sibling), mode, "another thread's end");
  }
}

void close_files(Task& task) {
  Process& process = *task.process;
  Ref<fs::FdTable> files;
  Ref<fs::FsContext> fs;
  {
    LockGuard guard(process.lock);
    files = std::move(task.files);
    fs = std::move(task.fs);
  }
  if (files && files->ref_count() == 1) files->close_all();
}

void trace_end(Task& task, u32 status) {
  if (Tracer* trace = tracer()) trace->ended(task, status);
}

// Takes the dead siblings out of all lists.
void bury_siblings(Task& self) {
  Process& process = *self.process;
  for (;;) {
    Ref<Task> sibling;
    {
      LockGuard tree(processes().lock);
      LockGuard guard(process.lock);
      for (Task& task : process.tasks) {
        if (&task != &self) sibling = Ref<Task>::share(&task);
      }
      if (!sibling) return;
      process.remove_task_locked(*sibling);
      processes().set_task_locked(sibling->tid, nullptr);
      processes().task_count--;
    }
    // For those whose thread was lent; the others' lists are empty by now.
    release_robust_list(self, *sibling);
    close_files(*sibling);
  }
}

// --- The process's end, as the rest of the machine sees it.

struct Consequences {
  SignalBatch signals;
  Ref<Process> parent;
  Ref<Process> init;
  Ref<ControllingTerminal> terminal;
  Ref<Session> session;
  Ref<Process> reaped[8];
  u32 reaped_count = 0;
};

// setpgid(2): a group is orphaned when no member has a parent in another group of its session. Only who was
// such a link, `parent` to a member of `group`, can orphan it by ending; a group that was orphaned before
// hears nothing.
bool links_locked(const Process* parent, const ProcessGroup& group) {
  return parent != nullptr && parent->group && parent->group.get() != &group &&
         parent->group->session == group.session;
}

void hang_up_if_orphaned_locked(ProcessGroup& group, const Process* without, SignalBatch& batch) {
  if (!processes().had_stop.load(std::memory_order_seq_cst)) return;
  if (!processes().is_orphaned_locked(group, without)) return;
  bool any_stopped = false;
  for (Process& member : group.members) any_stopped = any_stopped || (&member != without && member.stopped);
  if (!any_stopped) return;
  for (Process& member : group.members) {
    if (&member == without) continue;
    (void)queue_signal(member, kernel_signal(abi::kSIGHUP), batch);
    (void)queue_signal(member, kernel_signal(abi::kSIGCONT), batch);
  }
}

Process* new_parent_locked(Process& process) {
  if (!processes().had_subreaper.load(std::memory_order_relaxed)) return processes().init;
  for (Process* at = process.parent; at != nullptr; at = at->parent) {
    if (at->child_subreaper && !at->zombie) return at;
  }
  return processes().init;
}

abi::SigInfo child_signal(Process& child) {
  abi::SigInfo info{};
  info.signo = child.exit_signal;
  u32 status = child.wait_status;
  if ((status & 0x7f) == 0) {
    info.code = abi::kCLD_EXITED;
    info.child.status = static_cast<s32>(status >> 8);
  } else {
    info.code = (status & 0x80) != 0 ? abi::kCLD_DUMPED : abi::kCLD_KILLED;
    info.child.status = static_cast<s32>(status & 0x7f);
  }
  info.child.pid = child.pid;
  info.child.uid = child.last_uid;
  constexpr u64 kTick = 10'000'000;
  info.child.utime = static_cast<s64>(child.own_times.user / kTick);
  info.child.stime = static_cast<s64>(child.own_times.system / kTick);
  return info;
}

// True if `zombie` is reaped at once because its parent does not want to know.
bool tell_parent_locked(Process& zombie, SignalBatch& batch) {
  Process& parent = *zombie.parent;
  bool ignored = false, no_wait = false;
  {
    LockGuard guard(parent.lock);
    const abi::SigAction& action = parent.handlers[abi::kSIGCHLD - 1];
    if (zombie.exit_signal == abi::kSIGCHLD) {
      ignored = action.handler == abi::kSIG_IGN;
      no_wait = ignored || (action.flags & abi::kSA_NOCLDWAIT) != 0;
    }
  }
  if (zombie.exit_signal != 0 && !ignored) (void)queue_signal(parent, child_signal(zombie), batch);
  return no_wait;
}

void hand_over_children_locked(Process& process, Consequences& after) {
  Process* heir = new_parent_locked(process);
  while (Process* child = process.children.pop_front()) {
    child->parent = heir;
    heir->children.push_back(*child);
    {
      LockGuard guard(child->lock);
      for (Task& task : child->tasks) {
        if (task.parent_death_signal == 0) continue;
        abi::SigInfo info = kernel_signal(task.parent_death_signal, abi::kSI_USER);
        info.rt.pid = process.pid;
        guard.unlock();
        (void)queue_signal(task, info, after.signals);
        break;
      }
    }
    if (child->zombie) {
      child->exit_signal = abi::kSIGCHLD;
      // More than fit stay zombies until init waits for them.
      if (tell_parent_locked(*child, after.signals) && after.reaped_count < 8) {
        reap_locked(*child);
        after.reaped[after.reaped_count++] = Ref<Process>::adopt(child);
      }
      after.init = Ref<Process>::share(heir);
    } else if (child->group && links_locked(&process, *child->group)) {
      hang_up_if_orphaned_locked(*child->group, &process, after.signals);
    }
  }
}

void leave_session_locked(Process& process, Consequences& after) {
  Session& session = *process.group->session;
  if (session.id != process.pid) return;
  session.leader_ended = true;
  after.terminal = std::move(session.terminal);
  after.session = Ref<Session>::share(&session);
  if (!after.terminal) return;
  ProcessGroup* foreground = processes().group_locked(after.terminal->foreground_group());
  if (foreground == nullptr) return;
  for (Process& member : foreground->members) {
    if (&member == &process) continue;
    (void)queue_signal(member, kernel_signal(abi::kSIGHUP), after.signals);
    (void)queue_signal(member, kernel_signal(abi::kSIGCONT), after.signals);
  }
}

// Makes the process a zombie and tells whom it concerns. Its tasks are gone, or are just the caller.
void finish_process(Process& process, u32 status) {
  Ref<Process> self = Ref<Process>::share(&process);
  drop_all_timers(process);
  if (auto undo = process.undo_semaphores.load(std::memory_order_relaxed)) undo(process);
  Consequences after;
  bool reaped = false;
  {
    LockGuard tree(processes().lock);
    process.wait_status = status;
    leave_session_locked(process, after);
    hand_over_children_locked(process, after);
    if (links_locked(process.parent, *process.group))
      hang_up_if_orphaned_locked(*process.group, &process, after.signals);
    {
      LockGuard guard(process.lock);
      process.ending = true;
      process.queue.discard(~abi::SigSet{0});
      process.stopped = process.stopping = false;
    }
    process.zombie = true;
    if (process.parent != nullptr) {
      after.parent = Ref<Process>::share(process.parent);
      reaped = tell_parent_locked(process, after.signals);
      if (reaped) reap_locked(process);
    }
  }
  if (reaped) process.unref();
  process.exit_queue.wake_all(abi::kPOLLIN);
  if (after.parent) after.parent->child_events.wake_all();
  if (after.init) after.init->child_events.wake_all();
  if (after.terminal) after.terminal->session_ended(*after.session);
}

// The last task's way out of the table.
void remove_last_task(Task& task) {
  LockGuard tree(processes().lock);
  LockGuard guard(task.process->lock);
  task.process->last_uid = task.credentials.uid;
  task.process->remove_task_locked(task);
  processes().set_task_locked(task.tid, nullptr);
  processes().task_count--;
}

void drop_program(Process& process) {
  Ref<ProgramRequest> program;  // goes behind the lock
  LockGuard guard(process.lock);
  std::swap(process.program, program);
}

// Ends the process. `task` is its reaper.
[[noreturn]] void reap_process(Task& task) {
  Process& process = *task.process;
  HostProcess& host = *task.host;
  // Those in guest code too: what is mapped is let go of below, and may be somebody else's the moment after.
  end_siblings(task);
  // Siblings cannot make borrowers any more, so what is seen now holds.
  bool shared = host.residents.load(std::memory_order_seq_cst) > 1;
  while (u32 leaving = process.leaving.load(std::memory_order_seq_cst)) {
    sleep_on(process.leaving, leaving, "another thread's end");
  }
  bury_siblings(task);
  close_files(task);
  process.max_rss = std::max(process.max_rss, task.memory->totals().peak * (kPageSize / KiB));
  // Whoever hears of the end may write to the program, and unmount what it was on.
  if (!shared) task.memory->forget();
  drop_program(process);
  process.own_times = cpu_times(process);
  remove_last_task(task);
  u32 status = 0;
  {
    LockGuard guard(process.lock);
    status = process.end_status;
  }
  let_vfork_parent_go(task);
  if (process.pid == 1) machine_end(status);
  finish_process(process, status);

  if (task.lender) {
    cpu_leave_host(task, task.lender.get());
    Ref<Task> self = Ref<Task>::share(&task);
    if (return_thread(task)) {
      // The lender is current from here on.
      Task& lender = current_task();
      host.residents.fetch_sub(1, std::memory_order_seq_cst);
      retire(task);
      self = nullptr;
      resume_lender(lender);
    }
    self.leak()->unref();
  }
  retire(task);
  if (host.residents.load(std::memory_order_seq_cst) == 1) {
    become_zygote(task);
    gate::exit_process(0);
  }
  host.residents.fetch_sub(1, std::memory_order_seq_cst);
  gate::exit_thread();
}

}  // namespace

void end_dying(Task& task) {
  Process& process = *task.process;
  release_robust_list(task, task);
  release_child_tid(task);
  bool is_reaper = false;
  u32 status = 0;
  {
    LockGuard guard(process.lock);
    if (process.reaper == nullptr) process.reaper = &task;
    is_reaper = process.reaper == &task;
    if (process.ending) status = process.end_status;
  }
  trace_end(task, status);
  if (is_reaper) reap_process(task);
  leave_host(task);
}

void end_process(Task& task, u32 wait_status) {
  Process& process = *task.process;
  {
    LockGuard guard(process.lock);
    if (!process.ending) {
      process.ending = true;
      process.end_status = wait_status;
      process.stopping = false;
    }
  }
  end_dying(task);
}

void end_task(Task& task, u32 wait_status) {
  Process& process = *task.process;
  release_robust_list(task, task);
  release_child_tid(task);
  close_files(task);
  SignalBatch batch;
  bool stop_complete = false;
  {
    LockGuard tree(processes().lock);
    LockGuard guard(process.lock);
    if (process.reaper != nullptr || process.ending) {
      guard.unlock();
      tree.unlock();
      end_dying(task);
    }
    if (task.is_leader()) process.leader_status = wait_status;
    if (process.live_tasks == 1) {
      // As on Linux, a process that nothing killed ends with its leader's status.
      process.ending = true;
      process.end_status = process.leader_status;
      process.reaper = &task;
      guard.unlock();
      tree.unlock();
      trace_end(task, wait_status);
      reap_process(task);
    }
    process.remove_task_locked(task);
    process.leaving.fetch_add(1, std::memory_order_seq_cst);
    processes().set_task_locked(task.tid, nullptr);
    processes().task_count--;
    retarget_signals_locked(process, task, ~task.signals.blocked, batch);
    if (process.stopping && !process.stopped && process.tasks_in_stop == process.live_tasks) {
      process.stopped = stop_complete = true;
      processes().had_stop.store(true, std::memory_order_seq_cst);
    }
  }
  trace_end(task, wait_status);
  batch.flush();
  if (stop_complete) report_to_parent(process, abi::kCLD_STOPPED);

  if (task.lender) {
    Ref<Task> self = Ref<Task>::share(&task);
    if (return_thread(task)) {
      Task& lender = current_task();
      retire(task);
      process.leaving.fetch_sub(1, std::memory_order_seq_cst);
      gate::futex_wake(process.leaving, 1);
      self = nullptr;
      resume_lender(lender);
    }
    self.leak()->unref();
  }
  retire(task);
  process.leaving.fetch_sub(1, std::memory_order_seq_cst);
  gate::futex_wake(process.leaving, 1);
  gate::exit_thread();
}

Result<void> end_siblings_for_exec(Task& task) {
  Process& process = *task.process;
  {
    LockGuard guard(process.lock);
    if (process.ending || process.reaper != nullptr) return Errno::RESTARTNOINTR;
    if (process.live_tasks == 1 && task.is_leader()) return {};
    process.reaper = &task;
  }
  end_siblings(task);
  while (u32 leaving = process.leaving.load(std::memory_order_seq_cst)) {
    sleep_on(process.leaving, leaving, "another thread's end");
  }
  bury_siblings(task);
  LockGuard tree(processes().lock);
  LockGuard guard(process.lock);
  if (process.ending) {
    task.pending.fetch_or(kPendingDying, std::memory_order_seq_cst);
    return Errno::RESTARTNOINTR;  // and stays the reaper: the way out ends it
  }
  process.reaper = nullptr;
  if (!task.is_leader()) {
    processes().set_task_locked(task.tid, nullptr);
    task.tid = process.pid;
    processes().set_task_locked(task.tid, &task);
  }
  return {};
}

void wait_until_let_go(Task& child) {
  Task& self = current_task();
  WaitEntry& entry = self.wait_entries[0];
  for (;;) {
    self.process->child_events.add(entry, ~u32{0});
    bool done = child.let_go.load(std::memory_order_seq_cst);
    if (!done) done = park("its vfork child", kNoDeadline, false) == Woken::kInterrupted;
    WaitQueue::remove(entry);
    if (done) return;
  }
}

void let_vfork_parent_go(Task& task) {
  if (!task.is_host_vfork || task.let_go.exchange(true, std::memory_order_seq_cst)) return;
  Ref<Process> parent;
  {
    LockGuard tree(processes().lock);
    parent = Ref<Process>::share(task.process->parent);
  }
  if (parent) parent->child_events.wake_all();
}

void end_ghost(HostThread& thread, Ref<HostProcess> host) {
  retire(thread.ghost);
  HostProcess* at = host.leak();
  at->unref();  // the list of hosts keeps it until the host process is gone
  at->residents.fetch_sub(1, std::memory_order_seq_cst);
  gate::exit_thread();
}

void forget_process_locked(Process& process) {
  if (process.parent != nullptr) process.parent->children.remove(process);
  process.parent = nullptr;
  processes().leave_group_locked(process);
  processes().set_process_locked(process.pid, nullptr);
  processes().process_count--;
}

void reap_locked(Process& zombie) {
  zombie.reaped = true;
  if (Process* parent = zombie.parent) {
    parent->children_times.user += zombie.own_times.user + zombie.children_times.user;
    parent->children_times.system += zombie.own_times.system + zombie.children_times.system;
    if (zombie.max_rss > parent->children_max_rss) parent->children_max_rss = zombie.max_rss;
  }
  forget_process_locked(zombie);
}

// --- Host processes that are gone.

namespace {

// Ends a guest process whose host process was killed from outside while it ran guest code.
void end_killed(Task& task, u32 status) {
  Process& process = *task.process;
  {
    LockGuard guard(process.lock);
    if (process.ending && process.zombie) return;
    process.ending = true;
    process.end_status = status;
  }
  for (;;) {
    Ref<Task> next;
    {
      LockGuard guard(process.lock);
      next = Ref<Task>::share(process.tasks.front());
    }
    if (!next) break;
    retire(*next);
    for (WaitEntry& entry : next->wait_entries) WaitQueue::remove(entry);
    next->record_wait.end();
    close_files(*next);
    trace_end(*next, status);
    remove_last_task(*next);
  }
  if (process.pid == 1) machine_end(status);
  finish_process(process, status);
}

}  // namespace

bool host_process_ended(u32 host_pid, u32 wait_status) {
  Ref<HostProcess> host;
  {
    LockGuard tree(processes().lock);
    for (HostProcess& candidate : processes().hosts) {
      if (candidate.host_pid.load(std::memory_order_relaxed) == host_pid)
        host = Ref<HostProcess>::share(&candidate);
    }
  }
  if (!host) return true;
  // A killed process's status is told as the guest's: there is no core on the host.
  u32 status = (wait_status & 0x7f) != 0 ? wait_status & 0x7f : u32{abi::kSIGKILL};
  bool healthy = true;
  for (;;) {
    Ref<Task> lost;
    {
      LockGuard guard(host->lock);
      for (HostThread& thread : host->threads) {
        for (Task* task = thread.task.get(); task != nullptr; task = task->lender.get()) {
          Mode mode = task->mode.load(std::memory_order_seq_cst);
          if (task->host.get() != host.get() || mode == Mode::kDead) continue;
          if (mode == Mode::kKernel) healthy = false;
          if (task->process_node.linked()) lost = Ref<Task>::share(task);
        }
      }
    }
    if (!healthy || !lost) break;
    end_killed(*lost, status);
  }
  if (healthy) {
    forget_zygote(*host);
    forget_host(*host);
  }
  return healthy;
}

}  // namespace teacup
