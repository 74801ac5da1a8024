// Which pages of an executable are copied to be patched, and such copies as the broker keeps them in a file
// for all machines of an image (host/broker/text_store.h).
//
// How much to copy: patched pages alone would cost every process a host mapping (3 us) for each and for what
// lies between them; whole segments would cost a large program without many sites (a compiler: 20 MB) its
// size in memory and 2.5 us a page once. So patches less than a megabyte apart share a range, and what is
// left of a segment before and behind goes with it if it is less than that: libc's text is one range.
#pragma once

#include <algorithm>
#include <optional>
#include <span>

#include "kernel/abi/prepared.h"
#include "kernel/base/types.h"

namespace teacup::abi {

inline constexpr u32 kMaxTextSegments = 8;
inline constexpr u32 kMaxTextRanges = 16;
inline constexpr u64 kWorthAMapping = MiB;

// Pages of the file: offsets.
struct TextRange {
  u64 low;
  u64 high;
};

// The pages of the file that a segment's mapping shows.
inline TextRange pages_of(const PreparedSegment& segment) {
  return {page_down(segment.file_offset), page_up(segment.file_offset + segment.file_size)};
}

class TextRanges {
 public:
  // Of a plan for a file of `file_size` bytes; none if nothing of it can be laid.
  static TextRanges choose(const PreparedView& plan, u64 file_size) {
    TextRanges ranges;
    if (!plan.patched() || plan.segments().size() > kMaxTextSegments) return ranges;
    for (const PreparedSegment& segment : plan.segments()) {
      if (segment.file_offset + segment.file_size > file_size) return {};
      ranges.choose(plan, segment);
    }
    return ranges;
  }

  std::span<const TextRange> all() const { return {ranges_, count_}; }
  u64 bytes() const {
    u64 sum = 0;
    for (const TextRange& range : all()) sum += range.high - range.low;
    return sum;
  }

 private:
  void choose(const PreparedView& plan, const PreparedSegment& segment) {
    TextRange whole = pages_of(segment);
    TextRange* open = nullptr;
    for (const PreparedPatch& patch : plan.patches()) {
      u64 low = page_down(patch.file_offset), high = page_up(patch.file_offset + patch.length);
      if (low < whole.low || high > whole.high) continue;
      bool has_room = count_ < kMaxTextRanges;
      if (open == nullptr && !has_room) return;
      if (open == nullptr || (low > open->high + kWorthAMapping && has_room)) {
        u64 start = open == nullptr && low - whole.low < kWorthAMapping ? whole.low : low;
        open = &ranges_[count_++];
        *open = {start, high};
      }
      open->high = std::max(open->high, high);
    }
    if (open != nullptr && whole.high - open->high < kWorthAMapping) open->high = whole.high;
  }

  TextRange ranges_[kMaxTextRanges] = {};
  u32 count_ = 0;
};

// A patch is laid if all of it lies in one range.
inline bool holds(const TextRange& range, const PreparedPatch& patch) {
  return patch.file_offset >= range.low && patch.file_offset + patch.length <= range.high;
}

// The store's first page. The processor's answers are in it because every machine wants them, and cpuid traps
// to the hypervisor in a virtual machine (5 to 12 us each): a program of glibc's asks 43 times before main(),
// and a machine, which asks each question once (kernel/task/processor.h), spent 0.2 ms of a start of 4 in
// that.
struct CpuidEntry {
  u32 leaf, subleaf;
  u32 eax, ebx, ecx, edx;
};

inline constexpr u32 kMaxStoredCpuid = 169;

struct StoreHeader {
  u8 id[16];  // random: the places of another store's texts are not this one's
  u32 cpuid_count;
  u32 pad_;
  CpuidEntry cpuid[kMaxStoredCpuid];
};
static_assert(sizeof(StoreHeader) <= kPageSize);

inline constexpr u64 kStoredTextMagic = 0x3130747874637474;  // "ttctxt01"

// What lies in the store for one executable, from a page's start on. Offsets count from this header; all but
// the blob's begin pages.
struct StoredText {
  u64 magic;
  u64 size;  // bytes, with this header
  u64 blob;  // the plan, 8-byte aligned
  u64 blob_size;
  u64 originals;    // the file's bytes where patches lie, laid out as the plan's
  u64 trampolines;  // page_up(PreparedHeader::trampoline_size)
  u32 range_count;
  u32 pad_;
  TextRange ranges[kMaxTextRanges];
  u64 text[kMaxTextRanges];  // where the patched pages of each range are
};

}  // namespace teacup::abi
