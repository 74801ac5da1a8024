// The plan of addresses. One kernel range cuts the guest's address space in two; all that is teacup's lies in
// it, so a guest pointer is checked with two comparisons. The guest keeps the low part (non-PIE programs,
// heaps that ask for low addresses, ASan's shadow) and a high part (mappings and stacks, where programs
// expect them). The host's own stack and vDSO stay where exec put them, above kGuestHighEnd: the launcher
// asks for no randomisation, and with the usual 28 bits of it they are still within 1 TiB + 16 GiB of the
// top. Where a host randomises more and cannot be asked not to, its vDSO is not used.
#pragma once

#include "kernel/base/types.h"

namespace teacup {

inline constexpr u64 kGuestLowStart = 0x10000;  // vm.mmap_min_addr's usual value
inline constexpr u64 kGuestLowEnd = 0x6000'0000'0000;
inline constexpr u64 kGuestHighStart = 0x7000'0000'0000;
inline constexpr u64 kGuestHighEnd = 0x7ef0'0000'0000;

inline constexpr u64 kKernelStart = kGuestLowEnd;
inline constexpr u64 kKernelEnd = kGuestHighStart;

// Arena: one memfd, MAP_SHARED, at this address in every process of the machine. Its head holds the
// ArenaHeader, then the heap of kernel objects; the rest is page runs of file data, addressed by arena
// offset.
inline constexpr u64 kArenaBase = 0x6000'0000'0000;
inline constexpr u64 kArenaHeaderSize = 2 * MiB;
inline constexpr u64 kHeapOffset = kArenaHeaderSize;
inline constexpr u64 kHeapSize = 60 * GiB - kHeapOffset;
inline constexpr u64 kGatewayOffset = kHeapOffset + kHeapSize;  // abi/gateway.h
inline constexpr u64 kGatewaySize = 4 * GiB;
inline constexpr u64 kPagesOffset = kGatewayOffset + kGatewaySize;
inline constexpr u64 kArenaSize = 8 * TiB;

// Images, mapped whole and read-only, one after another.
inline constexpr u64 kImageBase = 0x6800'0000'0000;
inline constexpr u64 kImageEnd = 0x6bf0'0000'0000;

// The store of patched text (host/broker/text_store.h), so much of which may be mapped.
inline constexpr u64 kTextStoreBase = 0x6bf0'0000'0000;
inline constexpr u64 kTextStoreSize = 512 * MiB;

// Private to each address space, so that a host fork copies it: kernel stacks and host signal stacks.
//   slot: | guard page | kernel stack ... | guard page | host signal stack ... |
inline constexpr u64 kStackArea = 0x6c00'0000'0000;
inline constexpr u64 kKernelStackSize = 64 * KiB;
inline constexpr u64 kSignalStackSize =
    48 * KiB;  // AVX-512 and AMX state is 11 KiB a frame; frames do not nest
inline constexpr u64 kStackSlotSize = 128 * KiB;
inline constexpr u32 kMaxStackSlots = 65536;
static_assert(2 * kPageSize + kKernelStackSize + kSignalStackSize <= kStackSlotSize);

inline constexpr u64 kRuntimeBase = 0x6f00'0000'0000;
inline constexpr u64 kRuntimeLoader = kRuntimeBase - 16 * kPageSize;  // host/launch/runtime_loader.S

// Descriptors of the guest-side host processes: the arena, then the images, then the store of patched text.
inline constexpr int kArenaFd = 3;
inline constexpr int kFirstImageFd = 4;
inline constexpr int kMaxImages = 64;

constexpr bool in_kernel_range(u64 address) {
  return address >= kKernelStart && address < kKernelEnd;
}

// True when [address, address + size) lies wholly in one of the guest's two parts (or is empty and does not
// wrap).
constexpr bool is_guest_range(u64 address, u64 size) {
  u64 end = address + size;
  if (end < address) return false;
  return end <= kGuestLowEnd || (address >= kGuestHighStart && end <= kGuestHighEnd);
}

}  // namespace teacup
