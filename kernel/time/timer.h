// Timers: something to be done at a time. The kernel task runs them: it never runs guest code, so a timer
// fires when all tasks sleep or are in guest code. A task that only sleeps until a deadline needs none: it
// parks with it.
//
// The queue is a pairing heap: insertion and the earliest are O(1), removal O(log n) amortised, and no memory
// is asked for, so arming cannot fail.
//
// Locks: kTimers, inside; expired() is called with none held.
#pragma once

#include "kernel/base/ref.h"
#include "kernel/base/types.h"
#include "kernel/frame/heap.h"
#include "kernel/sync/lock.h"
#include "kernel/sync/wait.h"

namespace teacup {

// Derive, and keep what expired() changes in the derived object under a lock of its own: the kernel task may
// be about to call expired() when cancel() or arm() returns. The queue holds a reference while armed.
class Timer : public RefCounted<Timer> {
 public:
  static void destroy(Timer* timer);
  static void operator delete(void* block) { heap_free(block); }
  virtual ~Timer() = default;

  // To expire at `deadline` (ns, CLOCK_MONOTONIC), in place of what was set before.
  void arm(u64 deadline);
  void cancel();
  u64 deadline() const { return deadline_; }  // kNoDeadline: not armed

 protected:
  Timer() = default;
  // In the kernel task, at or soon after the deadline. May arm() itself again. `now`: ns, CLOCK_MONOTONIC.
  virtual void expired(u64 now) = 0;

 private:
  friend class TimerQueue;
  u64 deadline_ = kNoDeadline;
  Timer* child_ = nullptr;
  Timer* next_ = nullptr;
  Timer* previous_ = nullptr;  // the parent, for a first child
};

void timers_start();  // once, by the template
// Runs what is due; returns the next deadline, kNoDeadline if nothing is armed. By the kernel task. An
// earlier deadline set meanwhile raises abi::kEventTimers.
u64 timers_run(u64 now);

}  // namespace teacup
