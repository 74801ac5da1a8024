// The child is in the pid table and the tree before it runs, as on Linux: who finds it may signal it. Its
// mode is kKernel until it leaves the kernel by itself, and its host tid is stored by the host before it
// runs, so a kick has where to go by the time it is needed.
//
// In the child of a host fork everything on this stack is a copy: it must not run the destructors of the
// parent's locals (their references are the parent's), and does not: it goes to guest code from here.
//
// Lock order: kAddressSpace (over the host clone), then kProcessTree, then kSignal.
#include "kernel/task/clone.h"

#include "kernel/base/memory.h"
#include "kernel/task/borrow.h"
#include "kernel/task/debug_report.h"
#include "kernel/task/enter.h"
#include "kernel/task/exit.h"
#include "kernel/task/frame.h"
#include "kernel/task/process_timers.h"
#include "kernel/task/processes.h"
#include "kernel/task/send_signal.h"
#include "kernel/task/times.h"
#include "kernel/task/zygote.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

namespace {

constexpr u64 kNamespaces = abi::kCLONE_NEWNS | abi::kCLONE_NEWCGROUP | abi::kCLONE_NEWUTS |
                            abi::kCLONE_NEWIPC | abi::kCLONE_NEWUSER | abi::kCLONE_NEWPID |
                            u64{abi::kCLONE_NEWNET} | abi::kCLONE_NEWTIME;

Result<void> check_flags(const Task& parent, const CloneArguments& arguments) {
  u64 flags = arguments.flags;
  auto all = [&](u64 wanted) { return (flags & wanted) == wanted; };
  if (all(abi::kCLONE_NEWNS | abi::kCLONE_FS) || all(u64{abi::kCLONE_NEWUSER} | abi::kCLONE_FS))
    return Errno::INVAL;
  if (all(abi::kCLONE_THREAD) && !all(abi::kCLONE_SIGHAND)) return Errno::INVAL;
  if (all(abi::kCLONE_SIGHAND) && !all(abi::kCLONE_VM)) return Errno::INVAL;
  if (all(abi::kCLONE_SIGHAND) && all(abi::kCLONE_CLEAR_SIGHAND)) return Errno::INVAL;
  if (all(abi::kCLONE_THREAD) &&
      (flags & (abi::kCLONE_NEWUSER | abi::kCLONE_NEWPID | abi::kCLONE_PIDFD)) != 0)
    return Errno::INVAL;
  if (all(abi::kCLONE_PIDFD) && all(abi::kCLONE_DETACHED)) return Errno::INVAL;
  if (all(abi::kCLONE_PARENT) && parent.process->pid == 1) return Errno::INVAL;
  if ((flags & (kNamespaces | abi::kCLONE_INTO_CGROUP)) != 0) return Errno::PERM;
  return {};
}

void copy_attributes(Task& child, const Task& parent) {
  memcpy(child.name, parent.name, sizeof child.name);
  child.credentials = parent.credentials;
  child.personality = parent.personality;
  child.affinity = parent.affinity;
  child.no_new_privileges = parent.no_new_privileges;
  child.timer_slack = parent.timer_slack;
  child.nice = parent.nice;
  child.scheduler_policy = parent.scheduler_policy;
  child.scheduler_priority = parent.scheduler_priority;
  child.signals.blocked =
      parent.signals.restore_blocked ? parent.signals.saved_blocked : parent.signals.blocked;
  child.start_time = gate::monotonic_now();
  set_entries(child);
}

// The new process of a child that is not a thread.
Result<Ref<Process>> make_process(Task& parent, const CloneArguments& arguments, s32 pid) {
  Process& from = *parent.process;
  Ref<Process> process = TRY(make_ref<Process>(pid));
  process->start_time = gate::monotonic_now();
  process->exit_signal = arguments.exit_signal;
  LockGuard guard(from.lock);
  process->handlers = from.handlers;
  process->limits = from.limits;
  process->program = from.program;
  process->dumpable = from.dumpable;
  process->oom_score_adj = from.oom_score_adj;
  guard.unlock();
  if ((arguments.flags & abi::kCLONE_CLEAR_SIGHAND) != 0) {
    for (abi::SigAction& action : process->handlers) {
      if (action.handler != abi::kSIG_IGN) action = abi::SigAction{};
    }
  }
  return process;
}

// RLIMIT_NPROC: tasks of the caller's real user. Root may have as many as it likes.
bool too_many_tasks_locked(const Task& parent) {
  u64 limit = parent.process->limit(abi::kRLIMIT_NPROC);
  if (limit == kUnlimited || parent.credentials.uid == 0) return false;
  u64 count = 0;
  for (s32 tid = 1; tid < kPidMax; tid++) {
    Task* task = processes().task_locked(tid);
    if (task != nullptr && task->credentials.uid == parent.credentials.uid) count++;
  }
  return count >= limit;
}

// Into the pid table, the tree and its process. Undone by discard_child().
Result<void> publish(Task& parent, Task& child, Ref<Process> process, const CloneArguments& arguments) {
  Processes& all = processes();
  LockGuard tree(all.lock);
  Process& from = *parent.process;
  if (process->tasks.empty() && process.get() != &from) {
    Process* tree_parent = (arguments.flags & abi::kCLONE_PARENT) != 0 ? from.parent : &from;
    if ((arguments.flags & abi::kCLONE_PARENT) != 0) process->exit_signal = from.exit_signal;
    if (tree_parent == nullptr || tree_parent->zombie) tree_parent = all.init;
    LockGuard guard(from.lock);
    // A process that is ending, or is about to exec, makes no more children.
    if (from.reaper != nullptr || from.ending) return Errno::RESTARTNOINTR;
    guard.unlock();
    process->parent = tree_parent;
    tree_parent->children.push_back(*process);
    all.join_group_locked(*process, from.group);
    all.set_process_locked(process->pid, process.get());
    all.process_count++;
    process->ref();  // the tree's, until it is reaped
  }
  LockGuard guard(process->lock);
  if (process->reaper != nullptr || process->ending) return Errno::RESTARTNOINTR;
  process->add_task_locked(child);
  // A stop that came meanwhile is for the new thread too.
  if (process->stopping) child.pending.fetch_or(kPendingStop, std::memory_order_seq_cst);
  guard.unlock();
  child.process = std::move(process);
  all.set_task_locked(child.tid, &child);
  all.task_count++;
  all.forks.fetch_add(1, std::memory_order_relaxed);
  return {};
}

// What the child sees of the call: 0, on the stack it was given.
void answer_child(Frame& frame, const CloneArguments& arguments) {
  frame.rax = 0;
  frame.call_number = kNoCall;
  if (arguments.stack != 0) frame.rsp = arguments.stack;
}

void fill_frame(Task& child, Task& parent, const CloneArguments& arguments) {
  frame_of(child) = frame_of(parent);
  answer_child(frame_of(child), arguments);
}

// In the child, before it goes to guest code. Its memory words are its own by now.
[[noreturn]] void child_main(Task& child, const CloneArguments& arguments) {
  if ((arguments.flags & abi::kCLONE_SETTLS) != 0) gate::set_fs_base(arguments.tls);
  if ((arguments.flags & abi::kCLONE_CHILD_SETTID) != 0) {
    (void)copy_to_guest(arguments.child_tid, &child.tid, sizeof child.tid);
  }
  enter_guest(child);
}

// A new host thread's and a borrower's first steps, on the child's own kernel stack. The arguments come in
// its restart block, which is unused until its first call.
void pass_arguments(Task& child, const CloneArguments& arguments) {
  child.restart.data[0] = arguments.flags;
  child.restart.data[1] = arguments.tls;
  child.restart.data[2] = arguments.child_tid;
}
CloneArguments passed_arguments(const Task& child) {
  CloneArguments arguments;
  arguments.flags = child.restart.data[0];
  arguments.tls = child.restart.data[1];
  arguments.child_tid = child.restart.data[2];
  return arguments;
}

void thread_main(void* argument) {
  Task& child = *static_cast<Task*>(argument);
  gate::set_task(&child);
  gate::set_signal_stack(mm::AddressSpace::signal_stack(child.stack_slot), kSignalStackSize);
  child.host_tid.store(child.host_thread->tid.load(std::memory_order_relaxed), std::memory_order_relaxed);
  if (child.is_leader()) cpu_start_borrowing(child);  // a process in its parent's address space
  child_main(child, passed_arguments(child));
}

void borrower_main(void* argument) {
  Task& child = *static_cast<Task*>(argument);
  gate::set_task(&child);
  cpu_start_borrowing(child);
  child_main(child, passed_arguments(child));
}

Result<void> add_stack(Task& child, HostProcess& host, HostThread* thread) {
  Result<u32> slot = host.memory->allocate_stack_slot();
  if (!slot.ok()) return slot.error();
  thread->stack_slot = slot.value();
  bind_task(child, *thread);
  return {};
}

// A thread, or a borrower with a host thread of its own.
Result<void> start_thread(Task& parent, Task& child, const CloneArguments& arguments) {
  HostProcess& host = *parent.host;
  HostThread* thread = TRY(host.add_thread());
  if (Result<void> added = add_stack(child, host, thread); !added.ok()) {
    host.remove_thread(thread);
    return added.error();
  }
  fill_frame(child, parent, arguments);
  frame_of(child).kind = FrameKind::kFull;
  CloneArguments passed = arguments;
  if ((passed.flags & abi::kCLONE_SETTLS) == 0) passed.tls = gate::fs_base();
  passed.flags |= abi::kCLONE_SETTLS;
  pass_arguments(child, passed);
  thread->task = Ref<Task>::share(&child);
  Result<void> started =
      gate::spawn_thread(child.kernel_stack_top - sizeof(Frame) - 64, &thread_main, &child, &thread->tid);
  if (started.ok()) return {};
  host.memory->release_stack_slot(thread->stack_slot);
  child.host_thread = nullptr;
  host.remove_thread(thread);
  return Errno::AGAIN;
}

Result<void> start_borrower(Task& parent, Ref<Task> child, const CloneArguments& arguments) {
  HostProcess& host = *parent.host;
  u32 slot = TRY(host.memory->allocate_stack_slot());
  HostThread& thread = *parent.host_thread;
  bind_task(*child, thread);
  child->stack_slot = slot;
  child->kernel_stack_top = mm::AddressSpace::stack_top(slot);
  host.memory->set_slot_task(thread.stack_slot, &parent);
  host.memory->set_slot_task(slot, child.get());
  fill_frame(*child, parent, arguments);
  frame_of(*child).kind = FrameKind::kFull;
  pass_arguments(*child, arguments);
  host.residents.fetch_add(1, std::memory_order_seq_cst);
  lend_thread(parent, std::move(child), &borrower_main);
  return {};
}

Result<void> start_fork(Task& parent, Ref<Task>& child, const CloneArguments& arguments) {
  mm::AddressSpace& memory = *parent.memory;
  memory.lock_for_fork();
  auto undo = [&](Errno error) {
    memory.unlock_for_fork();
    return error;
  };
  auto copy = memory.fork_copy_locked(parent.stack_slot);
  if (!copy.ok()) return undo(copy.error());
  auto created = HostProcess::create(copy.value());
  if (!created.ok()) return undo(created.error());
  HostProcess& host = *created.value();
  auto thread = host.add_thread();
  if (!thread.ok()) {
    forget_host(host);
    return undo(Errno::NOMEM);
  }
  thread.value()->stack_slot = parent.stack_slot;
  host.residents.store(1, std::memory_order_relaxed);
  {
    LockGuard guard(child->process->lock);
    child->memory = copy.value();
  }
  bind_task(*child, *thread.value());
  thread.value()->task = child;
  count_process();
  Result<u32> pid = gate::spawn_process(&host.host_pid);
  if (pid.ok() && pid.value() == 0) {
    Task& self = *child;
    gate::set_task(&self);
    gate::die_with_broker();
    u32 own = host.host_pid.load(std::memory_order_relaxed);
    thread.value()->tid.store(own, std::memory_order_relaxed);
    self.memory->host_pid.store(own, std::memory_order_relaxed);
    self.host_pid.store(own, std::memory_order_relaxed);
    self.host_tid.store(own, std::memory_order_seq_cst);
    // The host has copied the parent's frame with its stack. The parent itself may be gone already.
    answer_child(frame_of(self), arguments);
    report_maps(self);
    child_main(self, arguments);
  }
  memory.unlock_for_fork();
  if (pid.ok()) return {};
  {
    LockGuard guard(child->process->lock);
    Ref<mm::AddressSpace> gone = std::move(child->memory);
    child->memory = parent.memory;
    guard.unlock();
  }
  child->host = nullptr;
  forget_host(host);
  return Errno::AGAIN;
}

}  // namespace

Result<Ref<Task>> prepare_child(Task& parent, const CloneArguments& arguments) {
  TRY(check_flags(parent, arguments));
  u64 flags = arguments.flags;
  Ref<Task> child = TRY(make_ref<Task>());
  copy_attributes(*child, parent);
  child->files = (flags & abi::kCLONE_FILES) != 0 ? parent.files : TRY(parent.files->clone());
  child->fs = (flags & abi::kCLONE_FS) != 0 ? parent.fs : TRY(parent.fs->clone());
  child->memory = parent.memory;  // a fork replaces it
  bool shares_memory = (flags & abi::kCLONE_VM) != 0;
  if (!shares_memory || (flags & abi::kCLONE_VFORK) != 0) child->signals.alt_stack = parent.signals.alt_stack;
  if ((flags & abi::kCLONE_CHILD_CLEARTID) != 0) child->clear_child_tid = arguments.child_tid;
  {
    LockGuard tree(processes().lock);
    if (too_many_tasks_locked(parent)) return Errno::AGAIN;
    child->tid = TRY(processes().allocate_pid_locked());
    processes().set_task_locked(child->tid, child.get());  // the number is taken from here on
  }
  Ref<Process> process = parent.process;
  if ((flags & abi::kCLONE_THREAD) == 0) {
    auto made = make_process(parent, arguments, child->tid);
    if (!made.ok()) {
      discard_child(*child);
      return made.error();
    }
    process = std::move(made).value();
  }
  if (Result<void> published = publish(parent, *child, std::move(process), arguments); !published.ok()) {
    discard_child(*child);
    return published.error();
  }
  if ((flags & abi::kCLONE_PARENT_SETTID) != 0) {
    (void)copy_to_guest(arguments.parent_tid, &child->tid, sizeof child->tid);
  }
  return child;
}

void discard_child(Task& child) {
  if (child.process && child.is_leader()) drop_all_timers(*child.process);
  retire(child);
  gate::futex_wake(mode_word(child), 1);
  Ref<Process> process = child.process;
  {
    Processes& all = processes();
    LockGuard tree(all.lock);
    all.set_task_locked(child.tid, nullptr);
    if (!process) return;
    all.task_count--;
    LockGuard guard(process->lock);
    if (child.process_node.linked()) {
      process->remove_task_locked(child);
    }
    guard.unlock();
    if (process->pid == child.tid) forget_process_locked(*process);
  }
  if (process->pid == child.tid) process->unref();
}

Result<s32> start_child(Task& parent, Ref<Task> child, const CloneArguments& arguments) {
  s32 tid = child->tid;
  if (child->is_leader()) watch_cpu_limit(*child->process);
  bool shares_memory = (arguments.flags & abi::kCLONE_VM) != 0;
  bool vfork = (arguments.flags & abi::kCLONE_VFORK) != 0;
  Result<void> started;
  if ((arguments.flags & abi::kCLONE_THREAD) != 0) {
    started = start_thread(parent, *child, arguments);
  } else if (shares_memory && !vfork) {
    parent.host->residents.fetch_add(1, std::memory_order_seq_cst);
    started = start_thread(parent, *child, arguments);
    if (!started.ok()) parent.host->residents.fetch_sub(1, std::memory_order_seq_cst);
  } else if (shares_memory) {
    started = start_borrower(parent, child, arguments);
  } else {
    child->is_host_vfork = vfork;
    started = start_fork(parent, child, arguments);
    if (started.ok() && vfork) wait_until_let_go(*child);
  }
  if (!started.ok()) {
    discard_child(*child);
    return started.error();
  }
  return tid;
}

}  // namespace teacup
