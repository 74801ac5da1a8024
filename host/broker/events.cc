#include "host/broker/events.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>

#include "kernel/abi/stats.h"

namespace teacup::host {

int wake_word(void* word, int count) {
  return static_cast<int>(syscall(SYS_futex, word, FUTEX_WAKE, count, nullptr, nullptr, 0));
}

void wait_word(void* word, u32 expected, int timeout_ms) {
  timespec timeout{timeout_ms / 1000, (timeout_ms % 1000) * 1'000'000L};
  syscall(SYS_futex, word, FUTEX_WAIT, expected, timeout_ms < 0 ? nullptr : &timeout, nullptr, 0);
}

void raise_event(u32 flags) {
  abi::Events& events = abi::events();
  // Raised already and not taken: whoever did so wakes it.
  if ((events.flags.fetch_or(flags, std::memory_order_seq_cst) & flags) == flags) return;
  events.word.fetch_add(1, std::memory_order_seq_cst);
  wake_word(&events.word, INT_MAX);
}

}  // namespace teacup::host
