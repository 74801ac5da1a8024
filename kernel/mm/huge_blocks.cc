// Huge pages for private anonymous memory.
//
// The dearest thing in the memory of a build is that a page comes into being: 1.6 us each on a virtual
// machine (fault, charge, clearing), and populating many in one host call saves nothing of it (1.55 us). A
// huge page of 512 comes in 33 us. But the host gives one only where one mapping covers an aligned 2 MiB when
// the page is first touched, and programs ask for their memory in smaller pieces: malloc moves the break by
// 132 KiB, Python maps 1 MiB, gcc 2 MiB, none of it aligned.
//
//   1. Map more than was asked for, and let the guest find memory where there is none: wrong programs would
//   not fault.
//   2. Let the host collapse pages afterwards (MADV_COLLAPSE): they have been paid for by then.
//   3. Map a whole block, have its huge page come, and take away the rights to what was not asked for. The
//   host then
//      keeps 512 pages where it had one (27 us), but they are there: the pieces that are asked for next get
//      their rights, one call each, and no fault.
//
// 3 is what is done here; 2 MiB asked for in 16 pieces and touched take 134 us instead of 880. What is left
// of a block is "ready": mapped on the host, without rights, and free to the guest. There is one such range
// at the break, which grows upwards, and one among the mappings, which grow downwards. Requests of 2 MiB and
// more are aligned, and the host told that huge pages are welcome.
//
// A block costs as much as 100 pages (160 us: its page 95, taking its rights away 40). So a process gets one
// only when it has kAppetite bytes of data, and in all no more than it has data at the time: who maps and
// unmaps the same megabyte all day pays for one. A shell or a small tool never gets there: with half of
// kAppetite make and perl did, which needed eight pages more, and a make that finds nothing to do took 8 %
// more CPU. What a program asks not to be backed yet (MAP_NORESERVE, PROT_NONE, MAP_STACK) stays so. And a
// block among the mappings begins only when kTaste bytes have been asked for there: the dynamic linker's own
// two pages got one in each program whose libraries have 512 KiB of data (as: 537 small pages of heap then,
// for its one block was there).
//
// And where the break goes down, up to kKept bytes stay ready too: malloc gives back what is free at its top
// beyond 128 KiB, and asks for it again soon. `find` of 50 000 files does so for each of 50 directories,
// which made 1990 page faults; now it has 170. What stays is cleared when it is asked for again (a page in
// 0.1 us), not before, as most programs that give memory back at their end never do.
#include <algorithm>

#include "host/gate/gate.h"
#include "kernel/abi/mm.h"
#include "kernel/frame/huge_page_price.h"
#include "kernel/mm/address_space.h"

namespace teacup::mm {

namespace {

constexpr u64 kHuge = 2 * MiB;
constexpr u64 kAppetite = 512 * KiB;
constexpr u64 kTaste = 128 * KiB;
constexpr u64 kKept = 512 * KiB;
constexpr int kReadWrite = abi::kPROT_READ | abi::kPROT_WRITE;

}  // namespace

// Whether memory of this kind may come in huge pages: what a program will fill, as far as one can tell.
bool AddressSpace::may_be_huge_locked(const Mapping& mapping) const {
  return huge_pages_ && mapping.is_anonymous() && !mapping.shared && !mapping.no_reserve && !mapping.locked &&
         !mapping.grows_down && mapping.kind == MappingKind::kNormal &&
         mapping.prot == static_cast<u32>(kReadWrite);
}

bool AddressSpace::deserves_block_locked(u64 length) const {
  u64 data = data_bytes_ + length;
  return data >= kAppetite && block_bytes_ <= data && huge_pages_are_fair(length);
}

// Where a request without an address of its own goes if it is to have huge pages; 0: where all others go.
u64 AddressSpace::place_huge_locked(Request& request) {
  if (request.low_2g || request.is_stack || !may_be_huge_locked(request.mapping)) return 0;
  const ReadyRange& ready = ready_[kBelowMappings];
  u64 length = request.length;
  if (length >= kHuge && !huge_pages_are_fair(length)) return 0;
  request.growth = length < kHuge ? Growth::kDown : Growth::kWhole;
  if (length < kHuge) {
    if (ready.length() >= length) return ready.end - length;
    small_bytes_ += length;
    if (small_bytes_ < kTaste || !deserves_block_locked(length)) {
      request.growth = Growth::kNone;
      return 0;
    }
    // What is left of the old block, and the rest in the next.
    u64 start = ready.end - length;
    if (ready.length() > 0 && mappings_.is_free(align_down(start, kHuge), ready.start)) return start;
  }
  auto block = find_gap_locked(align_up(length, kHuge), kHuge, kGuestHighStart, map_top_);
  if (!block.ok()) {
    request.growth = Growth::kNone;
    return 0;
  }
  return length < kHuge ? block.value() + kHuge - length : block.value();
}

// Has the host map [start, end), which no mapping holds yet; what lies in a ready range needs its rights
// only.
Result<void> AddressSpace::back_anonymous_locked(u64 start, u64 end, int prot, Growth growth) {
  for (ReadyRange& ready : ready_) {
    u64 from = std::max(start, ready.start), to = std::min(end, ready.end);
    if (from >= to) continue;
    TRY(give_ready_locked(ready, from, to, prot));
    cut_ready_locked(ready, from, to);
    if (start < from)
      TRY(back_anonymous_locked(start, from, prot, growth == Growth::kDown ? growth : Growth::kNone));
    if (to < end) TRY(back_anonymous_locked(to, end, prot, growth == Growth::kUp ? growth : Growth::kNone));
    return {};
  }
  if (growth == Growth::kDown || growth == Growth::kUp) {
    bool up = growth == Growth::kUp;
    u64 block = align_down(up ? end - 1 : start, kHuge), block_end = block + kHuge;
    u64 rest = up ? end : block, rest_end = up ? block_end : start;
    bool fits = up ? block >= start : block_end <= end;
    if (fits && is_guest_range(block, kHuge) && mappings_.is_free(rest, rest_end)) {
      u64 from = up ? start : block_end, to = up ? block : end;
      if (from < to) TRY(gate::map_anonymous(from, to - from, prot));
      return map_block_locked(block, rest, rest_end, ready_[up ? kAboveBreak : kBelowMappings]);
    }
  }
  TRY(gate::map_anonymous(start, end - start, prot));
  // A host without huge pages refuses; then they are small.
  if (growth == Growth::kWhole) static_cast<void>(gate::advise(start, end - start, abi::kMADV_HUGEPAGE));
  return {};
}

// [from, to) of a ready range gets its rights, and holds zeros.
Result<void> AddressSpace::give_ready_locked(const ReadyRange& ready, u64 from, u64 to, int prot) {
  TRY(gate::protect(from, to - from, prot));
  if (from >= ready.used_end) return {};
  u64 used = std::min(to, ready.used_end) - from;
  if ((prot & abi::kPROT_WRITE) != 0) return zero_guest(from, used);
  return gate::advise(from, used, abi::kMADV_DONTNEED);
}

// The break goes down from `end` to `start`: that is ready from then on, if it may be; else false, and
// nothing has happened.
bool AddressSpace::keep_ready_locked(u64 start, u64 end) {
  ReadyRange& ready = ready_[kAboveBreak];
  if (ready.length() == 0) ready = {end, end, end};
  const Mapping* mapping = mappings_.at(start);
  if (ready.start != end || std::max(ready.used_end, end) - start > kKept || mapping == nullptr ||
      mapping->end < end || !may_be_huge_locked(*mapping) || mapping->no_fork || mapping->wipe_on_fork ||
      mappings_.size() + 2 > kMaxMappings || !gate::protect(start, end - start, abi::kPROT_NONE).ok()) {
    return false;
  }
  if (!make_room_locked(start, end, true).ok()) {
    static_cast<void>(gate::protect(start, end - start, kReadWrite));
    return false;
  }
  ready.used_end = std::max(ready.used_end, end);
  ready.start = start;
  return true;
}

// Maps a block with its page there and ready; [rest, rest_end), at one of its ends, is what nobody asked for.
Result<void> AddressSpace::map_block_locked(u64 block, u64 rest, u64 rest_end, ReadyRange& ready) {
  give_back_ready_locked(ready);
  TRY(gate::map_anonymous(block, kHuge, kReadWrite));
  block_bytes_ += kHuge;
  static_cast<void>(gate::advise(block, kHuge, abi::kMADV_HUGEPAGE));
  if (rest >= rest_end) return {};
  static_cast<void>(bring_huge_pages(block, kPageSize, abi::kMADV_POPULATE_WRITE, 1));
  if (gate::protect(rest, rest_end - rest, abi::kPROT_NONE).ok()) {
    ready = {rest, rest_end, rest};
    return {};
  }
  return gate::unmap(rest, rest_end - rest);
}

// [from, to) has become somebody's. Of what is left on both sides the larger stays ready.
void AddressSpace::cut_ready_locked(ReadyRange& ready, u64 from, u64 to) {
  ReadyRange below{ready.start, std::max(ready.start, from), ready.used_end};
  ReadyRange above{std::min(ready.end, to), ready.end, ready.used_end};
  bool keep_below = below.length() >= above.length();
  ready = keep_below ? below : above;
  give_back_ready_locked(keep_below ? above : below);
}

void AddressSpace::give_back_ready_locked(ReadyRange& ready) {
  if (ready.length() > 0) static_cast<void>(gate::unmap(ready.start, ready.length()));
  ready = {};
}

// Something else is mapped, or all is unmapped, at [start, end) on the host.
void AddressSpace::forget_ready_locked(u64 start, u64 end) {
  for (ReadyRange& ready : ready_) {
    if (start < ready.end && ready.start < end) cut_ready_locked(ready, start, end);
  }
}

// Where the break of a program that ends at `end` starts: so that a heap that outgrows kAppetite gets to a
// block at once. Never in another 2 MiB than `end`, which would cost small programs a page table.
u64 AddressSpace::break_start(u64 end) {
  u64 boundary = align_up(end, kHuge);
  return boundary - end > kAppetite ? boundary - kAppetite : end;
}

}  // namespace teacup::mm
