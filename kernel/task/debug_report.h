// Telling the broker about a process, for people with debuggers (kernel/abi/debug.h). All of it does nothing
// unless asked for on the command line. No lock held: the broker is waited for.
#pragma once

#include "kernel/abi/signal.h"
#include "kernel/task/task.h"

namespace teacup {

// What `task`, the caller, has mapped: after exec, fork, and a mapping of an executable file.
void report_maps(Task& task);

// The caller is about to die of `info`'s signal.
void report_crash(Task& task, const abi::SigInfo& info, const abi::SigContext& registers);

}  // namespace teacup
