// The words by which a waiting task is reached (kernel/sync/wait.h), as the broker knows them: it wakes the
// task that waits for a host socket's bytes without asking another one to.
#pragma once

#include <atomic>

#include "kernel/base/types.h"

namespace teacup::abi {

struct ParkWords {
  std::atomic<u32> news{0};  // 1: there is some; the task itself clears it
  // The host futex that the task sleeps on, or is about to: who changes it from 1 to 0 must call the host.
  // The broker changes nothing, and wakes.
  std::atomic<u32> sleeping{0};
  std::atomic<u32> watching{0};  // awake, and sees the broker's news by itself
};

}  // namespace teacup::abi
