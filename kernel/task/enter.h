// The way into guest code, for tasks that do not come from a system call.
#pragma once

#include "kernel/sync/task_core.h"

namespace teacup {

// What calls need that leave the current kernel stack for good: forked children, new threads, programs after
// exec, borrowers and the parents they give their host thread back to. `task` is current (gate::set_task was
// called); its Frame is complete and of kind kFull. Drops whatever is on the current kernel stack: release
// references first.
[[noreturn]] void enter_guest(TaskCore& task);

// Fills the entry fields that trampolines use (%gs:8, %gs:16). Called once for each new task.
void set_entries(TaskCore& task);

}  // namespace teacup
