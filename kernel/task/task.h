// Task: one thread of control of the guest: clone(2)'s unit, with a tid. Usually run by a host thread of its
// own; a borrower (vfork) runs on its parent's host thread while the parent's task waits.
//
// Members are the task's own: only itself touches them while it runs, unless their comment names a lock.
// Others look at a task through Processes (which hands out counted references) and take process->lock for
// what that guards.
#pragma once

#include "fs/credentials.h"
#include "fs/fd_table.h"
#include "fs/file_locks.h"
#include "fs/fs_context.h"
#include "kernel/abi/process.h"
#include "kernel/abi/time.h"
#include "kernel/base/ref.h"
#include "kernel/base/result.h"
#include "kernel/mm/address_space.h"
#include "kernel/sync/task_core.h"
#include "kernel/task/futex_waiter.h"
#include "kernel/task/signal_state.h"

namespace teacup::fs {
struct Caller;  // fs/path.h
}

namespace teacup {

class Process;
class HostProcess;
struct HostThread;
struct TraceLine;  // kernel/syscall/trace.cc

// A synchronous fault of guest code, as entry code found it.
struct FaultInfo {
  s32 signal = 0;  // 0: none
  s32 code = 0;
  u64 address = 0;  // si_addr; cr2 for page faults
  u64 trapno = 0;
  u64 error = 0;
};

// What restart_syscall(2) is to go on with: see RESTART_RESTARTBLOCK.
struct RestartBlock {
  s64 (*resume)(class Task& task, RestartBlock& block) = nullptr;  // value for rax, -errno included
  u64 data[6] = {};
};

class Task : public TaskCore, public RefCounted<Task> {
 public:
  Task();
  ~Task();
  static void destroy(Task* task);

  // --- Who it is. `tid` is in TaskCore.
  Ref<Process> process;
  bool is_leader() const;
  s32 pid() const;
  char name[16] = {};       // comm (prctl PR_SET_NAME)
  Credentials credentials;  // changed under process->lock: others read it under that

  // --- What it uses. Replaced under process->lock, so that others may copy the reference under it
  // (files_of() and its kin in processes.h); the task itself reads them freely.
  Ref<fs::FdTable> files;
  Ref<fs::FsContext> fs;
  Ref<mm::AddressSpace> memory;

  fs::Caller caller() const;

  // --- Its place in the machine.
  ListNode process_node;  // Process::tasks; not linked once it has ended
  HostThread* host_thread = nullptr;
  Ref<HostProcess> host;
  u32 stack_slot = 0;  // in `memory`; kernel_stack_top follows from it
  u64 fs_base = 0;     // while another task runs on its host thread (a vfork parent)

  // --- Memory words that its end touches (set_tid_address(2), get_robust_list(2)).
  u64 clear_child_tid = 0;
  u64 robust_list = 0;

  // --- Signals: under process->lock.
  TaskSignals signals;
  FaultInfo fault;
  RestartBlock restart;
  bool in_stop = false;  // process->lock: stands still in a group stop

  // --- Times.
  u64 start_time = 0;  // ns, monotonic
  s64 cpu_offset = 0;  // ns, to be added to the host thread's CPU time: see times.cc

  // --- Bits and pieces of prctl(2), personality(2), sched_setaffinity(2).
  u64 personality = 0;
  u64 affinity = ~u64{0};
  int parent_death_signal = 0;
  bool no_new_privileges = false;
  u64 timer_slack = 50'000;
  s32 nice = 0;
  s32 scheduler_policy = 0, scheduler_priority = 0;

  // --trace: the call that it is in, as far as it can be shown; the tracer's.
  TraceLine* trace_line = nullptr;

  FutexWaiter futex;
  fs::RecordWait record_wait;

  // --- vfork (see borrow.h): the task whose host thread this one runs on; and on that one, where its kernel
  // stack stands still.
  Ref<Task> lender;
  u64 suspended_stack = 0;
  std::atomic<u32> lend_state{0};
  // A vfork that was a host fork (CLONE_VFORK without CLONE_VM): the parent waits until this is set.
  bool is_host_vfork = false;
  std::atomic<bool> let_go{false};
};

#ifdef TEACUP_HOSTED
Task& current_task();
#else
inline Task& current_task() {
  return static_cast<Task&>(current_core());
}
#endif

}  // namespace teacup
