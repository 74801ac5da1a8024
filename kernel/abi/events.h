// News from the broker for the kernel task: a small mailbox of flags and queues in the arena. The broker
// sets, then raises `word` and wakes it; the kernel task takes (exchange) and acts. Nothing is lost when both
// run at once.
#pragma once

#include <atomic>

#include "kernel/base/types.h"

namespace teacup::abi {

enum EventFlag : u32 {
  kEventStream0 = 1,   // stream n has news: kEventStream0 << n
  kEventDied = 8,      // dead_pids has entries
  kEventSignals = 16,  // host signals for the guest: signals
  kEventWinch = 32,    // window_rows/columns changed
  kEventDump = 64,     // SIGUSR1: write a dump of all tasks (RingOp::kMessage)
  kEventTimers = 128,  // from the guest side: the earliest deadline changed
  kEventShutdown = 256,
  kEventGateway = 512,  // abi/gateway.h: to_guest has news
};

inline constexpr u32 kDeadRing = 1024;

struct Events {
  std::atomic<u32> word;  // the kernel task sleeps on it
  std::atomic<u32> flags;
  std::atomic<u64> signals;  // bit n-1: host signal n came for the machine
  std::atomic<u32> window;   // rows << 16 | columns
  // Host processes that ended, and how (wait status). Single producer (broker), single consumer (kernel
  // task).
  std::atomic<u32> dead_head;
  std::atomic<u32> dead_tail;
  struct {
    u32 host_pid;
    u32 status;
  } dead[kDeadRing];
};

}  // namespace teacup::abi
