// Whether huge pages are worth their price.
//
// Single pages of 2 MiB cost 0.75 ms, a huge page 0.1 (less on metal). But a virtual machine gives free
// memory back to its host, in large pieces only (the balloon's page reporting: free blocks of 2 MiB and more,
// every two seconds), and gets it again page by page at the first touch: then one huge page costs 4 to 5 ms,
// and single pages, which come from small pieces that were never given back, still 0.75. A compiler's run
// cost 70 ms of the host kernel's time that way instead of 28, and which of the two it was depended on
// whether the machine had been idle for two seconds before.
//
//   1. No huge pages on virtual machines: most of the time they are the best there is.
//   2. Ask the host: nothing says what a page lacks.
//   3. Measure each that comes, and after a dear one do without for a while, for longer when the next is dear
//   too.
//
// 3 it is. What is measured is CPU time, not time: on a busy machine everything takes long now and then.
#pragma once

#include <algorithm>
#include <atomic>

#include "kernel/base/result.h"
#include "kernel/base/types.h"

namespace teacup {

// One for all processes of a machine; may be called holding any lock.
class HugePagePrice {
 public:
  static constexpr u64 kDear = 1'000'000;  // ns
  static constexpr u64 kShortestRest = 16 * MiB;
  static constexpr u64 kLongestRest = GiB;

  // The host took so long, ns of the thread's CPU time, to bring one.
  void paid(u64 cost) {
    if (cost <= kDear) {
      next_rest_.store(kShortestRest, std::memory_order_relaxed);
      return;
    }
    const u64 rest = next_rest_.load(std::memory_order_relaxed);
    rest_.store(rest, std::memory_order_relaxed);
    next_rest_.store(std::min(4 * rest, kLongestRest), std::memory_order_relaxed);
  }

  // Whether so many bytes that a program asks for should come in huge pages.
  bool is_fair(u64 bytes) {
    const u64 rest = rest_.load(std::memory_order_relaxed);
    if (rest == 0) return true;
    rest_.store(rest - std::min(rest, bytes), std::memory_order_relaxed);
    return false;
  }

 private:
  std::atomic<u64> rest_{0};  // bytes to be had in single pages before the next one is tried
  std::atomic<u64> next_rest_{kShortestRest};
};

// At the machine's start. Without it (in tests) every price is fair.
Result<void> huge_pages_start();

// HugePagePrice::is_fair of this machine's.
bool huge_pages_are_fair(u64 bytes);
// Has the host bring `count` huge pages by giving it this advice, and notes what they cost. Errors are
// madvise(2)'s.
Result<void> bring_huge_pages(u64 address, u64 length, int advice, u64 count);

}  // namespace teacup
