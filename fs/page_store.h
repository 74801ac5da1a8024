// PageStore: the pages of one memory file, in arena runs that never move while the file lives, so that they
// can be mapped. Essay in page_store.cc.
//
// Locks: none of its own. find() and stretch() may be called by anybody at any time; the rest under the
// owner's lock.
#pragma once

#include <atomic>

#include "kernel/base/result.h"
#include "kernel/frame/pages.h"

namespace teacup::fs {

// A limit on pages, of one file system (tmpfs's size=), on top of the machine's.
struct PageBudget {
  std::atomic<u64> used{0};
  u64 limit = ~u64{0};

  // `needed`: by a mapping, or as a copy of what is elsewhere; not for content that a call writes.
  bool take(u64 pages, bool needed = false);
  void give(u64 pages);
};

class PageStore {
 public:
  explicit PageStore(PageBudget& budget) : budget_(budget) {}
  ~PageStore();

  struct Stretch {
    std::byte* data;  // null: these pages are not there
    u64 pages;
  };
  // Pages from `page` on, at most `max` (> 0), that are all there and lie one after another, or are all
  // absent.
  Stretch stretch(u64 page, u64 max) const;
  std::byte* find(u64 page) const { return stretch(page, 1).data; }

  // Memory for an absent page, all zeros and charged for; found by others once publish() was called.
  // `end_hint`: pages the file is known to need, for the size of the first run. ENOSPC.
  Result<std::byte*> make(u64 page, u64 end_hint, bool needed = false);
  void publish(u64 page);
  void discard(u64 page);  // made, and not to be published after all
  // The same of as many absent pages from `page` on, at most `max`, as lie in one piece.
  Result<Stretch> make_piece(u64 page, u64 max, u64 end_hint, bool needed);
  void publish_piece(u64 page, u64 pages);
  void discard_piece(u64 page, u64 pages);
  // Pages [first, end) are absent afterwards, their memory zeros. Of blocks that are charged for whole none
  // of these may be made and neither published nor discarded.
  void remove(u64 first, u64 end);
  // Arena offset of `page` and how many pages (at most `max`) follow in one piece, there or not. ENOSPC.
  struct Place {
    u64 offset;
    u64 pages;
  };
  Result<Place> place(u64 page, u64 max, u64 end_hint);
  // The first page in [page, end) that is there (or is not); `end` if none.
  u64 next(u64 page, u64 end, bool there) const;
  u64 count() const { return count_.load(std::memory_order_relaxed); }

  // --- Blocks of kBlock pages that the host may have as one huge page each.
  static constexpr u64 kBlock = 2 * MiB / kPageSize;
  // Charges for all pages of the block that starts with `page`: from here on they are paid for, there or not,
  // until all have been removed. None of them may be made and neither published nor discarded. Null: they are
  // paid for already, or there is not that much memory, or they do not lie in one piece.
  std::byte* charge_block(u64 page);
  u64 count_in_block(u64 page) const;  // how many are there

  // --- What has changed, for --upper. A page is "own" for good once it was marked, and "dirty" until taken.
  // From here on remove() marks what it removes.
  void track() { tracked_ = true; }
  // `present`: only those that are there.
  void mark(u64 first, u64 end, bool dirty = true, bool present = false);
  // The first stretch from `page` on, at most `max` pages, that is dirty (`all`: own), all there or all
  // absent; it is not dirty any more. False: none.
  bool take_marked(u64& page, u64 max, bool all, Stretch& found);

 private:
  struct Run {
    u64 offset = 0;
    u64 pages = 0;
    u64 used = 0;                      // pages from the start that were ever there
    std::atomic<u64>* bits = nullptr;  // null: inline_bits
    std::atomic<u64> inline_bits{0};
    u64* marks = nullptr;     // of 64 pages each: dirty, own
    bool all_marked = false;  // no memory for marks
    u64* blocks = nullptr;    // a bit for each: charged for whole

    bool is_whole(u64 block) const {
      return blocks != nullptr && (blocks[block / 64] >> (block % 64) & 1) != 0;
    }
    std::atomic<u64>& word(u64 page) { return bits != nullptr ? bits[page / 64] : inline_bits; }
    bool has(u64 page) { return (word(page).load(std::memory_order_acquire) >> (page % 64) & 1) != 0; }
  };
  // A radix tree of the runs behind the first, by index. Its root only ever gets parents, so that readers may
  // hold any node.
  struct Node {
    static constexpr u64 kBits = 4;
    static constexpr u64 kSlots = u64{1} << kBits;

    u64 shift = 0;                          // of an index, to give the slot
    std::atomic<void*> slots[kSlots] = {};  // Run* where shift is 0, else Node*

    bool spans(u64 index) const { return shift + kBits >= 64 || index >> (shift + kBits) == 0; }
    std::atomic<void*>& slot(u64 index) { return slots[index >> shift & (kSlots - 1)]; }
  };
  struct Spot {
    u64 index;  // 0: first_
    u64 start;  // page
    u64 pages;
  };
  static u64 next_mark(const Run& run, u64 inside, bool all);
  static void mark_run(Run& run, u64 first, u64 end, bool dirty);
  static constexpr u64 kLargestRunOrder = 18;  // 1 GiB

  Spot spot(u64 page) const;
  u64 first_page(u64 index) const;
  u64 next_index(u64 index) const;
  Result<std::atomic<void*>*> make_slot(u64 index);
  Run* run_at(u64 index) const;
  Result<Run*> make_run(const Spot& spot);
  Result<void> fill_run(Run& run, u64 pages);
  void drop_run(Run& run);
  static u64 in_blocks(const Run& run, u64 first, u64 pages);
  bool charge(const Run& run, u64 first, u64 pages, bool needed);
  void give_back(const Run& run, u64 first, u64 pages);
  void give_back_blocks(Run& run, const Spot& spot, u64 first, u64 end);
  static void destroy_nodes(Node* node);

  PageBudget& budget_;
  std::atomic<u64> count_{0};
  u64 prepaid_ = 0;  // absent pages of blocks that are charged for whole
  u64 base_order_ = 0;
  std::atomic<bool> started_{false};
  bool tracked_ = false;
  mutable Run first_;
  std::atomic<Node*> root_{nullptr};
};

}  // namespace teacup::fs
