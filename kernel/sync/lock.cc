// Mutex: the three-state futex lock (Drepper, "Futexes Are Tricky", mutex 3), with a short spin first: the
// holder is inside the kernel and out again in well under a microsecond, a futex handoff across cores takes
// 35-60.
#include "kernel/sync/lock.h"

#include "host/gate/gate.h"
#include "kernel/base/panic.h"
#include "kernel/sync/task_core.h"

namespace teacup {

namespace {
constexpr int kSpins = 200;
}

void Mutex::lock_slow() {
  for (int i = 0; i < kSpins; i++) {
    u32 free = 0;
    if (state_.load(std::memory_order_relaxed) == 0 &&
        state_.compare_exchange_weak(free, 1, std::memory_order_acquire)) {
      return;
    }
    __builtin_ia32_pause();
  }
  while (state_.exchange(2, std::memory_order_acquire) != 0) gate::futex_wait(state_, 2, gate::kNoDeadline);
}

void Mutex::wake_one() {
  gate::futex_wake(state_, 1);
}

#ifdef TEACUP_LOCK_CHECKS
void Mutex::note_taken() {
  TaskCore& task = current_core();
  u8 rank = static_cast<u8>(rank_);
  if (task.held_count > 0 && task.held_ranks[task.held_count - 1] >= rank)
    panic("lock taken out of rank order");
  KERNEL_ASSERT(task.held_count < sizeof task.held_ranks);
  task.held_ranks[task.held_count++] = rank;
}

void Mutex::note_released() {
  TaskCore& task = current_core();
  for (u8 i = task.held_count; i-- > 0;) {
    if (task.held_ranks[i] != static_cast<u8>(rank_)) continue;
    for (u8 j = i; j + 1 < task.held_count; j++) task.held_ranks[j] = task.held_ranks[j + 1];
    task.held_count--;
    return;
  }
  panic("lock released that was not held");
}
#endif

}  // namespace teacup
