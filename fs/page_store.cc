// Problem: a file's pages must be found fast, grow without copying, stay where they are once mapped, be
// mapped with few host mappings, and cost nothing where the file is sparse. Alternatives: a radix tree of
// single pages (a host mapping a page), one reserved run a file (8 TiB of arena is not that much), a run that
// is copied as it grows (moves). Choice: runs of geometric sizes. The first is as large as the file is known
// to become when its first page is made; each further one doubles the file, up to 1 GiB; from there on runs
// of 1 GiB, made where the file has pages. So 20 runs reach 1 GiB, page to run is a few shifts, and
// sequential growth wastes only address space: runs are sparse. The runs behind the first are in a radix
// tree, so that a file whose only page is the 2^50th costs nine nodes, and whoever looks for pages steps over
// what has none.
//
// Readers take no lock: a run, once published, stays until the file goes; a bit for each page says whether it
// is there. Punching gives memory back to the host under the owner's lock, which the host never waits for.
//
// A page that the host makes costs 0.65 us, a huge page for 512 of them 140 (figures in docs/files.md). It is
// memory as soon as it is there, so it is charged for whole: that is what a block is. Absent pages of one are
// "prepaid": nothing is taken when they are made, nor given when they go. The last to go gives back all.
#include "fs/page_store.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "kernel/base/memory.h"
#include "kernel/frame/heap.h"

namespace teacup::fs {

namespace {
constexpr u64 kZeroByHand = 16;  // up to so many pages zeroing is cheaper than the host call
constexpr u64 kLargestRun = u64{1} << 18;
constexpr u64 kNoIndex = ~u64{0};
}  // namespace

bool PageBudget::take(u64 pages, bool needed) {
  u64 now = used.fetch_add(pages, std::memory_order_relaxed) + pages;
  if (now <= limit && commit_pages(pages, needed ? 0 : spare_pages())) return true;
  used.fetch_sub(pages, std::memory_order_relaxed);
  return false;
}

void PageBudget::give(u64 pages) {
  used.fetch_sub(pages, std::memory_order_relaxed);
  uncommit_pages(pages);
}

PageStore::~PageStore() {
  if (!started_.load()) return;
  drop_run(first_);
  for (u64 index = next_index(1); index != kNoIndex; index = next_index(index + 1)) {
    Run* run = run_at(index);
    drop_run(*run);
    destroy(run);
  }
  if (Node* root = root_.load(); root != nullptr) destroy_nodes(root);
  budget_.give(count_.load() + prepaid_);
}

void PageStore::destroy_nodes(Node* node) {
  for (auto& slot : node->slots) {
    if (node->shift > 0 && slot.load() != nullptr) destroy_nodes(static_cast<Node*>(slot.load()));
  }
  destroy(node);
}

void PageStore::drop_run(Run& run) {
  if (run.offset != 0) release_run(PageRun{run.offset, run.pages}, run.used);
  if (run.bits != nullptr) heap_free(run.bits);
  heap_free(run.marks);
  heap_free(run.blocks);
}

PageStore::Spot PageStore::spot(u64 page) const {
  u64 base = u64{1} << base_order_;
  if (page < base) return {0, 0, base};
  if (page < kLargestRun) {
    u64 k = static_cast<u64>(std::bit_width(page >> base_order_));
    u64 start = base << (k - 1);
    return {k, start, start};
  }
  return {kLargestRunOrder + (page >> kLargestRunOrder), page & ~(kLargestRun - 1), kLargestRun};
}

// The page that the run with this index starts with.
u64 PageStore::first_page(u64 index) const {
  if (index == 0) return 0;
  if (index <= kLargestRunOrder) return u64{1} << (base_order_ + index - 1);
  return (index - kLargestRunOrder) << kLargestRunOrder;
}

PageStore::Run* PageStore::run_at(u64 index) const {
  if (index == 0) return &first_;
  Node* node = root_.load(std::memory_order_acquire);
  if (node == nullptr || !node->spans(index)) return nullptr;
  while (node != nullptr && node->shift > 0) {
    node = static_cast<Node*>(node->slot(index).load(std::memory_order_acquire));
  }
  return node != nullptr ? static_cast<Run*>(node->slot(index).load(std::memory_order_acquire)) : nullptr;
}

// The first index from `index` (> 0) on that has a run, or kNoIndex.
u64 PageStore::next_index(u64 index) const {
  Node* root = root_.load(std::memory_order_acquire);
  while (root != nullptr && root->spans(index)) {
    Node* node = root;
    void* found = node->slot(index).load(std::memory_order_acquire);
    while (found != nullptr && node->shift > 0) {
      node = static_cast<Node*>(found);
      found = node->slot(index).load(std::memory_order_acquire);
    }
    if (found != nullptr) return index;
    index = ((index >> node->shift) + 1) << node->shift;
  }
  return kNoIndex;
}

// Where the run with this index belongs; makes the nodes that lead there.
Result<std::atomic<void*>*> PageStore::make_slot(u64 index) {
  Node* node = root_.load();
  while (node == nullptr || !node->spans(index)) {
    auto made = teacup::make<Node>();
    if (!made.ok()) return Errno::NOSPC;
    if (node != nullptr) {
      made.value()->shift = node->shift + Node::kBits;
      made.value()->slots[0].store(node);
    }
    node = made.value();
    root_.store(node, std::memory_order_release);
  }
  while (node->shift > 0) {
    std::atomic<void*>& slot = node->slot(index);
    if (slot.load() == nullptr) {
      auto made = teacup::make<Node>();
      if (!made.ok()) return Errno::NOSPC;
      made.value()->shift = node->shift - Node::kBits;
      slot.store(made.value(), std::memory_order_release);
    }
    node = static_cast<Node*>(slot.load());
  }
  return &node->slot(index);
}

Result<void> PageStore::fill_run(Run& run, u64 pages) {
  std::atomic<u64>* bits = nullptr;
  if (pages > 64) {
    bits = static_cast<std::atomic<u64>*>(heap_allocate(pages / 8));
    if (bits == nullptr) return Errno::NOSPC;
  }
  auto memory = allocate_run(pages);
  if (!memory.ok()) {
    heap_free(bits);
    return Errno::NOSPC;
  }
  run.bits = bits;
  run.pages = pages;
  run.offset = memory.value().offset;
  return {};
}

Result<PageStore::Run*> PageStore::make_run(const Spot& spot) {
  if (spot.index == 0) {
    if (first_.offset == 0) TRY(fill_run(first_, spot.pages));
    return &first_;
  }
  if (Run* run = run_at(spot.index); run != nullptr) return run;
  std::atomic<void*>& slot = *TRY(make_slot(spot.index));
  auto made = teacup::make<Run>();
  if (!made.ok()) return Errno::NOSPC;
  if (auto filled = fill_run(*made.value(), spot.pages); !filled.ok()) {
    destroy(made.value());
    return filled.error();
  }
  slot.store(made.value(), std::memory_order_release);
  return made.value();
}

PageStore::Stretch PageStore::stretch(u64 page, u64 max) const {
  if (!started_.load(std::memory_order_acquire)) return {nullptr, max};
  Spot at = spot(page);
  u64 inside = page - at.start;
  u64 wanted = std::exchange(max, std::min(max, at.pages - inside));
  Run* run = run_at(at.index);
  if (run == nullptr || run->offset == 0) {
    // Nothing up to the next run, however far that is.
    u64 following = next_index(at.index + 1);
    return {nullptr, following == kNoIndex ? wanted : std::min(wanted, first_page(following) - page)};
  }
  bool there = run->has(inside);
  u64 count = 1;
  while (count < max && run->has(inside + count) == there) count++;
  if (!there) return {nullptr, count};
  return {reinterpret_cast<std::byte*>(kArenaBase + run->offset + inside * kPageSize), count};
}

Result<std::byte*> PageStore::make(u64 page, u64 end_hint, bool needed) {
  Place there = TRY(place(page, 1, end_hint));
  Spot at = spot(page);
  if (!charge(*run_at(at.index), page - at.start, 1, needed)) return Errno::NOSPC;
  return reinterpret_cast<std::byte*>(kArenaBase + there.offset);
}

Result<PageStore::Stretch> PageStore::make_piece(u64 page, u64 max, u64 end_hint, bool needed) {
  Place there = TRY(place(page, max, end_hint));
  u64 pages = stretch(page, there.pages).pages;
  Spot at = spot(page);
  if (!charge(*run_at(at.index), page - at.start, pages, needed)) return Errno::NOSPC;
  return Stretch{reinterpret_cast<std::byte*>(kArenaBase + there.offset), pages};
}

void PageStore::publish_piece(u64 page, u64 pages) {
  for (u64 i = 0; i < pages; i++) publish(page + i);
}

void PageStore::discard_piece(u64 page, u64 pages) {
  Spot at = spot(page);
  Run* run = run_at(at.index);
  punch_run(PageRun{run->offset, run->pages}, page - at.start, pages);
  give_back(*run, page - at.start, pages);
}

void PageStore::publish(u64 page) {
  Spot at = spot(page);
  Run* run = run_at(at.index);
  u64 inside = page - at.start;
  run->used = std::max(run->used, inside + 1);
  run->word(inside).fetch_or(u64{1} << (inside % 64), std::memory_order_release);
}

void PageStore::discard(u64 page) {
  Spot at = spot(page);
  Run& run = *run_at(at.index);
  memset(reinterpret_cast<void*>(kArenaBase + run.offset + (page - at.start) * kPageSize), 0, kPageSize);
  give_back(run, page - at.start, 1);
}

Result<PageStore::Place> PageStore::place(u64 page, u64 max, u64 end_hint) {
  if (!started_.load()) {
    u64 first = std::max<u64>(std::min(end_hint, kLargestRun), 1);
    if (page < kLargestRun) first = std::max(first, page < 16 ? page + 1 : 1);
    base_order_ = static_cast<u64>(std::bit_width(first - 1));
    // The order is read by readers only after this.
    TRY(fill_run(first_, u64{1} << base_order_));
    started_.store(true, std::memory_order_release);
  }
  Spot at = spot(page);
  Run* run = TRY(make_run(at));
  u64 inside = page - at.start;
  return Place{run->offset + inside * kPageSize, std::min(max, at.pages - inside)};
}

u64 PageStore::next(u64 page, u64 end, bool there) const {
  while (page < end) {
    Stretch found = stretch(page, end - page);
    if ((found.data != nullptr) == there) return page;
    page += found.pages;
  }
  return end;
}

void PageStore::remove(u64 first, u64 end) {
  if (!started_.load()) return;
  while (first < end) {
    Spot at = spot(first);
    Run* run = run_at(at.index);
    if (run == nullptr || run->offset == 0) {
      u64 following = next_index(at.index + 1);
      if (following == kNoIndex) return;
      first = first_page(following);
      continue;
    }
    u64 stop = std::min({end, at.start + at.pages, at.start + run->used});
    while (first < stop) {
      Stretch found = stretch(first, stop - first);
      if (found.data != nullptr) {
        u64 inside = first - at.start;
        if (tracked_) mark_run(*run, inside, inside + found.pages, true);
        for (u64 i = 0; i < found.pages; i++) {
          run->word(inside + i).fetch_and(~(u64{1} << ((inside + i) % 64)), std::memory_order_release);
        }
        if (found.pages <= kZeroByHand) {
          memset(found.data, 0, found.pages * kPageSize);
        } else {
          punch_run(PageRun{run->offset, run->pages}, inside, found.pages);
        }
        give_back(*run, inside, found.pages);
        give_back_blocks(*run, at, inside, inside + found.pages);
      }
      first += found.pages;
    }
    first = std::min(end, at.start + at.pages);
  }
}

// --- Blocks.

// How many of these pages are in blocks that are charged for whole.
u64 PageStore::in_blocks(const Run& run, u64 first, u64 pages) {
  if (run.blocks == nullptr) return 0;
  u64 found = 0;
  for (u64 at = first, end = first + pages; at < end;) {
    u64 next = std::min(end, (at / kBlock + 1) * kBlock);
    if (run.is_whole(at / kBlock)) found += next - at;
    at = next;
  }
  return found;
}

// For absent pages that are made.
bool PageStore::charge(const Run& run, u64 first, u64 pages, bool needed) {
  u64 paid = in_blocks(run, first, pages);
  if (pages > paid && !budget_.take(pages - paid, needed)) return false;
  prepaid_ -= paid;
  count_.fetch_add(pages, std::memory_order_relaxed);
  return true;
}

// For pages that are absent again.
void PageStore::give_back(const Run& run, u64 first, u64 pages) {
  u64 paid = in_blocks(run, first, pages);
  prepaid_ += paid;
  count_.fetch_sub(pages, std::memory_order_relaxed);
  budget_.give(pages - paid);
}

// Pages [first, end) of the run have been removed: blocks of which they were the last are none any more.
void PageStore::give_back_blocks(Run& run, const Spot& spot, u64 first, u64 end) {
  if (run.blocks == nullptr) return;
  for (u64 block = first / kBlock; block * kBlock < end; block++) {
    if (!run.is_whole(block) || count_in_block(spot.start + block * kBlock) > 0) continue;
    punch_run(PageRun{run.offset, run.pages}, block * kBlock, kBlock);
    run.blocks[block / 64] &= ~(u64{1} << (block % 64));
    prepaid_ -= kBlock;
    budget_.give(kBlock);
  }
}

u64 PageStore::count_in_block(u64 page) const {
  u64 end = page + kBlock, found = 0;
  while (page < end) {
    Stretch there = stretch(page, end - page);
    if (there.data != nullptr) found += there.pages;
    page += there.pages;
  }
  return found;
}

std::byte* PageStore::charge_block(u64 page) {
  if (!started_.load()) return nullptr;
  Spot at = spot(page);
  u64 inside = page - at.start;
  if (inside % kBlock != 0 || at.pages - inside < kBlock) return nullptr;
  auto made = make_run(at);
  if (!made.ok()) return nullptr;
  Run& run = *made.value();
  if (run.is_whole(inside / kBlock)) return nullptr;
  if (run.blocks == nullptr) {
    u64 words = (run.pages / kBlock + 63) / 64;
    run.blocks = static_cast<u64*>(heap_allocate(words * sizeof(u64)));
    if (run.blocks == nullptr) return nullptr;
  }
  u64 absent = kBlock - count_in_block(page);
  if (!budget_.take(absent)) return nullptr;
  prepaid_ += absent;
  run.blocks[inside / kBlock / 64] |= u64{1} << (inside / kBlock % 64);
  run.used = std::max(run.used, inside + kBlock);
  return reinterpret_cast<std::byte*>(kArenaBase + run.offset + inside * kPageSize);
}

// --- Marks.

void PageStore::mark_run(Run& run, u64 first, u64 end, bool dirty) {
  if (run.marks == nullptr && !run.all_marked) {
    run.marks = static_cast<u64*>(heap_allocate((run.pages + 63) / 64 * 2 * sizeof(u64)));
    run.all_marked = run.marks == nullptr;
  }
  if (run.all_marked) return;
  for (u64 page = first; page < end; page++) {
    u64 bit = u64{1} << (page % 64);
    if (dirty) run.marks[page / 64 * 2] |= bit;
    run.marks[page / 64 * 2 + 1] |= bit;
  }
}

void PageStore::mark(u64 first, u64 end, bool dirty, bool present) {
  if (!started_.load()) return;
  while (first < end) {
    Spot at = spot(first);
    Run* run = run_at(at.index);
    u64 stop = std::min(end, at.start + at.pages);
    if (run == nullptr || run->offset == 0) {
      u64 following = next_index(at.index + 1);
      if (following == kNoIndex) return;
      first = first_page(following);
      continue;
    }
    while (first < stop) {
      Stretch found = stretch(first, stop - first);
      u64 inside = first - at.start;
      if (found.data != nullptr || !present) mark_run(*run, inside, inside + found.pages, dirty);
      first += found.pages;
    }
  }
}

// The first marked page of the run from `inside` on; its number of pages if none.
u64 PageStore::next_mark(const Run& run, u64 inside, bool all) {
  if (run.all_marked) return inside < run.used ? inside : run.pages;
  if (run.marks == nullptr) return run.pages;
  while (inside < run.pages) {
    u64 word = run.marks[inside / 64 * 2 + (all ? 1 : 0)] >> (inside % 64);
    if (word != 0) return std::min(run.pages, inside + static_cast<u64>(std::countr_zero(word)));
    inside = (inside / 64 + 1) * 64;
  }
  return run.pages;
}

bool PageStore::take_marked(u64& page, u64 max, bool all, Stretch& found) {
  if (!started_.load()) return false;
  for (;;) {
    Spot at = spot(page);
    Run* run = run_at(at.index);
    u64 inside = run != nullptr && run->offset != 0 ? next_mark(*run, page - at.start, all) : at.pages;
    if (inside >= at.pages) {
      u64 following = next_index(at.index + 1);
      if (following == kNoIndex) return false;
      page = first_page(following);
      continue;
    }
    page = at.start + inside;
    found = stretch(page, std::min(max, at.pages - inside));
    u64 count = 1;
    while (count < found.pages && next_mark(*run, inside + count, all) == inside + count) count++;
    found.pages = count;
    if (run->marks != nullptr) {
      for (u64 i = inside; i < inside + count; i++) run->marks[i / 64 * 2] &= ~(u64{1} << (i % 64));
    }
    return true;
  }
}

}  // namespace teacup::fs
