// Problem: content of images that have to be asked or decoded must be in the file's pages before it is read
// or mapped, and is best brought in large pieces, next to each other in time: a trip to the importer costs
// some 200 us, of which most is three processes' waking, and decoding as much again.
//
// Alternatives: bring it into memory of its own and copy it into the pages under the inode's lock (first
// done: a first touch and a copy more, as much as decoding LZ4 costs); or straight into the pages, which then
// must be nobody else's meanwhile. Choice: straight. A Fetch says which pages are on their way; who wants one
// of them waits, and who would remove or zero one waits too. Writers never meet one: they have what they
// touch brought before. So no page is asked for twice, and readers of one file in two places do not wait for
// each other.
//
// Who reads on for a while has the importer work ahead of him: two windows of 1 MiB are always on their way
// beyond the one that he is in, and nobody waits for them until he comes. How large they are the image says:
// of what is asked for as large as can be, as most of a short trip is processes' waking. Coming to the start
// of one is what starts the next; who reads elsewhere starts none. Their pages are charged for when they are
// asked for. Of EROFS, which is decoded here, it is the decoder that works ahead (decoder.cc), on four
// windows of 512 KiB: with two it had nothing to do while the reader had the host make blocks (34 ms instead
// of 40 for 64 MiB, on a busy machine).
//
// Of what a page costs then, the host's making it is the most: 0.65 us, as much as decoding LZ4 into it. A
// huge page for 512 of them costs 140. So what is read for long, and is large, goes into blocks: 2 MiB that
// the host is asked to make one huge page (MADV_COLLAPSE) before anything comes. It first has all cores tell
// it of pages they have in hand, which may take it a millisecond; so the more was read, the more blocks are
// asked for at once. Where a file is read here and there, a block is made when a quarter of its pages have
// come.
//
// Locks: kInode for the list of fetches and for pages that appear. None while asking, decoding or waiting.
#include <algorithm>

#include "fs/layer_regular.h"
#include "fs/trip.h"
#include "fs/vfs_internal.h"
#include "host/gate/gate.h"
#include "kernel/abi/mm.h"
#include "kernel/frame/huge_page_price.h"

namespace teacup::fs {

namespace {
// What is fetched at once: by who has read on for a while, by who reads on, and by who reads here and there.
constexpr u64 kLongFetch = 1 * MiB;
constexpr u64 kFetchWindow = 256 * KiB;
constexpr u64 kFirstFetch = 64 * KiB;
constexpr u64 kAhead = 2 * MiB;
constexpr u64 kBlock = PageStore::kBlock;
constexpr u64 kMostBlocks = 4;  // made at once

constexpr u64 page_of(u64 offset) {
  return offset >> kPageShift;
}
constexpr u64 pages_for(u64 bytes) {
  return (bytes + kPageSize - 1) >> kPageShift;
}
}  // namespace

// Pages [first, first + pages), on their way.
struct LayerRegular::Fetch {
  Fetch* next = nullptr;
  u64 first = 0;
  u64 pages = 0;
  std::span<std::byte> into;
  bool is_ahead = false;  // `trip` brings it, and nobody waits for that yet
  bool is_done = false;
  u32 holders = 0;           // who use this, and are not done with it
  std::atomic<u32> word{0};  // 1 when done
  Trip trip;
};

struct LayerRegular::Window {
  u64 first;
  u64 pages;
  bool reads_on;  // for so long that what follows is worth asking for
};

// What to fetch for who wants from `page` on, up to byte `end`.
LayerRegular::Window LayerRegular::window_at(u64 page, u64 end) {
  Image& image = *layer().image();
  u64 offset = page * kPageSize;
  bool reads_on = page == 0 || find(page - 1) != nullptr || end - offset > kFirstFetch;
  constexpr u64 kBefore = kFetchWindow / kPageSize;
  PageStore::Stretch before =
      reads_on && page >= kBefore ? stretch(page - kBefore, kBefore) : PageStore::Stretch{nullptr, 0};
  bool for_long = before.data != nullptr && before.pages == kBefore;
  u64 size = for_long ? kLongFetch : reads_on ? kFetchWindow : kFirstFetch;
  u64 stop = std::min(offset + size, below_end());
  // From where it is compressed together, as far as that is not there yet. The page in which that begins
  // comes with what is before.
  u64 first = pages_for(image.fetch_start(below(), offset));
  while (page > first && find(page - 1) == nullptr) page--;
  // What is compressed together with what is wanted is enough for who reads here and there.
  u64 enough = reads_on ? 0 : image.fetch_end(below(), std::min(end, below_end()));
  stop = enough >= page * kPageSize + kFirstFetch ? enough : image.fetch_end(below(), stop);
  stop = std::min({stop, below_end(), image.data_end(below(), offset)});
  return {page, pages_for(stop) - page, for_long};
}

// Has the host make the blocks where pages from `page` on are about to be fetched, as far as it pays.
void LayerRegular::make_blocks(u64 page, u64 pages, bool reads_on) {
  u64 file_end = align_down(page_of(below_end()), kBlock);
  u64 made[kMostBlocks];
  u64 count = 0;
  if (page >= file_end || content() == nullptr || !huge_pages_are_fair(pages * kPageSize)) return;
  {
    LockGuard guard(lock);
    Content& there = *content();
    u64 most = reads_on ? std::clamp<u64>(there.pages.count() / kBlock, 1, kMostBlocks) : 1;
    for (u64 block = align_down(page, kBlock); block < file_end && count < most && !there.no_blocks;
         block += kBlock) {
      if (block >= page + pages && count == 0) break;
      u64 present = there.pages.count_in_block(block);
      bool pays = present <= kBlock / 2 && (reads_on || present >= kBlock / 4);
      if (!pays || fetch_of_locked(block, block + kBlock) != nullptr) continue;
      if (std::byte* memory = there.pages.charge_block(block); memory != nullptr) {
        made[count++] = reinterpret_cast<u64>(memory);
      }
    }
  }
  bool refused = false;
  for (u64 i = 0, next; i < count; i = next) {
    // The host wants a page table to be there.
    next = i;
    do {
      static_cast<void>(*reinterpret_cast<volatile std::byte*>(made[next++]));
    } while (next < count && made[next] == made[next - 1] + kBlock * kPageSize);
    auto done = bring_huge_pages(made[i], (next - i) * kBlock * kPageSize, abi::kMADV_COLLAPSE, next - i);
    refused |= !done.ok() && (done.error() == Errno::INVAL || done.error() == Errno::NOMEM);
  }
  if (!refused) return;
  LockGuard guard(lock);
  content()->no_blocks = true;
}

// The fetch that brings any of [first, end). Null: none.
LayerRegular::Fetch* LayerRegular::fetch_of_locked(u64 first, u64 end) const {
  Content* there = content();
  Fetch* fetch = there != nullptr ? there->fetches.load(std::memory_order_relaxed) : nullptr;
  while (fetch != nullptr && (fetch->first >= end || fetch->first + fetch->pages <= first))
    fetch = fetch->next;
  return fetch;
}

// Memory for pages that are absent and on no way, from `first` on, at most `pages`. If they are needed, so
// many as there is memory for.
Result<LayerRegular::Fetch*> LayerRegular::start_fetch_locked(u64 first, u64 pages, bool needed) {
  PageStore& store = *TRY(make_pages_locked());
  Fetch* fetch = TRY(make<Fetch>());
  PageStore::Stretch memory{nullptr, 0};
  for (; memory.data == nullptr; pages /= 2) {
    auto made = store.make_piece(first, pages, end_hint(first + pages), needed);
    if (made.ok()) memory = made.value();
    if (!made.ok() && (pages == 1 || !needed)) {
      teacup::destroy(fetch);
      return made.error();
    }
  }
  u64 start = first * kPageSize;
  fetch->first = first;
  fetch->pages = memory.pages;
  fetch->into = {memory.data, std::min(fetch->pages * kPageSize, below_end() - start)};
  fetch->next = content()->fetches.load(std::memory_order_relaxed);
  content()->fetches.store(fetch, std::memory_order_release);
  return fetch;
}

// It has come, or will not.
void LayerRegular::end_fetch_locked(Fetch& fetch, bool good) {
  Content& there = *content();
  if (good) {
    there.pages.publish_piece(fetch.first, fetch.pages);
  } else {
    there.pages.discard_piece(fetch.first, fetch.pages);
  }
  Fetch* before = there.fetches.load(std::memory_order_relaxed);
  if (before == &fetch) {
    there.fetches.store(fetch.next, std::memory_order_release);
  } else {
    while (before->next != &fetch) before = before->next;
    before->next = fetch.next;
  }
  fetch.is_done = true;
  fetch.word.store(1, std::memory_order_seq_cst);
  gate::futex_wake(fetch.word, ~u32{0} >> 1);
}

void LayerRegular::let_go_locked(Fetch& fetch) {
  if (--fetch.holders == 0 && fetch.is_done) teacup::destroy(&fetch);
}

// Until it is done. Drops the lock meanwhile.
void LayerRegular::await_fetch_locked(Fetch& fetch) {
  fetch.holders++;
  if (fetch.is_ahead) {
    fetch.is_ahead = false;
    lock.unlock();
    bool good = fetch.trip.finish().ok();
    lock.lock();
    end_fetch_locked(fetch, good);
  }
  while (!fetch.is_done) {
    lock.unlock();
    gate::futex_wait(fetch.word, 0, gate::kNoDeadline);
    lock.lock();
  }
  let_go_locked(fetch);
}

// Nothing of [first, end) is on its way afterwards. Drops the lock meanwhile.
void LayerRegular::await_fetches_locked(u64 first, u64 end) {
  while (Fetch* fetch = fetch_of_locked(first, end)) await_fetch_locked(*fetch);
}

// The inode goes. What was asked for ahead still comes into its pages.
void LayerRegular::end_fetches() {
  Content& there = *content();
  while (Fetch* fetch = there.fetches.load()) {
    fetch->trip.give_up();
    there.fetches.store(fetch->next);
    there.pages.publish_piece(fetch->first, fetch->pages);  // they are to be cleared
    teacup::destroy(fetch);
  }
}

// Has the windows behind `page` asked for, up to byte `end`, as far as they are not.
Result<void> LayerRegular::fetch_ahead(u64 page, u64 end) {
  Image& image = *layer().image();
  const u64 window = image.window_ahead(below());
  if (window == 0) return {};
  end = std::min(end, below_end());
  u64 stop = std::min(pages_for(end), page + kAhead / kPageSize);
  while (page < stop) {
    u64 start = page * kPageSize;
    if (TRY(image.data(below(), start)).kind != ImageSpan::kFetch) return {};
    u64 limit = std::max(image.fetch_start(below(), start) + window, start + kPageSize);
    u64 last = std::min(
        {image.fetch_end(below(), std::min(limit, end)), below_end(), image.data_end(below(), start)});
    make_room(pages_for(last) - page);
    make_blocks(page, pages_for(last) - page, true);
    LockGuard guard(lock);
    if (Fetch* there = fetch_of_locked(page, page + 1); there != nullptr) {
      page = there->first + there->pages;
      continue;
    }
    u64 pages = std::min(pages_for(last), pages_for(below_end()));
    pages = pages > page ? pages - page : 0;
    if (Fetch* there = fetch_of_locked(page, page + pages); there != nullptr) pages = there->first - page;
    // What is there already was read before, or is being read by others.
    if (pages == 0 || find(page) != nullptr) return {};
    Fetch* fetch = TRY(start_fetch_locked(page, pages, false));
    fetch->is_ahead = image.start_fetch(below(), start, fetch->into, fetch->trip);
    page += fetch->pages;
    if (!fetch->is_ahead) {
      fetch->holders = 1;
      end_fetch_locked(*fetch, false);
      let_go_locked(*fetch);
      return {};
    }
  }
  return {};
}

// Waits for `page` if it is on its way. How far it then reaches is where to ask ahead from, if `page` is
// where it begins; 0: not. False: it is not on its way.
bool LayerRegular::await_page(u64 page, u64& behind) {
  LockGuard guard(lock);
  Fetch* fetch = fetch_of_locked(page, page + 1);
  if (fetch == nullptr) return false;
  behind = fetch->is_ahead && fetch->first == page ? page + fetch->pages : 0;
  await_fetch_locked(*fetch);
  return true;
}

Result<void> LayerRegular::fetch_window(const Window& window) {
  make_room(window.pages);
  make_blocks(window.first, window.pages, window.reads_on);
  LockGuard guard(lock);
  // Others may have been here meanwhile: the caller looks again.
  u64 last = std::min(window.first + window.pages, pages_for(below_end()));
  if (Fetch* fetch = fetch_of_locked(window.first, window.first + window.pages); fetch != nullptr) {
    if (fetch->first <= window.first) {
      await_fetch_locked(*fetch);
      return {};
    }
    last = std::min(last, fetch->first);
  }
  if (last <= window.first || find(window.first) != nullptr) return {};
  Fetch& fetch = *TRY(start_fetch_locked(window.first, last - window.first, true));
  fetch.holders = 1;
  guard.unlock();
  auto fetched = layer().image()->fetch(below(), fetch.first * kPageSize, fetch.into);
  LockGuard again(lock);
  end_fetch_locked(fetch, fetched.ok());
  let_go_locked(fetch);
  TRY(fetched);
  return {};
}

// Makes sure that what the image has of [offset, offset + length) is in memory, where it cannot be looked at
// in place. The pages stay clean: they hold what the image holds.
Result<void> LayerRegular::prefetch(u64 offset, u64 length, bool reading) {
  if (!has_below() || !layer().image()->needs_fetch() || length == 0) return {};
  Image& image = *layer().image();
  u64 end = offset + std::min(length, kMaxSize - offset);
  for (;;) {
    u64 limit = std::min(end, below_end());
    if (offset >= limit) return {};
    Content* there = content();
    u64 page = page_of(offset);
    if (there != nullptr) page = there->pages.next(page, pages_for(limit), false);
    if (page >= pages_for(limit)) return {};
    offset = page * kPageSize;
    u64 ahead_end = reading ? below_end() : limit;
    u64 behind = 0;
    if (there != nullptr && there->fetches.load(std::memory_order_acquire) != nullptr &&
        await_page(page, behind)) {
      // What cannot be asked for now is fetched when it is wanted.
      if (behind != 0) static_cast<void>(fetch_ahead(behind, ahead_end));
      continue;
    }
    ImageSpan span = TRY(image.data(below(), offset));
    if (span.kind != ImageSpan::kFetch) {
      offset = align_up(offset + span.length, kPageSize);
      continue;
    }
    Window window = window_at(page, end);
    TRY(fetch_window(window));
    if (window.reads_on) static_cast<void>(fetch_ahead(window.first + window.pages, ahead_end));
  }
}

}  // namespace teacup::fs
