// Processes: all of the machine's: pid table, tree, groups and sessions; and what is the machine's own (its
// host name). One object, Root::kProcesses.
//
// A number is taken while anything goes by it: a task's tid, a process's pid (zombies included), a group's or
// a session's id.
//
// Locks: `lock` (kProcessTree); below it each Process's own (kSignal).
#pragma once

#include "kernel/abi/boot.h"
#include "kernel/base/format.h"
#include "kernel/task/host_process.h"
#include "kernel/task/process.h"

namespace teacup {

inline constexpr s32 kPidMax = 32768;

class Processes {
 public:
  Mutex lock{LockRank::kProcessTree};

  // --- Finding. Null if there is none.
  Ref<Task> find_task(s32 tid);
  Ref<Process> find_process(s32 pid);  // zombies too
  Ref<ProcessGroup> find_group(s32 id);
  // The first process with a pid above `after` (zombies included), for /proc; null at the end.
  Ref<Process> next_process(s32 after);
  // The first live task of `process` with a tid above `after`.
  Ref<Task> next_task(Process& process, s32 after);

  // The same under `lock`, without a reference.
  Task* task_locked(s32 tid) { return valid(tid) ? slot(tid).task : nullptr; }
  Process* process_locked(s32 pid) { return valid(pid) ? slot(pid).process : nullptr; }
  ProcessGroup* group_locked(s32 id) { return valid(id) ? slot(id).group : nullptr; }
  Session* session_locked(s32 id) { return valid(id) ? slot(id).session : nullptr; }

  // --- Numbers. EAGAIN when all are taken.
  Result<s32> allocate_pid_locked();
  void set_task_locked(s32 tid, Task* task) { slot(tid).task = task; }
  void set_process_locked(s32 pid, Process* process) { slot(pid).process = process; }
  void set_group_locked(s32 id, ProcessGroup* group) { slot(id).group = group; }
  void set_session_locked(s32 id, Session* session) { slot(id).session = session; }

  // --- Groups and sessions.
  void join_group_locked(Process& process, Ref<ProcessGroup> group);
  void leave_group_locked(Process& process);
  // No member has a parent in another group of the same session: nobody could continue it (POSIX).
  bool is_orphaned_locked(ProcessGroup& group, const Process* without = nullptr);
  Process* init = nullptr;  // the machine's pid 1
  // Whether any process was ever stopped, or a subreaper: where not, an exit need not look for them.
  std::atomic<bool> had_stop{false}, had_subreaper{false};

  List<HostProcess, &HostProcess::node> hosts;  // lock

  // --- Figures for /proc.
  u32 process_count = 0, task_count = 0;  // lock
  std::atomic<u64> forks{0};              // since the start
  s32 last_pid = 0;

  // --- The vector state that signal frames show: components (XCR0 bits) and bytes. 0: no XSAVE.
  u64 xstate_mask = 0;
  u64 xstate_size = 0;

  // --- The machine's name (lock).
  char host_name[65] = {};
  char domain_name[65] = {};

 private:
  friend void processes_start();
  struct Slot {
    Task* task;
    Process* process;
    ProcessGroup* group;
    Session* session;
    bool in_use() const { return task || process || group || session; }
  };
  static bool valid(s32 id) { return id > 0 && id < kPidMax; }
  Slot& slot(s32 id) { return slots_[static_cast<size_t>(id)]; }

  HeapArray<Slot> slots_;  // [kPidMax]
  s32 highest_ = 0;        // ever given out
};

inline Processes& processes() {
  return *root<Processes>(Root::kProcesses);
}

// Creates the table, the futexes and the machine's random state. Once, by the template.
void processes_start();

// What another task uses (a counted reference; null if it has ended).
Ref<fs::FdTable> files_of(Task& task);
Ref<fs::FsContext> fs_of(Task& task);
Ref<mm::AddressSpace> memory_of(Task& task);
Ref<ProgramRequest> program_of(Process& process);
Credentials credentials_of(Task& task);
// /proc/PID/stat's letter: R S D T Z.
char state_letter(Process& process);
char state_letter(Task& task);

// CPU time of a process and of a task, now, ns. Another's is exact only for the caller's own process.
CpuTimes cpu_times(Process& process);
CpuTimes cpu_times(Task& task);

// --- For the template and the kernel task (kernel/entry).
// The first process, up to the point where it can be loaded: pid 1 with its descriptors, identity, working
// directory and program. Errors end the machine with docker's exit codes (126, 127) and a message. Then
// waits for a zygote and hands it over.
// `open_standard_streams` fills descriptors 0-2: kernel/pseudo has it, which is above this folder.
using OpenStandardStreams = Result<void> (*)(fs::FdTable& files);
void start_init(const abi::BootConfig& config, OpenStandardStreams open_standard_streams);
// A host process of the guest side has ended, and how (wait status): cleans up after it. In the kernel task.
// True: nothing is wrong with the machine. False: it was killed from outside inside the kernel: panic.
bool host_process_ended(u32 host_pid, u32 wait_status);

// One line per task with what it waits for: the dump of SIGUSR1. Takes locks only if they are free.
void dump_tasks(void (*line)(void* context, std::string_view text), void* context);

}  // namespace teacup
