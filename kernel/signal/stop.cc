// A stop is complete when all tasks stand still; the last of them tells the parent. Each stop has a number,
// so that a task that wakes late from one does not take the next for the same.
//
// Lock order: kProcessTree; kSignal. Neither is held while standing still.
#include "kernel/signal/stop.h"

#include "kernel/task/processes.h"
#include "kernel/task/send_signal.h"

namespace teacup {

namespace {

u32 tasks_that_can_stop(Process& process) {
  u32 count = 0;
  for (Task& task : process.tasks) {
    // One that waits for its vfork child has no thread to stand still with: it stops when that is back.
    if (task.lend_state.load(std::memory_order_relaxed) == 0) count++;
  }
  return count;
}

}  // namespace

void begin_stop(Task& task, int signal, u32 continue_count) {
  Process& process = *task.process;
  if (signal != abi::kSIGSTOP) {
    LockGuard tree(processes().lock);
    if (processes().is_orphaned_locked(*process.group)) return;
  }
  {
    LockGuard guard(process.lock);
    if (process.continue_count != continue_count || process.ending) return;
    if (!process.stopping) {
      process.stopping = true;
      process.stopped = false;
      process.stop_signal = signal;
      process.stop_count++;
      process.tasks_in_stop = 0;
    }
  }
  task.pending.fetch_or(kPendingStop, std::memory_order_seq_cst);
  interrupt_tasks(process, &task, kPendingStop);
}

void stand_still(Task& task) {
  Process& process = *task.process;
  u32 stop = 0;
  bool complete = false;
  {
    LockGuard guard(process.lock);
    if (!process.stopping || process.ending) return;
    stop = process.stop_count;
    task.in_stop = true;
    process.tasks_in_stop++;
    if (!process.stopped && process.tasks_in_stop >= tasks_that_can_stop(process)) {
      process.stopped = complete = true;
      processes().had_stop.store(true, std::memory_order_seq_cst);
    }
  }
  if (complete) report_to_parent(process, abi::kCLD_STOPPED);
  for (;;) {
    {
      LockGuard guard(process.lock);
      bool dying = (task.pending.load(std::memory_order_seq_cst) & kPendingDying) != 0;
      if (!process.stopping || process.stop_count != stop || process.ending || dying) {
        task.in_stop = false;
        return;
      }
    }
    park("SIGCONT", kNoDeadline, false);
  }
}

}  // namespace teacup
