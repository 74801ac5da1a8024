// mremap(2). Anonymous memory is moved by the host, which keeps its pages. A guest mapping can be several
// mappings on the host (which never joins some that look alike to us), and the host moves only one at a time:
// when it refuses, pages are moved by copying them. Files are mapped anew at the new place, where nothing
// private has to be kept.
#include <algorithm>

#include "host/gate/gate.h"
#include "kernel/abi/mm.h"
#include "kernel/frame/pages.h"
#include "kernel/mm/address_space.h"

namespace teacup::mm {

namespace {

constexpr int kReadWrite = abi::kPROT_READ | abi::kPROT_WRITE;

bool overlaps(u64 a, u64 a_length, u64 b, u64 b_length) {
  return a < b + b_length && b < a + a_length;
}

bool is_zero(const u64* words) {
  for (size_t i = 0; i < kPageSize / sizeof(u64); i++) {
    if (words[i] != 0) return false;
  }
  return true;
}

Result<void> check(u64 old_address, u64 old_length, u64 new_length, int flags, u64 new_address) {
  constexpr int kKnown = abi::kMREMAP_MAYMOVE | abi::kMREMAP_FIXED | abi::kMREMAP_DONTUNMAP;
  bool may_move = (flags & abi::kMREMAP_MAYMOVE) != 0;
  bool fixed = (flags & abi::kMREMAP_FIXED) != 0, keep = (flags & abi::kMREMAP_DONTUNMAP) != 0;
  if ((flags & ~kKnown) != 0 || ((fixed || keep) && !may_move)) return Errno::INVAL;
  if (keep && old_length != new_length) return Errno::INVAL;
  if (!is_aligned(old_address, kPageSize) || new_length == 0) return Errno::INVAL;
  if (fixed) {
    if (!is_aligned(new_address, kPageSize) || !is_guest_range(new_address, new_length)) return Errno::INVAL;
    if (new_address < kGuestLowStart) return Errno::PERM;
    if (overlaps(old_address, old_length, new_address, new_length)) return Errno::INVAL;
  }
  return {};
}

}  // namespace

Result<u64> AddressSpace::remap(u64 old_address, u64 old_length, u64 new_length, int flags, u64 new_address,
                                const Limits& limits) {
  if (page_up(new_length) < new_length || page_up(old_length) < old_length) return Errno::INVAL;
  old_length = page_up(old_length);
  new_length = page_up(new_length);
  TRY(check(old_address, old_length, new_length, flags, new_address));
  if (old_address + old_length < old_address) return Errno::FAULT;
  bool fixed = (flags & abi::kMREMAP_FIXED) != 0, keep = (flags & abi::kMREMAP_DONTUNMAP) != 0;
  if (fixed) write_back_range(new_address, new_address + new_length);
  LockGuard guard(lock_);
  const Mapping* mapping = mappings_.at(old_address);
  if (mapping == nullptr || !mapping->is_guest()) return Errno::FAULT;
  if (old_length == 0 && !mapping->shared) return Errno::INVAL;
  if (keep && !mapping->is_anonymous()) return Errno::INVAL;
  if (old_length > new_length && !fixed) {
    TRY(remove_locked(old_address + new_length, old_address + old_length));
    return old_address;
  }
  if (old_length > new_length) {
    TRY(remove_locked(old_address + new_length, old_address + old_length));
    old_length = new_length;
    mapping = mappings_.at(old_address);
    if (mapping == nullptr) return Errno::FAULT;
  }
  if (old_length > mapping->end - old_address) return Errno::FAULT;
  if (old_length == new_length && !fixed && !keep) return old_address;

  u64 growth = new_length - (keep ? 0 : old_length);
  bool is_data = !mapping->shared && (mapping->prot & abi::kPROT_WRITE) != 0;
  TRY(check_limits_locked(growth, is_data, limits));
  if (mapping->locked && locked_bytes_ + growth > limits.locked) return Errno::AGAIN;
  if (!mapping->file && !mapping->no_reserve && is_data && growth / kPageSize > limit_pages()) {
    return Errno::NOMEM;
  }
  u64 old_end = old_address + old_length;
  if (!fixed && !keep && old_length != 0 && old_end == mapping->end &&
      is_guest_range(old_address, new_length) && mappings_.is_free(old_end, old_address + new_length)) {
    TRY(grow_locked(old_address, old_end, growth));
    return old_address;
  }
  if ((flags & abi::kMREMAP_MAYMOVE) == 0) return Errno::NOMEM;
  if (mapping->text) {
    Ref<Text> text = mapping->text;  // patched text does not leave its trampolines
    detach_text_locked(*text, mapping->object_base);
  }
  if (!fixed) {
    Request place;
    place.length = new_length;
    place.hint = keep ? new_address : 0;
    new_address = TRY(place_locked(place));
  }
  TRY(make_room_locked(new_address, new_address + new_length));
  return move_locked(old_address, old_length, new_length, new_address, keep || old_length == 0);
}

// What lies behind the mapping that ends at `end` is free.
Result<void> AddressSpace::grow_locked(u64 address, u64 end, u64 growth) {
  TRY(mappings_.reserve(4));
  Mapping more = *mappings_.at(address);
  more.offset = more.file ? more.offset + (end - more.start) : 0;
  more.start = end;
  more.end = more.backed_end = end + growth;
  more.text = nullptr;
  more.object_base = 0;
  if (more.file) return insert_file_locked(std::move(more), false);
  return insert_anonymous_locked(std::move(more), false);
}

// [target, target + new_length) is free. `keep_old`: MREMAP_DONTUNMAP, or a second mapping of shared pages.
Result<u64> AddressSpace::move_locked(u64 address, u64 old_length, u64 new_length, u64 target,
                                      bool keep_old) {
  TRY(mappings_.reserve(8));
  const Mapping& old = *mappings_.at(address);
  Mapping to = old.slice(address, std::max(address + old_length, address + kPageSize));
  to.start = target;
  to.end = to.backed_end = target + new_length;
  if (old_length == 0) {
    TRY(insert_file_locked(std::move(to), false));
    return target;
  }
  Mapping from = old.slice(address, address + old_length);
  if (to.file && to.shared) {
    TRY(insert_file_locked(to, false));
    if (!keep_old) TRY(remove_locked(from.start, from.end));
    return target;
  }
  if (to.file) {
    // The pages that may be the process's own, then what the file has behind them.
    Mapping head = to.slice(target, target + old_length);
    head.backed_end = target + (from.backed_end - from.start);
    TRY(move_pages_locked(from, head));
    account_locked(head, 1);
    Mapping tail = to.slice(head.end, to.end);
    mappings_.insert(std::move(head));
    if (tail.length() > 0) TRY(insert_file_locked(std::move(tail), false));
  } else {
    TRY(move_pages_locked(from, to));
    account_locked(to, 1);
    mappings_.insert(std::move(to));
  }
  if (keep_old) {
    TRY(gate::map_anonymous(from.start, from.length(), host_prot_locked(from)));
    return target;
  }
  // On the host the old place is empty; the map follows.
  TRY(remove_locked(from.start, from.end));
  return target;
}

// Moves from's pages to to's place, which may be longer for anonymous memory.
Result<void> AddressSpace::move_pages_locked(const Mapping& from, const Mapping& to) {
  u64 backed = from.backed_end - from.start;
  u64 length = from.file ? backed : to.length();
  if (length == 0) return {};
  if (gate::remap(from.start, backed, to.start, length).ok()) return {};
  auto mapped = gate::map_anonymous(to.start, length, kReadWrite);
  if (mapped.ok() && (from.prot & abi::kPROT_READ) == 0) {
    mapped = gate::protect(from.start, backed, static_cast<int>(from.prot) | abi::kPROT_READ);
  }
  if (mapped.ok()) {
    // By way of a page of the kernel's, so that pages of zeros stay untouched: a sparse area does not become
    // a full one.
    auto page = HeapArray<u64>::create(kPageSize / sizeof(u64));
    mapped = page.ok() ? Result<void>() : page.error();
    for (u64 at = 0; at < backed && mapped.ok(); at += kPageSize) {
      u64* words = page.value().data();
      mapped = copy_from_guest(words, from.start + at, kPageSize);
      if (mapped.ok() && !is_zero(words)) mapped = copy_to_guest(to.start + at, words, kPageSize);
    }
  }
  if (mapped.ok() && to.prot != static_cast<u32>(kReadWrite)) {
    mapped = gate::protect(to.start, length, host_prot_locked(to));
  }
  if (!mapped.ok()) static_cast<void>(gate::unmap(to.start, length));
  return mapped;
}

}  // namespace teacup::mm
