// Process: what the guest calls a process: a group of tasks with a pid, a place in the tree, signal handlers
// and limits. And process groups and sessions.
//
// Locks: `lock` (kSignal) guards the list of tasks, signals, stop state, limits and timers; the tree (parent,
// children, group, session, zombie state) is under Processes::lock (kProcessTree), which is taken first.
#pragma once

#include <string_view>

#include "kernel/abi/process.h"
#include "kernel/abi/signal.h"
#include "kernel/base/ref.h"
#include "kernel/base/result.h"
#include "kernel/sync/wait.h"
#include "kernel/task/signal_state.h"
#include "kernel/task/task.h"
#include "kernel/task/terminal.h"
#include "loader/program.h"

namespace teacup {

class ProcessGroup;
class ProcessTimers;

struct ResourceLimit {
  u64 soft, hard;
};
inline constexpr u64 kUnlimited = ~u64{0};

// CPU time, ns. What the kernel does for a task is not told apart from the task's own: all is user time.
struct CpuTimes {
  u64 user = 0;
  u64 system = 0;
};

class Process : public RefCounted<Process> {
 public:
  explicit Process(s32 pid);
  ~Process();
  static void destroy(Process* process);

  // `tasks` and its count, under `lock`. A dead task may have lost its host thread, and with it every other
  // reference, before whoever ends the process takes it off the list. The caller of remove has a reference of
  // its own.
  void add_task_locked(Task& task);
  void remove_task_locked(Task& task);

  const s32 pid;
  u64 start_time = 0;  // ns, monotonic

  // --- The tree: under Processes::lock.
  ListNode sibling_node;
  ListNode group_node;
  Process* parent = nullptr;  // null: none (pid 1), or reaped
  List<Process, &Process::sibling_node> children;
  Ref<ProcessGroup> group;
  s32 exit_signal = abi::kSIGCHLD;  // what its parent gets; 0: nothing
  bool zombie = false;
  bool reaped = false;
  bool child_subreaper = false;
  bool has_executed = false;  // setpgid(2): EACCES for a parent from then on
  u32 wait_status = 0;        // of a zombie, as wait(2) tells it
  s32 stop_report = 0;        // signal of a stop that wait() has not told yet
  bool continue_report = false;
  CpuTimes own_times;                     // at its end
  CpuTimes children_times;                // of the children waited for
  u64 max_rss = 0, children_max_rss = 0;  // KiB
  u32 last_uid = 0;                       // of its last task

  // --- Under `lock`.
  mutable Mutex lock{LockRank::kSignal};
  List<Task, &Task::process_node> tasks;  // lock; a reference each. The leader is first while it lives
  u32 live_tasks = 0;
  SignalHandlers handlers{};
  SignalQueue queue;
  std::array<ResourceLimit, abi::kRLIM_NLIMITS> limits;
  bool stopping = false;  // a stop signal was taken: tasks are to stand still
  bool stopped = false;   // all do
  s32 stop_signal = 0;
  u32 stop_count = 0;      // of stops begun
  u32 continue_count = 0;  // of SIGCONT and SIGKILL sent: a stop that was decided before one is off
  u32 tasks_in_stop = 0;
  ProcessTimers* timers = nullptr;  // itimers and POSIX timers; made at the first use
  Ref<ProgramRequest> program;      // for /proc/PID/cmdline, environ, exe
  bool dumpable = true;
  s16 oom_score_adj = 0;  // /proc/PID/oom_score_adj: kept and told
  u32 profile_turn = 0;   // lock: see choose_running_task()

  // --- Its end (see exit.h).
  std::atomic<bool> ending{false};  // exit_group, a fatal signal
  u32 end_status = 0;               // lock: wait status of that
  u32 leader_status = 0;            // lock: wait status of the leader's own exit(2)
  std::atomic<u32> leaving{0};      // tasks that are off the list and not yet out of the kernel
  Task* reaper = nullptr;           // lock: the task that brings it to its end, or is about to exec

  // --- Waiting.
  WaitQueue child_events;  // a child changed state: wait4(2)
  WaitQueue signal_queue;  // a signal arrived for it or one of its tasks (POLLIN): signalfd(2)
  WaitQueue exit_queue;    // woken with POLLIN when it becomes a zombie: pidfd_open(2)

  // What its end undoes of its semaphores' operations (semop(2), SEM_UNDO); null: nothing. The calls set it:
  // they are above this folder.
  std::atomic<void (*)(Process& process)> undo_semaphores{nullptr};

  // --- CPU time: see times.cc.
  std::atomic<s64> cpu_offset{0};  // ns, to be added to the host process's CPU time
  bool cpu_by_thread = false;      // a borrower's: to that of the host thread it is on

  // Soft limit of a resource (kRLIMIT_*), kUnlimited if there is none.
  u64 limit(int resource) const { return limits[static_cast<size_t>(resource)].soft; }
  Task* leader();  // lock; null once its leader's task has ended and others live on
};

class Session : public RefCounted<Session> {
 public:
  explicit Session(s32 id) : id(id) {}
  static void destroy(Session* session);

  const s32 id;
  // Under Processes::lock.
  Ref<ControllingTerminal> terminal;  // null: none
  bool leader_ended = false;
  u32 group_count = 0;
};

class ProcessGroup : public RefCounted<ProcessGroup> {
 public:
  ProcessGroup(s32 id, Ref<Session> session) : id(id), session(std::move(session)) {}
  static void destroy(ProcessGroup* group);

  const s32 id;
  const Ref<Session> session;
  List<Process, &Process::group_node> members;  // Processes::lock
};

inline s32 Task::pid() const {
  return process->pid;
}
inline bool Task::is_leader() const {
  return tid == process->pid;
}

}  // namespace teacup
