// --trace and --stats: strace-like lines, and counts by call.
#pragma once

#include "kernel/abi/boot.h"
#include "kernel/base/format.h"
#include "kernel/syscall/table.h"

namespace teacup {

class Task;

void trace_start();

// True when calls go through traced_call(): --trace or --stats.
inline bool trace_enabled() {
  const abi::BootConfig& config = abi::boot_config();
  return (config.trace | config.stats) != 0;
}
void traced_call(Task& task, Frame& frame, const SyscallEntry& entry);
void count_trapped();

// The last calls of all tasks, for the panic report: names and numbers only, newest last.
void trace_tail(TextBuffer& text);

}  // namespace teacup
