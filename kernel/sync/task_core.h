// TaskCore: the part of a task that entry code, locks and waiting know. kernel/task's Task begins with it;
// %gs points at it on every guest-side host thread.
#pragma once

#include <atomic>

#include "kernel/abi/park.h"
#include "kernel/base/list.h"
#include "kernel/base/types.h"

namespace teacup {

class WaitQueue;
struct TaskCore;

// What a wait entry's callback wants done once the queue's lock is dropped: waking a queue of its own. The
// callback keeps alive what it hands out until run() is called.
struct DeferredWake {
  DeferredWake* next = nullptr;
  void (*run)(DeferredWake& self) = nullptr;
};

// One task's place in one wait queue. Lives in the task or in the heap, never on a kernel stack: stacks are
// private to their address space, queues are not.
struct WaitEntry {
  ListNode node;
  WaitQueue* queue = nullptr;  // null: on none
  TaskCore* task = nullptr;
  u32 events = 0;          // POLL* bits that wake it
  bool exclusive = false;  // stop a wake-one here
  // Instead of waking `task`, if set. Called with the queue's lock held; may only set flags, link lists of
  // its own (rank above kWaitQueue), and return something to be run afterwards; null: nobody is woken by
  // this, and an exclusive wake-up goes on to the next entry.
  DeferredWake* (*on_wake)(WaitEntry& entry, u32 events) = nullptr;
  void* context = nullptr;
};

// Where a task is, as other tasks see it. Every change is fenced but those between kUser and kKernel, which
// others may see late: see interrupt().
enum class Mode : u32 {
  kUser,    // guest code, or the trampolines
  kKernel,  // may hold locks: if its process is killed now, the machine ends
  kParked,  // in park(), spinning or asleep, holding no lock
  kDead,
};

// Reasons to leave guest code, or to stop waiting. Tested on the way out of the kernel and by park().
enum Pending : u32 {
  kPendingSignal = 1,  // a deliverable signal may be queued
  kPendingDying = 2,   // the process is ending: go no further
  kPendingRemap = 4,   // the address space has mappings to bring up to date
  kPendingStop = 8,    // job control: stop here until continued
  kPendingClock = 16,  // timers on this task's CPU time are to be looked at
};

struct TaskCore {
  // --- Offsets known to assembly and trampolines (kernel/entry/offsets.h checks them).
  TaskCore* self = this;                  // %gs:0
  u64 syscall_entry = 0;                  // %gs:8   trampolines jump here
  u64 cpuid_entry = 0;                    // %gs:16
  u64 rdtsc_entry = 0;                    // %gs:24
  u64 rdtscp_entry = 0;                   // %gs:32
  u64 kernel_stack_top = 0;               // %gs:40  the Frame lies right below
  u64 scratch = 0;                        // %gs:48  the guest's rsp while stacks are switched
  std::atomic<Mode> mode{Mode::kKernel};  // %gs:56
  std::atomic<u32> pending{0};            // %gs:60

  // --- Parking.
  abi::ParkWords parking;
  std::atomic<bool> is_awake{false};  // counted in arena().awake

  // --- The host thread that runs it; 0 when none does (a vfork parent while its borrower runs).
  std::atomic<u32> host_pid{0};
  std::atomic<u32> host_tid{0};

  // --- For the task dump (SIGUSR1): what park() waits for, a static string, and since when (ns, monotonic).
  std::atomic<const char*> waiting_for{nullptr};
  std::atomic<u64> waiting_since{0};
  s32 tid = 0;  // the guest's

  // --- Wait entries for calls that wait on a few queues; poll and epoll allocate theirs.
  WaitEntry wait_entries[4];

  // Every so many waits spin before they sleep, or yield if they are of a crowd: see park().
  u16 waits = 0;
  u16 short_interval = 1;
  u16 long_interval = 1;
  u16 yields = 0;
  u16 yield_interval = 1;

  // --- Ranks of the locks held, newest last (TEACUP_LOCK_CHECKS).
  u8 held_count = 0;
  u8 held_ranks[15] = {};
};

#ifdef TEACUP_HOSTED
TaskCore& current_core();  // kernel/sync/hosted.cc: one per test thread
#else
inline TaskCore& current_core() {
  TaskCore* task;
  asm("mov %%gs:0, %0" : "=r"(task));
  return *task;
}
#endif

}  // namespace teacup
