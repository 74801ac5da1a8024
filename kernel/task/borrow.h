// Borrowing a host thread: vfork without a host fork (DESIGN 3). The child, a guest process of its own, runs
// on its parent's host thread and in its parent's memory; the parent's kernel stack stands still in the
// middle of vfork(2). When the child execs it moves to a zygote, when it ends it just ends; either way it
// gives the thread back, and the parent's call returns.
//
//   lend_state of the parent's task: 0 not lent; kLent; then whoever is first makes it
//     kReturned   the child, which resumes the parent's stack
//     kAbandoned  a sibling that ends the parent's process: the thread has no owner any more, and ends when
//                 the child is done with it
#pragma once

#include "kernel/task/task.h"

namespace teacup {

enum LendState : u32 { kNotLent = 0, kLent, kReturned, kAbandoned };

// Runs `child` (bound to a stack slot of its own) on the calling task's host thread, from start(child) on.
// Returns when the thread was given back.
void lend_thread(Task& parent, Ref<Task> child, void (*start)(void*));

// In the borrower, when it is done with the thread. Makes the lender current and returns true; the caller,
// who holds a reference to the borrower, finishes what must be done without it as current, then calls
// resume_lender(). False: the thread was abandoned; the borrower is still current.
bool return_thread(Task& borrower);
[[noreturn]] void resume_lender(Task& lender);

// For a sibling that ends the process: true if `task` was lent and will never come back.
bool abandon_if_lent(Task& task);

}  // namespace teacup
