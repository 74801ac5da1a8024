#include "kernel/frame/pages.h"

#include <bit>

#include "host/gate/gate.h"
#include "kernel/abi/mm.h"
#include "kernel/base/memory.h"
#include "kernel/base/panic.h"
#include "kernel/frame/heap.h"
#include "kernel/sync/lock.h"

namespace teacup {

namespace {

constexpr u32 kOrders = 32;
constexpr u64 kKeepPages =
    16;  // zeroing 16 pages costs less than the host call that drops them and the faults after

struct FreeRun {
  u64 offset;
  u64 dirty_pages;
  FreeRun* next;
};

struct Pages {
  Mutex lock{LockRank::kPages};
  FreeRun* free[kOrders] = {};
  u64 brk = kPagesOffset;
  std::atomic<u64> committed{0};
};

Pages& pages() {
  return *root<Pages>(Root::kPages);
}

u32 order_of(u64 count) {
  return count <= 1 ? 0 : static_cast<u32>(std::bit_width(count - 1));
}

}  // namespace

void pages_start() {
  auto created = make<Pages>();
  KERNEL_ASSERT(created.ok());
  set_root(Root::kPages, created.value());
}

Result<PageRun> allocate_run(u64 count) {
  if (count == 0) return Errno::INVAL;
  u32 order = order_of(count);
  if (order >= kOrders) return Errno::NOMEM;
  Pages& pages = teacup::pages();
  FreeRun* reused;
  u64 offset = 0;
  {
    LockGuard guard(pages.lock);
    reused = pages.free[order];
    if (reused != nullptr) {
      pages.free[order] = reused->next;
    } else {
      u64 size = kPageSize << order;
      // From 2 MiB on aligned, so that huge pages can serve it.
      u64 start = size >= 2 * MiB ? align_up(pages.brk, 2 * MiB) : pages.brk;
      if (start + size > arena().arena_size) return Errno::NOMEM;
      offset = start;
      pages.brk = start + size;
    }
  }
  if (reused != nullptr) {
    offset = reused->offset;
    memset(&arena_at<u8>(offset), 0, reused->dirty_pages * kPageSize);
    heap_free(reused);
  }
  return PageRun{offset, count};
}

void release_run(PageRun run, u64 dirty_pages) {
  if (run.empty()) return;
  if (dirty_pages > run.pages) dirty_pages = run.pages;
  if (dirty_pages > kKeepPages) {
    punch_run(run, 0, dirty_pages);
    dirty_pages = 0;
  }
  auto* free = static_cast<FreeRun*>(heap_allocate(sizeof(FreeRun)));
  if (free == nullptr) return;  // out of heap: the address range is lost, its memory is not
  Pages& pages = teacup::pages();
  u32 order = order_of(run.pages);
  LockGuard guard(pages.lock);
  *free = FreeRun{run.offset, dirty_pages, pages.free[order]};
  pages.free[order] = free;
}

void punch_run(PageRun run, u64 first, u64 count) {
  if (count == 0) return;
  KERNEL_ASSERT(first + count <= run.pages);
  // Only tmpfs of a host without MADV_REMOVE refuses; then zero by hand.
  u64 address = run.address() + first * kPageSize;
  if (!gate::advise(address, count * kPageSize, abi::kMADV_REMOVE).ok()) {
    memset(reinterpret_cast<void*>(address), 0, count * kPageSize);
  }
}

bool commit_pages(u64 count, u64 keep) {
  auto& committed = pages().committed;
  u64 now = committed.fetch_add(count, std::memory_order_relaxed) + count;
  if (now + heap_in_use() / kPageSize + keep <= limit_pages()) return true;
  committed.fetch_sub(count, std::memory_order_relaxed);
  return false;
}

void uncommit_pages(u64 count) {
  pages().committed.fetch_sub(count, std::memory_order_relaxed);
}
u64 committed_pages() {
  return pages().committed.load(std::memory_order_relaxed);
}

u64 spare_pages() {
  return limit_pages() / 16;
}

u64 limit_pages() {
  return arena().memory_limit / kPageSize;
}

}  // namespace teacup
