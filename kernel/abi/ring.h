// The request ring between the guest side and the broker: 256 slots in the second half of the arena's first 2
// MiB. A guest-side task claims a free slot, fills it, marks it submitted and rings the doorbell; the broker
// copies it out, checks every field, does it, writes `result`, marks it done, and wakes the slot's word. The
// broker follows no pointer from here: buffers are arena offsets, checked against the arena's size.
#pragma once

#include <atomic>

#include "kernel/base/arena_header.h"
#include "kernel/base/types.h"

namespace teacup::abi {

enum class RingOp : u32 {
  kNone = 0,
  kKick,             // a: host pid, b: host tid. No answer: the slot is freed by the broker.
  kMachineEnded,     // the header's `ended` was set. No answer.
  kNewAddressSpace,  // a: host pid of a process the template or a task cloned. No answer.
  kMessage,          // a: offset, b: length: a line of --trace output or a dump; c: kFileMessage, or 0
  kPrepare,      // plan patches for an ELF file: a: input offset (abi/prepared.h's PrepareInput), b: output
                 // offset, c: its size
  kHostFile,     // a: request offset, b: size, c: response offset, d: size (abi/host_file.h)
  kStream,       // a: StreamOp, b..: see abi/stream.h: stdin, stdout, stderr and the terminal
  kImporter,     // a: request offset, b: size, c: response offset, d: size (abi/importer.h), e: offset of
                 // a RingLanding, and then no answer; or 0
  kDebug,        // a: report offset, b: size (abi/debug.h)
  kGuestMemory,  // a: host pid, b: address there, c: buffer's offset, d: bytes, e: 1 to write. Bytes moved
  kGateway,      // abi/gateway.h: published ports listen as the machine does, when this is answered
  kUpper,        // a: UpperOp, b: offset, c: length (abi/upper.h)
};

enum SlotState : u32 { kSlotFree = 0, kSlotClaimed = 1, kSlotSubmitted = 2, kSlotTaken = 3, kSlotDone = 4 };

inline constexpr u64 kFileMessage = 1;  // of kMessage: the path of a file, for --trace-files

struct RingSlot {
  std::atomic<u32> state;
  RingOp op;
  u64 args[6];
  s64 result;
  std::atomic<u32> sleeping;  // the asker sleeps on `state`
  u32 no_answer;
};

// Where the result of a request goes whose asker does not wait: a slot would be taken until he comes.
struct RingLanding {
  std::atomic<u32> done;  // 1: `result` is there; woken, one waiter
  u32 reserved;
  s64 result;
};

inline constexpr u32 kRingSlots = 256;

struct Ring {
  std::atomic<u32> doorbell;         // counts submissions; the broker sleeps on it
  std::atomic<u32> broker_sleeping;  // the broker (is about to) sleep: ring by a host wake
  std::atomic<u32> free_word;        // changes when a slot becomes free while somebody waits for one
  std::atomic<u32> free_waiters;
  std::atomic<u32> hint;
  RingSlot slots[kRingSlots];
};
static_assert(sizeof(Ring) <= kArenaHeaderSize - kRingOffset);

inline Ring& ring() {
  return arena_at<Ring>(kRingOffset);
}

}  // namespace teacup::abi
