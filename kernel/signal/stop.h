// Job control: stopping a whole process, and standing still.
#pragma once

#include "kernel/task/task.h"

namespace teacup {

// The task has taken a stop signal with default action, when the process's continue_count was
// `continue_count`. It and its siblings stand still on their way out of the kernel.
void begin_stop(Task& task, int signal, u32 continue_count);

// Stands still until SIGCONT, or until the process ends. No lock held.
void stand_still(Task& task);

}  // namespace teacup
