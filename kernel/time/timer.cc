// The queue is one pairing heap. A node's children hang in a list (child_, next_), whose nodes point back by
// previous_ (to the node before, or to the parent from the first). Merging two heaps makes the later root a
// child of the earlier one; removing the root merges its children in pairs, left to right, then the pairs.
//
// Lock order: kTimers alone. References are dropped and the kernel task is woken after it.
#include "kernel/time/timer.h"

#include "kernel/sync/doorbell.h"

#include <new>

#include "kernel/abi/events.h"
#include "kernel/base/arena_header.h"
#include "kernel/frame/heap.h"

namespace teacup {

class TimerQueue {
 public:
  // Returns the deadline to tell the kernel task, if it sleeps longer than that.
  bool insert(Timer& timer, u64 deadline, bool* was_armed) {
    LockGuard guard(lock_);
    *was_armed = timer.deadline_ != kNoDeadline;
    if (*was_armed) take_out(timer);
    timer.deadline_ = deadline;
    root_ = merge(root_, &timer);
    if (deadline >= sleeping_until_) return false;
    sleeping_until_ = deadline;
    return true;
  }

  bool remove(Timer& timer) {
    LockGuard guard(lock_);
    if (timer.deadline_ == kNoDeadline) return false;
    take_out(timer);
    timer.deadline_ = kNoDeadline;
    return true;
  }

  // With the queue's reference; null and the next deadline if none is due.
  Ref<Timer> take_due(u64 now, u64* next) {
    LockGuard guard(lock_);
    if (root_ == nullptr || root_->deadline_ > now) {
      *next = sleeping_until_ = root_ == nullptr ? kNoDeadline : root_->deadline_;
      return nullptr;
    }
    Timer* timer = root_;
    take_out(*timer);
    timer->deadline_ = kNoDeadline;
    return Ref<Timer>::adopt(timer);
  }

  static void run(Timer& timer, u64 now) { timer.expired(now); }

 private:
  static Timer* merge(Timer* a, Timer* b) {
    if (a == nullptr) return b;
    if (b == nullptr) return a;
    if (b->deadline_ < a->deadline_) std::swap(a, b);
    b->next_ = a->child_;
    if (b->next_ != nullptr) b->next_->previous_ = b;
    b->previous_ = a;
    a->child_ = b;
    return a;
  }

  static Timer* merge_children(Timer* first) {
    Timer* pairs = nullptr;  // merged pairs, the last one first, linked by next_
    while (first != nullptr) {
      Timer* a = first;
      Timer* b = a->next_;
      first = b == nullptr ? nullptr : b->next_;
      a->next_ = a->previous_ = nullptr;
      if (b != nullptr) b->next_ = b->previous_ = nullptr;
      Timer* pair = merge(a, b);
      pair->next_ = pairs;
      pairs = pair;
    }
    Timer* result = nullptr;
    while (pairs != nullptr) {
      Timer* pair = pairs;
      pairs = pair->next_;
      pair->next_ = nullptr;
      result = merge(result, pair);
    }
    return result;
  }

  void take_out(Timer& timer) {
    Timer* children = merge_children(timer.child_);
    timer.child_ = nullptr;
    if (&timer == root_) {
      root_ = children;
    } else {
      if (timer.previous_->child_ == &timer) {
        timer.previous_->child_ = timer.next_;
      } else {
        timer.previous_->next_ = timer.next_;
      }
      if (timer.next_ != nullptr) timer.next_->previous_ = timer.previous_;
      root_ = merge(root_, children);
    }
    timer.next_ = timer.previous_ = nullptr;
  }

  Mutex lock_{LockRank::kTimers};
  Timer* root_ = nullptr;
  u64 sleeping_until_ = kNoDeadline;  // what the kernel task was told
};

namespace {

TimerQueue& queue() {
  return *root<TimerQueue>(Root::kTimers);
}

}  // namespace

void Timer::destroy(Timer* timer) {
  teacup::destroy(timer);
}

void Timer::arm(u64 deadline) {
  if (deadline == kNoDeadline) return cancel();
  bool was_armed = false;
  bool earlier = queue().insert(*this, deadline, &was_armed);
  if (!was_armed) ref();
  if (earlier) raise_kernel_event(abi::kEventTimers);
}

void Timer::cancel() {
  if (queue().remove(*this)) unref();
}

void timers_start() {
  auto* queue = make<TimerQueue>().value_or(nullptr);
  if (queue == nullptr) panic("no memory for the timers");
  set_root(Root::kTimers, queue);
}

u64 timers_run(u64 now) {
  for (;;) {
    u64 next = kNoDeadline;
    Ref<Timer> timer = queue().take_due(now, &next);
    if (!timer) return next;
    TimerQueue::run(*timer, now);
  }
}

}  // namespace teacup
