#include "kernel/frame/heap.h"

#include <algorithm>
#include <bit>

#include "kernel/base/arena_header.h"
#include "kernel/base/memory.h"
#include "kernel/base/panic.h"
#include "kernel/sync/lock.h"

namespace teacup {

namespace {

constexpr u64 kSlabSize = 64 * KiB;
constexpr u64 kLargest = 32 * KiB;
constexpr u32 kClassCount = 22;  // 16, 32, 48, 64, 96, 128, 192, ... 32 KiB
constexpr u32 kFamilyCount = 2;
constexpr u32 kLargeClass = ~u32{0};
constexpr u64 kFirstEnd = kHeapOffset + 2 * MiB;

struct FreeBlock {
  FreeBlock* next;
};

// At the start of each slab, and of each large block.
struct SlabHeader {
  u32 size_class;  // and family: see class_of()
  u32 magic;
  u64 slab_count;  // of a large block
  SlabHeader* next_free;
  u64 pad_[5];
};
static_assert(sizeof(SlabHeader) == 64);
constexpr u32 kSlabMagic = 0x51ab51ab;

struct Heap {
  Mutex lock{LockRank::kHeap};
  FreeBlock* free[kClassCount * kFamilyCount] = {};
  // Of each class's newest slab, what was never handed out. A slab is not touched before it is used, and
  // memory that is zero already is not cleared: a start of /bin/true makes slabs of nearly all
  // classes and tables of megabytes, 600 faults that took 1.6 of its 7.2 ms.
  struct Rest {
    u64 next = 0;
    u64 end = 0;
    bool zero = false;
  } rest[kClassCount * kFamilyCount];
  SlabHeader* free_runs = nullptr;  // freed large blocks, reused for the same number of slabs
  u64 brk = 0;                      // arena offset of the first slab never used
  // The same for slabs of small blocks, as long as there are any in the heap's first 2 MiB: a huge page, in
  // time (kernel/entry/start.cc). Tables, which are large and touched here and there, do not take its place.
  u64 first_brk = 0;
  std::atomic<u64> in_use{0};

  // Under the lock. `more` may be the two's complement of less.
  void count(u64 more) {
    in_use.store(in_use.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
  }
};

// Classes alternate 2^n and 1.5 * 2^n from 32 on, after 16. Those of the second family come after all of the
// first.
constexpr u64 class_size(u32 index) {
  index %= kClassCount;
  if (index == 0) return 16;
  u64 base = u64{32} << ((index - 1) / 2);
  return (index - 1) % 2 == 0 ? base : base + base / 2;
}
static_assert(class_size(1) == 32 && class_size(2) == 48 && class_size(3) == 64 &&
              class_size(21) == 32 * KiB);

u32 class_of(u64 size, HeapFamily family) {
  u32 first = static_cast<u32>(family) * kClassCount;
  if (size <= 16) return first;
  if (size <= 32) return first + 1;
  u32 log = static_cast<u32>(std::bit_width(size - 1));  // size <= 2^log
  u64 three_quarters = (u64{1} << (log - 1)) + (u64{1} << (log - 2));
  return first + (size <= three_quarters ? 2 * (log - 6) + 2 : 2 * (log - 6) + 3);
}

Heap& heap() {
  return *root<Heap>(Root::kHeap);
}

// Whether the heap may take `bytes` more from the host. Pages of files stop at the machine's limit; the heap
// goes on for a while, so that what makes room (removing files, ending processes) does not fail for want of
// it.
bool may_grow(const Heap& heap, u64 bytes) {
  u64 limit = arena().memory_limit;
  u64 reserve = std::max(limit / 8, 16 * MiB);
  return limit == 0 || heap.in_use.load(std::memory_order_relaxed) + bytes <= limit + reserve;
}

// `zero`: nobody has used them yet.
SlabHeader* fresh_slabs(Heap& heap, u64 count, bool& zero) {
  zero = false;
  for (SlabHeader** at = &heap.free_runs; *at != nullptr; at = &(*at)->next_free) {
    if ((*at)->slab_count != count) continue;
    SlabHeader* run = *at;
    *at = run->next_free;
    return run;
  }
  u64 size = count * kSlabSize;
  if (heap.brk + size > kHeapOffset + kHeapSize || !may_grow(heap, size)) return nullptr;
  auto* slab = &arena_at<SlabHeader>(heap.brk);
  heap.brk += size;
  zero = true;
  return slab;
}

SlabHeader* small_slab(Heap& heap, bool& zero) {
  if (heap.first_brk + kSlabSize <= kFirstEnd) {
    heap.first_brk += kSlabSize;
    zero = true;
    return &arena_at<SlabHeader>(heap.first_brk - kSlabSize);
  }
  return fresh_slabs(heap, 1, zero);
}

bool refill(Heap& heap, u32 size_class) {
  bool zero;
  SlabHeader* slab = small_slab(heap, zero);
  if (slab == nullptr) return false;
  *slab = SlabHeader{size_class, kSlabMagic, 1, nullptr, {}};
  u64 size = class_size(size_class);
  u64 start = reinterpret_cast<u64>(slab) + align_up(sizeof(SlabHeader), size >= 64 ? 64 : 16);
  u64 count = (reinterpret_cast<u64>(slab) + kSlabSize - start) / size;
  heap.rest[size_class] = {start, start + count * size, zero};
  return true;
}

void* allocate_small(Heap& heap, u32 size_class, bool& zero) {
  void* block = heap.free[size_class];
  Heap::Rest& rest = heap.rest[size_class];
  if (block != nullptr) {
    heap.free[size_class] = heap.free[size_class]->next;
  } else {
    if (rest.next == rest.end && !refill(heap, size_class)) return nullptr;
    block = reinterpret_cast<void*>(rest.next);
    rest.next += class_size(size_class);
    zero = rest.zero;
  }
  heap.count(class_size(size_class));
  return block;
}

void* allocate_large(Heap& heap, u64 size, bool& zero) {
  u64 count = (size + sizeof(SlabHeader) + kSlabSize - 1) / kSlabSize;
  SlabHeader* slab = fresh_slabs(heap, count, zero);
  if (slab == nullptr) return nullptr;
  *slab = SlabHeader{kLargeClass, kSlabMagic, count, nullptr, {}};
  heap.count(count * kSlabSize);
  return slab + 1;
}

}  // namespace

void heap_start() {
  static_assert(sizeof(Heap) <= kSlabSize);
  u64 start = align_up(arena().heap_brk, kSlabSize);
  auto* heap = new (&arena_at<Heap>(start)) Heap;
  heap->first_brk = start + kSlabSize;
  heap->brk = std::max(kFirstEnd, heap->first_brk);
  set_root(Root::kHeap, heap);
}

void* heap_allocate(size_t size, HeapFamily family) {
  Heap& heap = teacup::heap();
  void* block;
  bool zero = false;
  KERNEL_ASSERT(size <= kLargest || family == HeapFamily::kAny);
  {
    LockGuard guard(heap.lock);
    block = size > kLargest ? allocate_large(heap, size, zero)
                            : allocate_small(heap, class_of(size, family), zero);
  }
  if (block != nullptr && !zero) memset(block, 0, size);
  return block;
}

void heap_free(void* block) {
  if (block == nullptr) return;
  auto* slab = reinterpret_cast<SlabHeader*>(align_down(reinterpret_cast<u64>(block), kSlabSize));
  KERNEL_ASSERT(slab->magic == kSlabMagic);
  Heap& heap = teacup::heap();
  LockGuard guard(heap.lock);
  if (slab->size_class == kLargeClass) {
    heap.count(-slab->slab_count * kSlabSize);
    slab->next_free = heap.free_runs;
    heap.free_runs = slab;
    return;
  }
  heap.count(-class_size(slab->size_class));
  auto* free = static_cast<FreeBlock*>(block);
  free->next = heap.free[slab->size_class];
  heap.free[slab->size_class] = free;
}

u64 heap_in_use() {
  return heap().in_use.load(std::memory_order_relaxed);
}

}  // namespace teacup

#ifndef TEACUP_HOSTED
// Virtual destructors name these: a counted object's destroy() may be `delete object`.
void operator delete(void* block) noexcept {
  teacup::heap_free(block);
}
void operator delete(void* block, std::size_t) noexcept {
  teacup::heap_free(block);
}
#endif
