// Reading from a PageStore (or what has its stretch()): what is there straight from its pages, the rest by
// `absent(to, offset, length)`, which gives how many bytes it put (0: none, and the read ends there).
// Internal to fs/.
#pragma once

#include <algorithm>

#include "fs/file.h"
#include "fs/page_store.h"

namespace teacup::fs {

// `wanted` > 0 bytes from `offset` on. A failure after some bytes is a short read.
template <typename Pages, typename Absent>
Result<size_t> read_pages(const Pages& pages, IoDest& to, u64 offset, u64 wanted, Absent absent) {
  size_t done = 0;
  while (done < wanted) {
    u64 at = offset + done;
    u64 inside = at & (kPageSize - 1);
    u64 count = (inside + wanted - done + kPageSize - 1) >> kPageShift;
    PageStore::Stretch stretch = pages.stretch(at >> kPageShift, count);
    auto length = static_cast<size_t>(std::min(wanted - done, stretch.pages * kPageSize - inside));
    auto copied = stretch.data != nullptr ? to.put(stretch.data + inside, length) : absent(to, at, length);
    if (!copied.ok()) {
      if (done > 0) return done;
      return copied.error();
    }
    done += copied.value();
    // Less than asked: the guest's buffer ends here, or what `absent` had in one piece does.
    if (copied.value() < length && stretch.data != nullptr) break;
    if (copied.value() == 0) break;
  }
  return done;
}

}  // namespace teacup::fs
