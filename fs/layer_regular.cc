// Content of a page: what pages_ has; else what the image has, below below_end_; else zeros. Bytes of a page
// behind the end of the file are zeros, always, but for what a shared mapping writes there: that is cleared
// when the file grows over it.
//
// Locks: kInode for all changes. Reading takes none: pages stay where they are, and a page that appears while
// it is read holds what was read before.
#include "fs/layer_regular.h"

#include <algorithm>

#include "fs/journal.h"
#include "fs/read_pages.h"
#include "fs/vfs_internal.h"
#include "kernel/base/memory.h"

namespace teacup::fs {

// With its dentry 256 bytes, so that all inodes of a large tree may stay in memory.
static_assert(sizeof(LayerRegular) <= 192 && sizeof(LayerDirectory) <= 192 && sizeof(LayerSymlink) <= 192);

namespace {
constexpr u64 page_of(u64 offset) {
  return offset >> kPageShift;
}
constexpr u64 pages_for(u64 bytes) {
  return (bytes + kPageSize - 1) >> kPageShift;
}
}  // namespace

LayerRegular::LayerRegular(LayerFs& layer, u64 ino_, u32 mode_) : LayerInode(layer, ino_, mode_) {}

LayerRegular::LayerRegular(LayerFs& layer, const ImageNode& node)
    : LayerInode(layer, node), below_end_(node.size) {}

LayerRegular::~LayerRegular() {
  if (content() != nullptr) end_fetches();
  teacup::destroy(content());
}

Result<PageStore*> LayerRegular::make_pages_locked() {
  if (Content* there = content(); there != nullptr) return &there->pages;
  Content* made = TRY(make<Content>(layer().budget()));
  if (layer().journal() != nullptr) made->pages.track();
  content_.store(made, std::memory_order_release);
  return &made->pages;
}

PageStore::Stretch LayerRegular::stretch(u64 page, u64 max) const {
  Content* there = content();
  return there != nullptr ? there->pages.stretch(page, max) : PageStore::Stretch{nullptr, max};
}

void LayerRegular::remove_locked(u64 first, u64 end) {
  if (Content* there = content(); there != nullptr) there->pages.remove(first, end);
}

void LayerRegular::mark_locked(u64 first, u64 end, bool dirty, bool present) {
  if (Content* there = content(); there != nullptr) there->pages.mark(first, end, dirty, present);
}

Result<void> LayerRegular::stat(abi::Stat& stat) {
  see_mapped_writes();
  TRY(Inode::stat(stat));
  u64 below_pages = pages_for(std::min(size.load(), below_end()));
  stat.blocks = static_cast<s64>(std::max(content() != nullptr ? content()->pages.count() : 0, below_pages) *
                                 (kPageSize / 512));
  return {};
}

// Times that are set are later than what was written before.
Result<void> LayerRegular::set_attributes(const AttributeChange& change) {
  see_mapped_writes();
  return LayerInode::set_attributes(change);
}

// The first run is made for the file as it is known to become.
u64 LayerRegular::end_hint(u64 needed) const {
  return std::max(pages_for(size.load(std::memory_order_relaxed)), needed);
}

// Copies what the image has of a page into `memory`, from byte `from` of the page on.
Result<void> LayerRegular::fill_from_below(u64 page, std::byte* memory, size_t from) {
  u64 start = page * kPageSize;
  u64 limit = std::min(below_end(), start + kPageSize);
  u64 at = start + from;
  while (at < limit) {
    ImageSpan span = TRY(layer().image()->data(below(), at));
    u64 length = std::min(span.length, limit - at);
    // kFetch: prefetch() has brought the page, unless it was removed since, for good.
    if (span.kind == ImageSpan::kMapped) {
      memcpy(memory + (at - start), span.data, length);
      TRY(check_still_there(span, length));
    }
    if (span.kind == ImageSpan::kHole) memset(memory + (at - start), 0, length);
    at += length;
  }
  return {};
}

// The page, in memory: copied up if it was not.
Result<std::byte*> LayerRegular::own_page_locked(u64 page) {
  if (std::byte* there = find(page); there != nullptr) return there;
  PageStore& pages = *TRY(make_pages_locked());
  std::byte* memory = TRY(pages.make(page, end_hint(page + 1), true));
  if (auto filled = fill_from_below(page, memory, 0); !filled.ok()) {
    pages.discard(page);
    return filled.error();
  }
  pages.publish(page);
  if (has_observers() && page * kPageSize < below_end()) notify_observers(page * kPageSize, kPageSize);
  return memory;
}

void LayerRegular::content_changed_locked() {
  pin();
  version.fetch_add(1, std::memory_order_release);
  touch_mtime();
}

// `size` bytes that are in no page of ours, from the image or zeros.
Result<size_t> LayerRegular::read_absent(IoDest& to, u64 offset, size_t size_) {
  u64 limit = below_end();
  if (offset >= limit) return to.put_zeros(size_);
  ImageSpan span = TRY(layer().image()->data(below(), offset));
  size_t length = static_cast<size_t>(std::min<u64>({span.length, limit - offset, size_}));
  if (span.kind != ImageSpan::kMapped) return to.put_zeros(length);
  size_t count = TRY(to.put(span.data, length));
  TRY(check_still_there(span, count));
  return count;
}

Result<size_t> LayerRegular::read(IoDest& to, u64 offset) {
  u64 end = size.load(std::memory_order_acquire);
  if (offset >= end || to.remaining() == 0) return size_t{0};
  u64 wanted = std::min<u64>(to.remaining(), end - offset);
  TRY(prefetch(offset, wanted, true));
  return read_pages(*this, to, offset, wanted,
                    [this](IoDest& dest, u64 at, size_t length) { return read_absent(dest, at, length); });
}

// The file is about to grow beyond `end`, its size: what a mapping wrote behind it is not to appear.
void LayerRegular::clear_tail_locked(u64 end) {
  u64 inside = end & (kPageSize - 1);
  if (inside == 0) return;
  if (std::byte* memory = find(page_of(end)); memory != nullptr) {
    memset(memory + inside, 0, kPageSize - inside);
    note_pages_locked(end, end + 1);
  }
}

// Pages of [offset, end) have changed.
void LayerRegular::note_pages_locked(u64 offset, u64 end) {
  if (layer().journal() != nullptr) mark_locked(page_of(offset), pages_for(end));
}

Result<size_t> LayerRegular::write_locked(IoSource& from, u64 offset) {
  size_t done = 0;
  Errno error = Errno::OK;
  u64 last_page = pages_for(offset + from.remaining());
  PageStore& pages = *TRY(make_pages_locked());
  while (from.remaining() > 0) {
    u64 at = offset + done;
    u64 page = page_of(at);
    u64 inside = at & (kPageSize - 1);
    PageStore::Stretch stretch = this->stretch(page, pages_for(inside + from.remaining()));
    bool fresh = stretch.data == nullptr;
    size_t length = std::min<size_t>(from.remaining(), (fresh ? 1 : stretch.pages) * kPageSize - inside);
    std::byte* memory = stretch.data;
    if (fresh) {
      auto made = pages.make(page, end_hint(last_page));
      if (!made.ok()) {
        error = made.error();
        break;
      }
      memory = made.value();
      bool whole = inside == 0 && length == kPageSize;
      if (!whole && page * kPageSize < below_end()) {
        if (auto filled = fill_from_below(page, memory, 0); !filled.ok()) {
          pages.discard(page);
          error = filled.error();
          break;
        }
      }
    }
    auto copied = from.take(memory + inside, length);
    size_t count = copied.ok() ? copied.value() : 0;
    if (fresh) {
      if (count < length && inside == 0 && length == kPageSize && page * kPageSize < below_end()) {
        static_cast<void>(fill_from_below(page, memory, count));
      }
      pages.publish(page);
      if (has_observers() && page * kPageSize < below_end()) notify_observers(page * kPageSize, kPageSize);
    }
    done += count;
    if (!copied.ok()) error = copied.error();
    if (count < length) break;
  }
  if (done == 0 && error != Errno::OK) return error;
  return done;
}

Result<size_t> LayerRegular::write(IoSource& from, u64 offset, bool append, u64& end) {
  if (has_below() && layer().image()->needs_fetch()) {
    u64 start = append ? size.load() : offset;
    TRY(prefetch(page_down(start), from.remaining() + 2 * kPageSize));
  }
  make_room(page_of(from.remaining()) + 2);
  LockGuard guard(lock);
  u64 old_size = size.load(std::memory_order_relaxed);
  if (append) offset = old_size;
  if (offset >= kMaxSize || from.remaining() > kMaxSize - offset) return Errno::FBIG;
  if (offset > old_size) clear_tail_locked(old_size);
  size_t count = TRY(write_locked(from, offset));
  end = offset + count;
  if (count > 0) {
    note_pages_locked(offset, end);
    if (end > old_size) {
      size.store(end, std::memory_order_release);
      if (has_observers()) notify_observers(page_down(old_size), end - page_down(old_size));
    }
    content_changed_locked();
  }
  return count;
}

Result<void> LayerRegular::truncate(u64 new_size) {
  if (new_size > kMaxSize) return Errno::FBIG;
  if (has_below() && (new_size & (kPageSize - 1)) != 0) TRY(prefetch(page_down(new_size), kPageSize));
  LockGuard guard(lock);
  await_fetches_locked(0, pages_for(kMaxSize));
  u64 old_size = size.load();
  if (new_size < old_size) {
    size.store(new_size, std::memory_order_release);
    below_end_.store(std::min(below_end(), new_size), std::memory_order_release);
    remove_locked(pages_for(new_size), pages_for(kMaxSize));
    clear_tail_locked(new_size);
    if (has_observers()) notify_observers(page_down(new_size), page_up(old_size) - page_down(new_size));
  } else if (new_size > old_size) {
    clear_tail_locked(old_size);
    size.store(new_size, std::memory_order_release);
    if (has_observers()) notify_observers(page_down(old_size), page_up(new_size) - page_down(old_size));
  }
  content_changed_locked();
  return {};
}

// Makes [start, end) read as zeros.
Result<void> LayerRegular::zero_locked(u64 start, u64 end, bool keep_pages) {
  while (start < end) {
    u64 page = page_of(start);
    u64 inside = start & (kPageSize - 1);
    u64 length = std::min(end - start, kPageSize - inside);
    bool shows_below = page * kPageSize < below_end();
    if (length == kPageSize && !shows_below && !keep_pages) {
      // Whole pages up to the last: just not there.
      u64 last = page_of(end);
      remove_locked(page, last);
      start = last * kPageSize;
      continue;
    }
    if (shows_below || keep_pages || find(page) != nullptr) {
      std::byte* memory = find(page);
      if (memory == nullptr) {
        if (length == kPageSize) {
          PageStore& pages = *TRY(make_pages_locked());
          memory = TRY(pages.make(page, end_hint(page + 1)));
          pages.publish(page);
          note_pages_locked(start, start + length);
          if (has_observers()) notify_observers(page * kPageSize, kPageSize);
          start += length;
          continue;
        }
        memory = TRY(own_page_locked(page));
      }
      memset(memory + inside, 0, length);
      note_pages_locked(start, start + length);
    }
    start += length;
  }
  return {};
}

Result<void> LayerRegular::allocate(int mode, u64 offset, u64 length) {
  constexpr int kKnown = abi::kFALLOC_FL_KEEP_SIZE | abi::kFALLOC_FL_PUNCH_HOLE | abi::kFALLOC_FL_ZERO_RANGE;
  if ((mode & ~kKnown) != 0) return Errno::NOTSUP;
  bool punch = (mode & abi::kFALLOC_FL_PUNCH_HOLE) != 0;
  bool zero = (mode & abi::kFALLOC_FL_ZERO_RANGE) != 0;
  bool keep_size = (mode & abi::kFALLOC_FL_KEEP_SIZE) != 0;
  if (punch && (zero || !keep_size)) return Errno::NOTSUP;
  if (offset > kMaxSize || length > kMaxSize - offset) return Errno::FBIG;
  u64 end = offset + length;
  if (has_below()) {
    TRY(prefetch(page_down(offset), kPageSize));
    TRY(prefetch(page_down(end), kPageSize));
  }
  if (!punch) make_room(pages_for(length));
  LockGuard guard(lock);
  await_fetches_locked(align_down(page_of(offset), PageStore::kBlock),
                       align_up(pages_for(end), PageStore::kBlock));
  u64 old_size = size.load();
  if (punch || zero) {
    TRY(zero_locked(offset, punch ? std::min(end, page_up(old_size)) : std::min(end, old_size), false));
    // Mappings that may write make their pages count as there again.
    if (has_observers()) notify_observers(page_down(offset), page_up(end) - page_down(offset));
  }
  if (!punch) {
    u64 last = keep_size ? std::min(end, old_size) : end;
    // All or nothing: pages that must be made, first.
    u64 needed = 0;
    for (u64 page = page_of(offset); page < pages_for(last);) {
      PageStore::Stretch stretch = this->stretch(page, pages_for(last) - page);
      if (stretch.data == nullptr) needed += stretch.pages;
      page += stretch.pages;
    }
    if (!layer().budget().take(needed)) return Errno::NOSPC;
    layer().budget().give(needed);
    if (!keep_size && end > old_size) clear_tail_locked(old_size);
    PageStore& pages = *TRY(make_pages_locked());
    for (u64 page = page_of(offset); page < pages_for(last); page++) {
      if (page * kPageSize < below_end() || find(page) != nullptr) continue;
      TRY(pages.make(page, end_hint(pages_for(last))));
      pages.publish(page);
    }
    if (!keep_size && end > old_size) {
      size.store(end, std::memory_order_release);
      if (has_observers()) notify_observers(page_down(old_size), end - page_down(old_size));
    }
  }
  content_changed_locked();
  return {};
}

Result<u64> LayerRegular::seek_data(u64 offset, bool hole) {
  u64 end = size.load();
  if (offset >= end) return Errno::NXIO;
  while (offset < end) {
    u64 page = page_of(offset);
    PageStore::Stretch stretch = this->stretch(page, pages_for(end) - page);
    u64 stop = (page + stretch.pages) * kPageSize;
    bool is_hole = stretch.data == nullptr;
    if (is_hole && offset < below_end()) {
      ImageSpan span = TRY(layer().image()->data(below(), offset));
      is_hole = span.kind == ImageSpan::kHole;
      stop = std::min({stop, offset + span.length, below_end()});
    }
    if (is_hole == hole) return offset;
    offset = stop;
  }
  if (hole) return end;
  return Errno::NXIO;
}

// Pieces of the image itself, as long as the pages are whole, aligned, and none is in memory. Stops (and says
// so by fewer pieces) where that ends; `usable` false: not even the first page.
Result<size_t> LayerRegular::map_below(u64 offset, u64 length, std::span<MapPiece> pieces, bool& usable) {
  size_t count = 0;
  u64 end = std::min(offset + length, page_down(below_end()));
  while (offset < end && count < pieces.size()) {
    PageStore::Stretch stretch = this->stretch(page_of(offset), page_of(end - offset));
    if (stretch.data != nullptr) break;
    ImageSpan span = TRY(layer().image()->data(below(), offset));
    if (span.kind != ImageSpan::kMapped || !is_aligned(span.host_offset, kPageSize)) break;
    u64 whole = page_down(std::min({span.length, end - offset, stretch.pages * kPageSize}));
    if (whole == 0) break;
    if (count > 0 && pieces[count - 1].fd == span.fd &&
        pieces[count - 1].host_offset + pieces[count - 1].length == span.host_offset) {
      pieces[count - 1].length += whole;
    } else {
      pieces[count++] = MapPiece{span.fd, span.host_offset, whole};
    }
    offset += whole;
  }
  usable = count > 0;
  return count;
}

// Pieces of our own runs; what is below is copied up for them.
Result<size_t> LayerRegular::map_own(u64 offset, u64 length, bool shared_writable,
                                     std::span<MapPiece> pieces) {
  size_t count = 0;
  u64 page = page_of(offset);
  u64 end = pages_for(offset + length);
  PageStore& pages = *TRY(make_pages_locked());
  while (page < end && count < pieces.size()) {
    PageStore::Place place = TRY(pages.place(page, end - page, end_hint(end)));
    for (u64 i = 0; i < place.pages; i++) {
      if (find(page + i) != nullptr) continue;
      if ((page + i) * kPageSize < below_end()) {
        TRY(own_page_locked(page + i));
      } else if (shared_writable) {
        // May be written without our seeing it: counts as data from now on.
        TRY(pages.make(page + i, end_hint(end)));
        pages.publish(page + i);
      }
    }
    if (count > 0 && pieces[count - 1].host_offset + pieces[count - 1].length == place.offset) {
      pieces[count - 1].length += place.pages * kPageSize;
    } else {
      pieces[count++] = MapPiece{kArenaFd, place.offset, place.pages * kPageSize};
    }
    page += place.pages;
  }
  return count;
}

Result<size_t> LayerRegular::map_pieces(u64 offset, u64 length, bool shared_writable,
                                        std::span<MapPiece> pieces) {
  u64 end = page_up(size.load());
  if (offset >= end) return size_t{0};
  length = std::min(length, end - offset);
  TRY(prefetch(offset, length));
  if (shared_writable) make_room(pages_for(length));
  LockGuard guard(lock);
  if (!shared_writable && offset < below_end()) {
    bool usable;
    size_t count = TRY(map_below(offset, length, pieces, usable));
    u64 covered = 0;
    for (size_t i = 0; i < count; i++) covered += pieces[i].length;
    if (covered == length || count == pieces.size()) return count;
    // The rest: one page of the image that cannot be mapped (its last, mostly), or pages in memory.
    u64 at = offset + covered;
    u64 stop = offset + length;
    // Only as far as the image cannot be mapped again.
    u64 next = page_of(at) + 1;
    while (next * kPageSize < stop) {
      u64 from = next * kPageSize;
      if (from >= page_down(below_end())) {
        next = page_of(stop);
        break;
      }
      if (find(next) == nullptr) {
        ImageSpan span = TRY(layer().image()->data(below(), from));
        if (span.kind == ImageSpan::kMapped && is_aligned(span.host_offset, kPageSize) &&
            span.length >= kPageSize) {
          break;
        }
      }
      next++;
    }
    size_t more = TRY(map_own(at, next * kPageSize - at, false, pieces.subspan(count)));
    return count + more;
  }
  if (shared_writable) {
    pin();
    if (layer().journal() != nullptr) {
      TRY(make_pages_locked());
      u64& mapped_end = content()->mapped_end;
      mapped_end = std::max(mapped_end, pages_for(offset + length));
    }
  }
  return map_own(offset, length, shared_writable, pieces);
}

// --- For --upper (fs/journal.cc).

// What a shared mapping wrote, at msync, munmap and exit.
Result<void> LayerRegular::write_back(u64 offset, u64 length) {
  TRY(Inode::write_back(offset, length));
  see_mapped_writes();
  if (layer().journal() == nullptr) return {};
  LockGuard guard(lock);
  u64 mapped_end = content() != nullptr ? content()->mapped_end : 0;
  if (offset >= mapped_end * kPageSize) return {};
  u64 last = std::min(pages_for(offset + std::min(length, kMaxSize)), mapped_end);
  mark_locked(page_of(offset), last, true, true);
  pin();
  return {};
}

void LayerRegular::see_mapped_writes() {
  InodeExtras* there = extras();
  if (there != nullptr && there->written_unseen.load(std::memory_order_relaxed)) mapping_written();
}

void LayerRegular::mapping_written() {
  LockGuard guard(lock);
  if (InodeExtras* there = extras(); there != nullptr) there->written_unseen.store(false);
  pin();
  touch_mtime();
}

// Pages that are mapped for writing count as changed whenever somebody asks: nobody saw the writes.
bool LayerRegular::take_changed(u64& page, u64 max, bool all, PageStore::Stretch& found) {
  LockGuard guard(lock);
  Content* there = content();
  if (there == nullptr) return false;
  if (page == 0 && there->mapped_end != 0) {
    there->pages.mark(0, there->mapped_end, true, true);
    if (!has_observers()) there->mapped_end = 0;
  }
  return there->pages.take_marked(page, max, all, found);
}

bool LayerRegular::is_mapped_writable() {
  LockGuard guard(lock);
  return content() != nullptr && content()->mapped_end != 0;
}

Result<void> LayerRegular::restore_page(u64 page, const std::byte* data) {
  LockGuard guard(lock);
  if (data == nullptr && page * kPageSize >= below_end()) {
    remove_locked(page, page + 1);
    mark_locked(page, page + 1, false);
    return {};
  }
  std::byte* memory = find(page);
  if (memory == nullptr) {
    PageStore& pages = *TRY(make_pages_locked());
    memory = TRY(pages.make(page, end_hint(page + 1), true));
    pages.publish(page);
  }
  if (data != nullptr) memcpy(memory, data, kPageSize);
  if (data == nullptr) memset(memory, 0, kPageSize);
  mark_locked(page, page + 1, false);
  return {};
}

void LayerRegular::restore_size(u64 new_size, u64 new_below_end) {
  LockGuard guard(lock);
  size.store(new_size, std::memory_order_release);
  below_end_.store(std::min(below_end(), new_below_end), std::memory_order_release);
  remove_locked(pages_for(new_size), pages_for(kMaxSize));
}

}  // namespace teacup::fs
