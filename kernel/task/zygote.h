// Zygotes: host processes that wait for a program: what a borrower's execve moves into (DESIGN 3), and the
// first process of the machine starts in. The template makes them; each has an empty address space with its
// first kernel stack ready, and sleeps without spinning.
//
// Locks: the queue's own (kExec).
#pragma once

#include <atomic>

#include "kernel/base/result.h"
#include "kernel/task/task.h"
#include "loader/program.h"

namespace teacup {

// --- For the template. It loops: while zygotes_wanted(), spawn_zygote(); then sleeps on zygotes_word() while
// that is unchanged since before the test.
u32 zygotes_wanted();
// Clones one. In the clone it does not return. EAGAIN: the host has no more processes.
Result<void> spawn_zygote();
std::atomic<u32>& zygotes_word();

// --- For exec. Hands `task` with its program to a zygote (waits for one to be there). From then on the task
// runs there and the caller may not touch it. EAGAIN when the host gives no more processes.
Result<void> hand_to_zygote(Ref<Task> task, Ref<ProgramRequest> program);

}  // namespace teacup
