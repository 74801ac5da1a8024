// Zygotes: host processes that wait for a program: what a borrower's execve moves into (DESIGN 3), and the
// first process of the machine starts in. The template makes them, and a host process whose program has ended
// becomes one again; each has an empty address space with its first kernel stack ready, and sleeps without
// spinning.
//
// Locks: the queue's own (kExec).
#pragma once

#include <atomic>

#include "kernel/base/result.h"
#include "kernel/task/host_process.h"
#include "kernel/task/task.h"
#include "loader/program.h"

namespace teacup {

void zygotes_start();

// --- For the template. It loops: while zygotes_wanted(), spawn_zygote(); then sleeps on zygotes_word() while
// that is unchanged since before the test.
u32 zygotes_wanted();
// Clones one. In the clone it does not return. EAGAIN: the host has no more processes.
Result<void> spawn_zygote();
std::atomic<u32>& zygotes_word();
void wake_template();
// True, and the word has changed, once so many have begun that more are to be expected.
bool are_processes_many();
inline constexpr u32 kManyProcesses = 8;

// --- For fork, which needs no zygote: a process begins.
void count_process();

// --- For exec. Takes a zygote out of the queue, waiting for one to be there. EAGAIN when the host gives no
// more processes.
Result<Ref<HostProcess>> take_zygote();
// Starts `task` with `program` there. From then on the caller may not touch the task, which must not be
// current; its own reference goes with it.
void start_in_zygote(Ref<HostProcess> zygote, Ref<Task> task, Ref<ProgramRequest> program);
// For the end of a process: its host process becomes a zygote, if that is good for something. Returns if not.
// `dead` is the last task in it, done for and on its own thread's kernel stack, and holds no lock.
void become_zygote(Task& dead);
// A host process is gone: out of the queue with it if it is there.
void forget_zygote(HostProcess& host);
// Puts back one that was not needed after all.
void return_zygote(Ref<HostProcess> zygote);

}  // namespace teacup
