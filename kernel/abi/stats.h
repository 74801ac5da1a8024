// Counters for --stats, in the arena behind the events; written by the guest side, read by the broker at the
// end.
#pragma once

#include <atomic>

#include "kernel/abi/events.h"
#include "kernel/base/arena_header.h"

namespace teacup::abi {

struct MachineStats {
  std::atomic<u64> calls[513];          // by number; the last one counts numbers that do not exist
  std::atomic<u64> unimplemented[513];  // of these, answered ENOSYS for want of a handler
  std::atomic<u64> trapped;             // served through the SIGSYS net
  std::atomic<u64> sites_by_tactic[8];  // patched sites by abi::Tactic, summed over prepared files
  std::atomic<u64> sites_left;          // left to the net
  std::atomic<u64> cpuid_sites;         // patched ones
  std::atomic<u64> cpuids;              // answered by the kernel
  std::atomic<u64> files_prepared;
  std::atomic<u64> files_foreseen;        // of these, without asking the broker
  std::atomic<u64> first_instruction_at;  // ns, CLOCK_MONOTONIC: pid 1 entered guest code
};

inline MachineStats& machine_stats() {
  return arena_at<MachineStats>(align_up(arena().events_offset + sizeof(Events), 64));
}
inline Events& events() {
  return arena_at<Events>(arena().events_offset);
}

}  // namespace teacup::abi
