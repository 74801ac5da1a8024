// Page runs: contiguous ranges of the arena's data part, for file content and shared memory. A run is sparse:
// untouched pages cost nothing, and read as zeros. Runs are powers of two of pages, so a freed run serves the
// next of its size; address space is not scarce (8 TiB), host memory is: pages of a freed run go back to the
// host unless it is small, and a small one is zeroed when it is handed out again.
//
// The memory limit (--memory) counts pages that were committed by commit_pages(), and what the heap handed
// out; runs themselves are free.
//
// Locks: the allocator's own (kPages). release_run() makes a host call, so it is called with no lock above
// kAddressSpace.
#pragma once

#include "kernel/base/arena_header.h"
#include "kernel/base/result.h"
#include "kernel/base/types.h"

namespace teacup {

struct PageRun {
  u64 offset = 0;  // arena offset; 0: none
  u64 pages = 0;   // as asked for; the run behind it is the next power of two

  bool empty() const { return pages == 0; }
  u64 address() const { return kArenaBase + offset; }
  u64 bytes() const { return pages * kPageSize; }
};

void pages_start();

// All zeros. ENOMEM when address space is exhausted.
Result<PageRun> allocate_run(u64 pages);
// `dirty_pages`: at most how many of its pages, from the start, were written (all by default).
void release_run(PageRun run, u64 dirty_pages = ~u64{0});
// Gives the pages of [first, first + count) back to the host: they read as zeros. Nothing may map them but
// the kernel, unless zeros are what its mappers are to see.
void punch_run(PageRun run, u64 first, u64 count);

// Accounting of written pages against the memory limit: ENOSPC/ENOMEM is the caller's choice of error.
// `keep`: so many stay for others.
bool commit_pages(u64 count, u64 keep = 0);
void uncommit_pages(u64 count);
u64 committed_pages();
u64 spare_pages();  // what the content of files leaves to all else: programs still start when files fill the
                    // machine
u64 limit_pages();  // the machine's memory, in pages: --memory, or the host's

}  // namespace teacup
