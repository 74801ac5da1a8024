// The end of tasks and processes, and of a task's siblings when it execs.
#pragma once

#include "kernel/task/host_process.h"
#include "kernel/task/process.h"

namespace teacup {

// exit(2): the calling task's own end; the process's if it is the last.
[[noreturn]] void end_task(Task& task, u32 wait_status);
// exit_group(2) and fatal signals: `wait_status` as wait(2) tells it (code << 8, or the signal | core flag).
[[noreturn]] void end_process(Task& task, u32 wait_status);
// On the way out of the kernel with kPendingDying.
[[noreturn]] void end_dying(Task& task);

// exec: ends all other tasks of the process and makes `task` its leader. ERESTARTNOINTR: another task was
// quicker to end the process, or to exec.
Result<void> end_siblings_for_exec(Task& task);

// A host fork with CLONE_VFORK: the child lets its parent go on (at exec and at its end).
void wait_until_let_go(Task& child);
void let_vfork_parent_go(Task& task);

// A host thread whose task has moved away: its end. `host` is where it runs.
[[noreturn]] void end_ghost(HostThread& thread, Ref<HostProcess> host);

// A child that never ran: out of tree and table. The tree's reference is the caller's to drop, after the
// lock.
void forget_process_locked(Process& process);
// Reaps a zombie: after this its number is free. Under Processes::lock; the same about the reference.
void reap_locked(Process& zombie);

}  // namespace teacup
