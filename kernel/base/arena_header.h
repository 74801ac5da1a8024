// The head of the arena: what broker and guest side must agree on before anything else is set up. Plain data:
// the broker fills the first part before the template starts, and reads the rest without trusting it.
#pragma once

#include <atomic>

#include "kernel/base/layout.h"
#include "kernel/base/types.h"

namespace teacup {

inline constexpr u32 kHostCallNumbers = 512;
inline constexpr u64 kArenaMagic = 0x3170756361657421;

// Singletons of the kernel's subsystems, found from every process; each is created once, by the template.
enum class Root : u32 {
  kHeap,
  kPages,
  kProcesses,
  kVfs,
  kMemory,
  kLoader,
  kTimers,
  kFutexes,
  kNet,
  kPseudo,
  kTrace,
  kTracer,
  kBroker,
  kPipes,
  kEpolls,
  kIpc,
  kInotify,
  kZygotes,
  kRandom,
  kProcessor,
  kInternet,
  kGateway,
  kRawSockets,
  kUnixRights,
  kOutsideNews,
  kHugePages,
  kCount
};

struct ImageSlot {
  u64 address;  // where it is mapped, read-only and shared, in every process; 0: not mapped (served by the
                // importer)
  u64 size;     // bytes; the mapping is rounded up to pages
  u32 fd;       // guest side
  u32 kind;     // abi::ImageKind
};

// Where an image that shrank while the machine runs is known to end by now: 0 if it has not, else the lowest
// offset at which a page was found missing (at least 1). Set by the handler of the fault, read by fs/.
struct ImageLoss {
  std::atomic<u64> from{0};
  bool covers(u64 offset, u64 length) const {
    u64 lost = from.load(std::memory_order_acquire);
    return lost != 0 && offset + length > lost;
  }
};

struct ArenaHeader {
  // --- Written by the broker before the template starts.
  u64 magic;
  u64 arena_size;
  u64 memory_limit;  // bytes the machine may use: --memory, or the host's memory
  u32 cpu_count;     // of the host: what the guest is told
  u32 usable_cpus;   // those that the machine's processes may run on
  u32 image_count;
  ImageSlot images[kMaxImages];
  ImageLoss images_lost[kMaxImages];
  u32 text_store_fd;                   // guest side; 0: there is none
  u64 foreseen_offset, foreseen_size;  // abi::ForeseenText records
  u64 config_offset;                   // arena offset and size of the boot configuration (abi/boot.h)
  u64 config_size;
  u64 streams_offset;  // abi::Streams
  u64 events_offset;   // abi::Events
  u64 heap_brk;        // arena offset where the broker's own allocations end: the heap starts behind
  u32 filter_length;   // seccomp program, in instructions of 8 bytes
  std::atomic<u32>
      broker_life;  // a futex of the broker's that the host marks at its death: host/launch/template.cc
  u64 filter[512];

  // --- Written by the template at its start.
  u64 vdso_clock_gettime;  // the host's, 0 if it has none
  u32 has_fsgsbase;
  u32 xsave_size;    // bytes of an XSAVE area, standard format, for all of xsave_mask
  u64 xsave_mask;    // XCR0
  u32 processor[3];  // cpuid's leaf 1: eax, ecx, edx

  // --- The kernel's state, shared.
  std::atomic<u64> roots[static_cast<u32>(Root::kCount)];
  std::atomic<u64> host_calls[kHostCallNumbers];

  // Tasks that run or could (kernel/sync/wait.h); what shares its cache line is hardly ever looked at.
  alignas(64) std::atomic<s32> awake;
  u32 nothing_else[15];

  // --- How the machine ended. `ended` changes once, from 0; the broker sleeps on the ring's doorbell, not on
  // this.
  std::atomic<u32> ended;        // 1: exit_status counts; 2: panic, panic_text counts
  std::atomic<u32> exit_status;  // as in wait(2)
  std::atomic<u32> panic_lock;
  char panic_text[8192];
};
static_assert(sizeof(ArenaHeader) <= kArenaHeaderSize / 2);

// The template's TaskCore, before there is a heap.
inline constexpr u64 kTemplateCoreOffset = kArenaHeaderSize / 2 - kPageSize;
static_assert(sizeof(ArenaHeader) <= kTemplateCoreOffset);

// The second half of the header's 2 MiB holds the request ring (abi/ring.h).
inline constexpr u64 kRingOffset = kArenaHeaderSize / 2;

inline ArenaHeader& arena() {
  return *reinterpret_cast<ArenaHeader*>(kArenaBase);
}
template <typename T>
T& arena_at(u64 offset) {
  return *reinterpret_cast<T*>(kArenaBase + offset);
}

// The singleton that `which` names; null before its subsystem's start.
template <typename T>
T* root(Root which) {
  return reinterpret_cast<T*>(arena().roots[static_cast<u32>(which)].load(std::memory_order_acquire));
}
template <typename T>
void set_root(Root which, T* object) {
  arena().roots[static_cast<u32>(which)].store(reinterpret_cast<u64>(object), std::memory_order_release);
}

}  // namespace teacup
