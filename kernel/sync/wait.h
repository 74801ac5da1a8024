// Waiting. One primitive: a task parks on its own word; whoever has news changes the word, then wakes it.
// Wait queues, futexes, poll, pipes, wait4 and sleeps are built on it, and a call that blocks does so in
// block_on(), nowhere else.
//
// Locks: a queue's own (kWaitQueue), inside the functions here. No function here may be called holding a lock
// of a higher rank; park() and block_on() with none at all.
#pragma once

#include "host/gate/gate.h"
#include "kernel/base/list.h"
#include "kernel/base/result.h"
#include "kernel/sync/lock.h"
#include "kernel/sync/task_core.h"

namespace teacup {

// Gives `task` news: it leaves park(), or does not enter it. Callable from any task, under any lock below
// kRing's rank.
void notify(TaskCore& task);

// Sets a pending reason and makes the task see it soon, wherever it is: parked (woken), in guest code (kicked
// through the broker), in the kernel (kicked too: it may be on its way out).
void interrupt(TaskCore& task, Pending reason);

// How many tasks are awake, which is what park() goes by to tell whether spinning would keep another from
// running. Counted from bind to death, less the time asleep in park(); each of these may be called again.
void count_awake(TaskCore& task);
void count_asleep(TaskCore& task);
// The task is dead: nobody waits for it, wakes it or counts it any more.
void retire(TaskCore& task);

inline constexpr u64 kNoDeadline = gate::kNoDeadline;

// News from outside the machine that no lock or queue tells of: the broker's, about host sockets. Waiting
// tasks look out for it, each for all: whoever sees it takes it. That saves the way through the kernel task,
// two wake-ups; when nobody waits, the kernel task is woken.
struct OutsideNews {
  const std::atomic<u64>* waits;  // not 0: there is some
  void (*take)();                 // by any task, with no lock held
};
// Takes what there is. No lock held.
void take_outside_news();

enum class Woken { kNews, kTimeout, kInterrupted };

// Sleeps until notify(), the deadline (ns, CLOCK_MONOTONIC), or, if `interruptible`, a pending reason. News
// may be stale: re-test. kPendingDying interrupts always. `what` names it in the task dump.
Woken park(const char* what, u64 deadline = kNoDeadline, bool interruptible = true);

class WaitQueue {
 public:
  WaitQueue() = default;
  ~WaitQueue();

  // `entry` must stay put until removed. The entry's task is notified (or its on_wake called) at each wake()
  // with events that meet entry.events.
  void add(WaitEntry& entry, u32 events, bool exclusive = false);
  static void remove(WaitEntry& entry);  // harmless if on no queue

  // Wakes all that wait for any of `events`, but at most one exclusive waiter.
  void wake(u32 events = ~u32{0});
  void wake_all(u32 events = ~u32{0});
  bool empty() const { return count_.load(std::memory_order_seq_cst) == 0; }

 private:
  void wake_up_to(u32 events, u32 exclusives);

  Mutex lock_{LockRank::kWaitQueue};
  std::atomic<u32> count_{0};
  List<WaitEntry, &WaitEntry::node> entries_;
};

// The blocking loop: calls `attempt` until it returns something else than EAGAIN, sleeping on `queue` in
// between. Gives ERESTARTSYS when interrupted and `timeout_error` at the deadline.
template <typename Attempt>
auto block_on(WaitQueue& queue, u32 events, const char* what, Attempt attempt, u64 deadline = kNoDeadline,
              Errno timeout_error = Errno::AGAIN) -> decltype(attempt()) {
  {
    auto result = attempt();
    if (!result.is(Errno::AGAIN)) return result;
  }
  WaitEntry& entry = current_core().wait_entries[0];
  for (;;) {
    queue.add(entry, events);
    auto result = attempt();
    if (!result.is(Errno::AGAIN)) {
      WaitQueue::remove(entry);
      return result;
    }
    Woken woken = park(what, deadline);
    WaitQueue::remove(entry);
    if (woken == Woken::kInterrupted) return Errno::RESTARTSYS;
    if (woken == Woken::kTimeout) {
      auto last = attempt();
      if (!last.is(Errno::AGAIN)) return last;
      return timeout_error;
    }
  }
}

}  // namespace teacup
