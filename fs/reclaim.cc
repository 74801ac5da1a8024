// Problem: what files, directories and names were ever looked at stays in memory, and the machine has a
// limit. Alternatives: a list of all inodes in order of use (a shared line written by every walk); dropping
// everything at once (the shell's PATH is cold again). Choice: the cache of names goes round as a clock does,
// and what it has not seen used for a round goes; an inode that is in no name, open file or mapping goes with
// its last name, and its clean pages with it. Nobody waits in the background: who needs memory near the limit
// makes room first.
//
// Where all is in use or changed, looking at 65 536 buckets for each page would take longer than the write
// that fails then: a search that found nothing is not made again for a while.
//
// Locks: none held by the caller; the cache's own (kDentry).
#include "fs/vfs_internal.h"
#include "fs/vfs_state.h"
#include "host/gate/gate.h"

namespace teacup::fs {

namespace {

constexpr u64 kAtOnce = 256;
constexpr u64 kPause = 10'000'000;  // ns

bool is_room_for(u64 pages) {
  u64 used = committed_pages() + heap_in_use() / kPageSize;
  u64 slack = std::min<u64>(limit_pages() / 32, MiB / kPageSize);
  return used + pages + slack + spare_pages() <= limit_pages();
}

}  // namespace

void make_room(u64 pages) {
  if (is_room_for(pages)) [[likely]]
    return;
  VfsState& state = vfs_state();
  while (gate::monotonic_now() >= state.no_reclaim_before.load(std::memory_order_relaxed)) {
    if (dcache().shrink(kAtOnce) == 0) {
      state.no_reclaim_before.store(gate::monotonic_now() + kPause, std::memory_order_relaxed);
      return;
    }
    if (is_room_for(pages)) return;
  }
}

}  // namespace teacup::fs
