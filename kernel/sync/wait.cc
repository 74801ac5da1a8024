// park() and notify() are two halves of one handshake, fenced on both sides:
//   park:   sleeping = 1; fence; word? pending?  -> host futex on sleeping
//   notify: word = 1;     fence; sleeping 1 -> 0 -> host wake
// One waker alone takes `sleeping` back and calls the host, however many have news.
//
// Spinning first: a handoff through shared memory takes 0.1-0.3 us, through a host futex 35-60 across cores.
// A wait spins for about what a quick answer takes. That alone never ends once two tasks that answer each
// other have both fallen asleep: the host takes longer to wake one than the other spins, and so it goes on.
// So some waits spin for longer than a wake-up takes; one such success and both are awake, and from then on
// short spins do. Each task learns how often either is worth it: after a success at every wait, after
// failures more and more seldom. So where others crowd the host, spins become rare.
//
// Nobody spins while more tasks are awake than there are cores: somebody waits for the core that would be
// spun on, most likely the very task that is waited for. So tasks are counted: a waker counts whom it wakes,
// before it calls the host, and a spinner gives up as soon as there is one too many. pgbench, two threads and
// four servers on two cores, spent a third of all its time spinning before that.
// Six pairs of processes that hand a byte to and fro with some 10 us of work between, on two cores, took 1.4
// times Linux's CPU time, 1.15 to 1.33 since: a sleep and a wake-up by the host's futexes cost more than by
// its pipes.
//
// So in a crowd a wait yields before it sleeps: those who run meanwhile are often whom it waits for, and
// neither the sleep nor the wake-up is needed then. The same pairs: 0.83 to 0.94 with one yield, 0.89 to 0.91
// with up to three; pgbench 0.89 and 0.94, and 0.65 and 0.71 (ratios to native, idle machine, old and new in
// turn). A task whose yields bring nothing, because the crowd is of others who compute, yields more and more
// seldom.
//
// The broker's news (OutsideNews) reaches a task here at once. The broker posts it, then looks at the task
// that it expects to wait for it: one that is `watching` will see it, one that sleeps is woken, and takes it
// before it sleeps again; in any other case the kernel task is told. So `watching` is taken back before the
// last look.
#include "kernel/sync/wait.h"

#include <algorithm>

#include "kernel/base/arena_header.h"
#include "kernel/base/panic.h"
#include "kernel/sync/doorbell.h"

namespace teacup {

namespace {
constexpr u64 kShortSpin = 2'000;   // ns
constexpr u64 kLongSpin = 100'000;  // twice what a wake-up across cores takes
constexpr u16 kRarestShort = 16;    // one in so many waits
constexpr u16 kRarestLong = 1024;
constexpr u16 kRarestYield = 64;
constexpr int kYields = 3;
static_assert(kRarestLong % kRarestShort == 0, "a count that wraps keeps its place in both");

bool is_crowded() {
  return arena().awake.load(std::memory_order_relaxed) > static_cast<s32>(arena().usable_cpus);
}

// Wakes it up, as far as that can be done without calling the host; true: that must be done, too.
bool rouse(TaskCore& task) {
  if (task.parking.sleeping.load(std::memory_order_seq_cst) == 0) return false;
  if (task.parking.sleeping.exchange(0, std::memory_order_seq_cst) == 0) return false;
  count_awake(task);
  return true;
}

// How long this wait is to spin, in ns.
u64 choose_spin(TaskCore& task) {
  if (arena().usable_cpus == 1 || is_crowded()) return 0;
  task.waits++;
  if (task.waits % task.long_interval == 0) return kLongSpin;
  return task.waits % task.short_interval == 0 ? kShortSpin : 0;
}

void learn(TaskCore& task, u64 limit, bool success) {
  u16& interval = limit == kLongSpin ? task.long_interval : task.short_interval;
  u16 rarest = limit == kLongSpin ? kRarestLong : kRarestShort;
  interval = success ? 1 : std::min<u16>(static_cast<u16>(interval * 2), rarest);
  if (success) task.short_interval = 1;
}

// Spins; true: there is news, or a reason to stop waiting.
template <typename Test>
bool spin(TaskCore& task, u64 start, Test test) {
  u64 limit = choose_spin(task);
  if (limit == 0) return false;
  do {
    for (int i = 0; i < 16; i++) {
      if (test()) {
        learn(task, limit, true);
        return true;
      }
      __builtin_ia32_pause();
    }
    if (is_crowded()) return false;
  } while (gate::monotonic_now() - start < limit);
  learn(task, limit, false);
  return false;
}

// Of a crowd: lets others run once, for one of them may be whom this waits for. True: it was.
template <typename Test>
bool yield_to_others(TaskCore& task, Test test) {
  if (!is_crowded()) return false;
  task.yields++;
  if (task.yields % task.yield_interval != 0) return false;
  bool success = false;
  for (int i = 0; i < kYields && !success; i++) {
    gate::yield();
    success = test();
  }
  task.yield_interval = success ? 1 : std::min<u16>(static_cast<u16>(task.yield_interval * 2), kRarestYield);
  return success;
}

bool interrupted(const TaskCore& task, bool interruptible) {
  u32 pending = task.pending.load(std::memory_order_seq_cst);
  return (pending & (interruptible ? ~u32{0} : u32{kPendingDying})) != 0;
}

void take_outside_news(const OutsideNews* outside) {
  if (outside != nullptr && outside->waits->load(std::memory_order_seq_cst) != 0) outside->take();
}

// The same in park(): what takes locks is in the kernel.
void take_outside_news_parked(const OutsideNews* outside, TaskCore& task) {
  if (outside == nullptr || outside->waits->load(std::memory_order_seq_cst) == 0) return;
  task.mode.store(Mode::kKernel, std::memory_order_seq_cst);
  outside->take();
  task.mode.store(Mode::kParked, std::memory_order_seq_cst);
}

// As spin(), with an eye on what comes from outside.
template <typename Test>
bool watch(TaskCore& task, u64 start, const OutsideNews* outside, Test test) {
  if (arena().usable_cpus < 2 || is_crowded()) return false;
  if (outside == nullptr) return spin(task, start, test);
  task.parking.watching.store(1, std::memory_order_seq_cst);
  bool done = spin(task, start, [&] {
    take_outside_news_parked(outside, task);
    return test();
  });
  task.parking.watching.store(0, std::memory_order_seq_cst);
  if (done) take_outside_news_parked(outside, task);
  return done;
}

}  // namespace

void take_outside_news() {
  take_outside_news(root<OutsideNews>(Root::kOutsideNews));
}

void count_awake(TaskCore& task) {
  if (!task.is_awake.exchange(true, std::memory_order_relaxed))
    arena().awake.fetch_add(1, std::memory_order_relaxed);
}

void count_asleep(TaskCore& task) {
  if (task.is_awake.exchange(false, std::memory_order_relaxed))
    arena().awake.fetch_sub(1, std::memory_order_relaxed);
}

void retire(TaskCore& task) {
  task.parking.sleeping.store(0, std::memory_order_seq_cst);
  count_asleep(task);
  task.mode.store(Mode::kDead, std::memory_order_seq_cst);
}

void notify(TaskCore& task) {
  task.parking.news.store(1, std::memory_order_seq_cst);
  if (rouse(task)) gate::futex_wake(task.parking.sleeping, 1);
}

void interrupt(TaskCore& task, Pending reason) {
  task.pending.fetch_or(reason, std::memory_order_seq_cst);
  Mode mode = task.mode.load(std::memory_order_seq_cst);
  if (mode != Mode::kUser) notify(task);
  // Between kernel and guest the mode is stored without a fence: a task that seems to be in the kernel may
  // have tested `pending` already and be on its way out. Its host thread is interrupted wherever it is; in
  // the kernel that is no more than a barrier. Into and out of park() there are fences.
  if ((mode == Mode::kUser || mode == Mode::kKernel) && &task != &current_core()) ring_kick(task);
}

Woken park(const char* what, u64 deadline, bool interruptible) {
  TaskCore& task = current_core();
  task.waiting_since.store(0, std::memory_order_relaxed);
  task.waiting_for.store(what, std::memory_order_relaxed);
  auto finish = [&](Woken woken) {
    task.mode.store(Mode::kKernel, std::memory_order_seq_cst);
    task.parking.news.store(0, std::memory_order_seq_cst);
    task.waiting_for.store(nullptr, std::memory_order_relaxed);
    return woken;
  };
  // Parked from here on, though still awake: nobody needs to kick a task that spins.
  task.mode.store(Mode::kParked, std::memory_order_seq_cst);
  u64 start = gate::monotonic_now();
  auto has_news = [&] { return task.parking.news.load(std::memory_order_acquire) != 0; };
  const OutsideNews* outside = root<OutsideNews>(Root::kOutsideNews);
  auto is_over = [&] { return has_news() || interrupted(task, interruptible); };
  if (watch(task, start, outside, is_over) || yield_to_others(task, is_over)) {
    return finish(has_news() ? Woken::kNews : Woken::kInterrupted);
  }
  task.waiting_since.store(start, std::memory_order_relaxed);
  Woken woken = Woken::kNews;
  for (;;) {
    count_asleep(task);
    task.parking.sleeping.store(1, std::memory_order_seq_cst);
    take_outside_news_parked(outside, task);
    if (task.parking.news.load(std::memory_order_seq_cst) != 0) break;
    if (interrupted(task, interruptible)) {
      woken = Woken::kInterrupted;
      break;
    }
    if (deadline != kNoDeadline && gate::monotonic_now() >= deadline) {
      woken = Woken::kTimeout;
      break;
    }
    gate::futex_wait(task.parking.sleeping, 1, deadline);
  }
  task.parking.sleeping.store(0, std::memory_order_relaxed);
  count_awake(task);
  return finish(woken);
}

WaitQueue::~WaitQueue() {
  KERNEL_ASSERT(entries_.empty());
}

void WaitQueue::add(WaitEntry& entry, u32 events, bool exclusive) {
  KERNEL_ASSERT(entry.queue == nullptr);
  if (entry.on_wake == nullptr) entry.task = &current_core();
  entry.events = events;
  entry.exclusive = exclusive;
  LockGuard guard(lock_);
  entry.queue = this;
  if (exclusive) {
    entries_.push_back(entry);  // behind all others, in order of arrival
  } else {
    entries_.push_front(entry);
  }
  count_.fetch_add(1, std::memory_order_seq_cst);
}

void WaitQueue::remove(WaitEntry& entry) {
  WaitQueue* queue = entry.queue;
  if (queue == nullptr) return;
  LockGuard guard(queue->lock_);
  queue->entries_.remove(entry);
  queue->count_.fetch_sub(1, std::memory_order_seq_cst);
  entry.queue = nullptr;
}

void WaitQueue::wake(u32 events) {
  wake_up_to(events, 1);
}
void WaitQueue::wake_all(u32 events) {
  wake_up_to(events, ~u32{0});
}

void WaitQueue::wake_up_to(u32 events, u32 exclusives) {
  if (empty()) return;
  // Host wakes wait until the lock is dropped. Tasks are type-stable memory: a late wake is at worst
  // spurious.
  constexpr u32 kBatch = 16;
  TaskCore* sleepers[kBatch];
  u32 sleeper_count = 0;
  DeferredWake* deferred = nullptr;
  {
    LockGuard guard(lock_);
    for (WaitEntry* entry = entries_.front(); entry != nullptr; entry = entries_.after(*entry)) {
      if ((entry->events & events) == 0) continue;
      bool woke = true;
      if (entry->on_wake != nullptr) {
        woke = false;
        if (DeferredWake* later = entry->on_wake(*entry, events); later != nullptr) {
          later->next = deferred;
          deferred = later;
          woke = true;
        }
      } else {
        entry->task->parking.news.store(1, std::memory_order_seq_cst);
        if (rouse(*entry->task)) {
          if (sleeper_count == kBatch) {
            // More sleepers than a batch: pay for one host call under the lock rather than lose one.
            gate::futex_wake(entry->task->parking.sleeping, 1);
          } else {
            sleepers[sleeper_count++] = entry->task;
          }
        }
      }
      if (entry->exclusive && woke && --exclusives == 0) break;
    }
  }
  for (u32 i = 0; i < sleeper_count; i++) gate::futex_wake(sleepers[i]->parking.sleeping, 1);
  while (deferred != nullptr) {
    DeferredWake* now = deferred;
    deferred = now->next;
    now->run(*now);
  }
}

}  // namespace teacup
