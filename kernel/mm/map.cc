// mmap(2): checks, the choice of an address, and making the host's map follow. Also brk(2).
//
// The host only ever sees fixed addresses that this map has chosen, so that two maps cannot disagree. What a
// file consists of (File::map_pieces) may be several host ranges; what lies beyond the end of the file is not
// mapped on the host at all, so that an access faults and classify_fault() makes it SIGBUS.
#include <algorithm>

#include "fs/inode.h"
#include "host/gate/gate.h"
#include "kernel/abi/fs.h"
#include "kernel/abi/mm.h"
#include "kernel/frame/pages.h"
#include "kernel/mm/address_space.h"
#include "kernel/mm/elf_layout.h"
#include "kernel/mm/shared_memory.h"

namespace teacup::mm {

namespace {

constexpr u32 kProtMask = abi::kPROT_READ | abi::kPROT_WRITE | abi::kPROT_EXEC;
constexpr u64 k32BitStart = 0x4000'0000;
constexpr u64 k32BitEnd = 0x8000'0000;

constexpr int kKnownFlags = abi::kMAP_TYPE | abi::kMAP_FIXED | abi::kMAP_ANONYMOUS | abi::kMAP_32BIT |
                            abi::kMAP_GROWSDOWN | abi::kMAP_DENYWRITE | abi::kMAP_EXECUTABLE |
                            abi::kMAP_LOCKED | abi::kMAP_NORESERVE | abi::kMAP_POPULATE | abi::kMAP_NONBLOCK |
                            abi::kMAP_STACK | abi::kMAP_HUGETLB | abi::kMAP_FIXED_NOREPLACE;

Result<void> check_file(const fs::File& file, bool shared, int prot) {
  if ((file.flags() & abi::kO_PATH) != 0) return Errno::BADF;
  if (!file.readable()) return Errno::ACCES;
  if (shared && (prot & abi::kPROT_WRITE) != 0 && !file.writable()) return Errno::ACCES;
  return {};
}

}  // namespace

Result<void> AddressSpace::check_request(Request& request, u64 hint, u64 length, int prot, int flags) const {
  Mapping& mapping = request.mapping;
  if (length == 0) return Errno::INVAL;
  int type = flags & abi::kMAP_TYPE;
  if (type == abi::kMAP_SHARED_VALIDATE) {
    if ((flags & ~kKnownFlags) != 0) return Errno::NOTSUP;
    type = abi::kMAP_SHARED;
  }
  if (type != abi::kMAP_SHARED && type != abi::kMAP_PRIVATE) return Errno::INVAL;
  request.length = page_up(length);
  if (request.length < length) return Errno::NOMEM;
  if (mapping.file && mapping.offset + request.length < mapping.offset) return Errno::OVERFLOW;
  request.fixed = (flags & (abi::kMAP_FIXED | abi::kMAP_FIXED_NOREPLACE)) != 0;
  request.no_replace = (flags & abi::kMAP_FIXED_NOREPLACE) != 0;
  request.low_2g = (flags & abi::kMAP_32BIT) != 0;
  request.populate =
      (flags & (abi::kMAP_POPULATE | abi::kMAP_LOCKED)) != 0 && (flags & abi::kMAP_NONBLOCK) == 0;
  if (request.fixed && !is_aligned(hint, kPageSize)) return Errno::INVAL;
  request.hint = page_down(hint);
  request.is_stack = (flags & abi::kMAP_STACK) != 0;
  mapping.shared = type == abi::kMAP_SHARED;
  mapping.prot = static_cast<u32>(prot) & kProtMask;
  mapping.no_reserve = (flags & abi::kMAP_NORESERVE) != 0;
  mapping.grows_down = (flags & abi::kMAP_GROWSDOWN) != 0;
  mapping.locked = (flags & abi::kMAP_LOCKED) != 0;
  if ((flags & abi::kMAP_HUGETLB) != 0) return mapping.file ? Errno::INVAL : Errno::NOMEM;  // none reserved
  if (mapping.grows_down && (mapping.shared || mapping.file)) return Errno::INVAL;
  if (!mapping.file) return {};
  TRY(check_file(*mapping.file, mapping.shared, prot));
  mapping.may_write = !mapping.shared || mapping.file->writable();
  return {};
}

// An object that ld.so starts to map: it asks for the object's whole span at its first page, then maps the
// other segments over it. This is where room for the trampolines can be left behind it.
void AddressSpace::find_text(Request& request) const {
  Mapping& mapping = request.mapping;
  if (mapping.shared || !mapping.file || mapping.file->inode() == nullptr) return;
  if (!mapping.file->inode()->is_regular()) return;
  bool executable = (mapping.prot & abi::kPROT_EXEC) != 0;
  bool is_start = mapping.offset == 0 && !request.fixed && looks_like_object(*mapping.file, request.length);
  if (!executable && !is_start) return;
  Ref<Text> text = text_of(*mapping.file);
  if (!text) return;
  if (is_start) {
    request.room = std::max(request.length, text->trampoline_offset() + text->trampoline_length());
  }
  if (executable) {
    // Text that is mapped for itself, not into an object that has been mapped whole.
    if (!request.fixed && text->covered(mapping.offset, request.length) != 0) {
      u64 trampolines_end = text->trampoline_offset() + text->trampoline_length();
      u64 start = text->object_offset(mapping.offset);
      if (trampolines_end > start) request.room = std::max(request.length, trampolines_end - start);
    }
    mapping.text = std::move(text);
  }
}

Result<u64> AddressSpace::map(u64 hint, u64 length, int prot, int flags, Ref<fs::File> file, u64 offset,
                              const Limits& limits) {
  if (!is_aligned(offset, kPageSize)) return Errno::INVAL;
  Request request;
  request.limits = limits;
  if ((flags & abi::kMAP_ANONYMOUS) == 0) {
    if (!file) return Errno::BADF;
    request.mapping.file = std::move(file);
    request.mapping.offset = offset;
  }
  TRY(check_request(request, hint, length, prot, flags));
  Mapping& mapping = request.mapping;
  bool is_regular = mapping.file && mapping.file->inode() != nullptr && mapping.file->inode()->is_regular();
  if (mapping.file && !is_regular) {
    // Refuses what cannot be mapped before anything is replaced.
    fs::MapPiece first{};
    size_t count = TRY(mapping.file->map_pieces(mapping.offset, request.length,
                                                mapping.shared && mapping.file->writable(), {&first, 1}));
    if (count > 0 && first.fd == fs::kAnonymousPiece) mapping.file = nullptr;
  }
  if (mapping.file) {
    find_text(request);
  } else {
    mapping.offset = 0;
    if (mapping.shared) {
      mapping.file = TRY(SharedMemory::create(request.length, !mapping.no_reserve));
    } else if (!mapping.no_reserve && (mapping.prot & abi::kPROT_WRITE) != 0 &&
               request.length / kPageSize > limit_pages()) {
      return Errno::NOMEM;  // as Linux's heuristic overcommit: refused only what can never be had
    }
  }
  if (request.fixed && !request.no_replace) write_back_range(request.hint, request.hint + request.length);
  LockGuard guard(lock_);
  return map_locked(request);
}

Result<u64> AddressSpace::map_locked(Request& request) {
  Mapping& mapping = request.mapping;
  u64 address = TRY(place_locked(request));
  bool is_data = !mapping.shared && (mapping.prot & abi::kPROT_WRITE) != 0;
  TRY(check_limits_locked(request.length, is_data, request.limits));
  mapping.locked = mapping.locked || lock_future_;
  if (mapping.locked && locked_bytes_ + request.length > request.limits.locked) return Errno::AGAIN;
  mapping.start = address;
  mapping.end = mapping.backed_end = address + request.length;
  TRY(make_room_locked(mapping.start, mapping.end, !mapping.file));
  if (mapping.file) {
    TRY(insert_file_locked(std::move(mapping), request.populate));
  } else {
    mapping.may_write = true;
    TRY(insert_anonymous_locked(std::move(mapping), request.populate, request.growth));
  }
  return address;
}

Result<void> AddressSpace::check_limits_locked(u64 new_bytes, bool is_data, const Limits& limits) const {
  if (new_bytes > limits.address_space || total_bytes_ > limits.address_space - new_bytes) {
    return Errno::NOMEM;
  }
  if (is_data && (new_bytes > limits.data || data_bytes_ > limits.data - new_bytes)) return Errno::NOMEM;
  if (mappings_.size() + 3 > kMaxMappings) return Errno::NOMEM;
  return {};
}

Result<u64> AddressSpace::place_locked(Request& request) {
  u64 length = request.length;
  if (request.fixed) {
    if (!is_guest_range(request.hint, length)) return Errno::NOMEM;
    if (request.hint < kGuestLowStart) return Errno::PERM;
    if (request.no_replace && !mappings_.is_free(request.hint, request.hint + length)) return Errno::EXIST;
    return request.hint;
  }
  if (!is_guest_range(0, length)) return Errno::NOMEM;
  u64 room = std::max(request.room, length);
  if (request.hint >= kGuestLowStart && is_guest_range(request.hint, room) &&
      mappings_.is_free(request.hint, request.hint + room)) {
    return request.hint;
  }
  if (u64 address = place_huge_locked(request); address != 0) return address;
  if (request.low_2g) return find_gap_locked(room, kPageSize, k32BitStart, k32BitEnd);
  auto high = find_gap_locked(room, kPageSize, kGuestHighStart, map_top_);
  if (high.ok()) return high;
  auto above = find_gap_locked(room, kPageSize, map_top_, kGuestHighEnd);
  if (above.ok()) return above;
  return find_gap_locked(room, kPageSize, kGuestLowStart + MiB, kGuestLowEnd);
}

// The highest free range of `length` bytes in [bottom, top), aligned. ENOMEM. What is kept ready is taken
// last.
Result<u64> AddressSpace::find_gap_locked(u64 length, u64 align, u64 bottom, u64 top) {
  auto gap = find_unready_gap_locked(length, align, bottom, top);
  ReadyRange& ready = ready_[kBelowMappings];
  if (gap.ok() || ready.length() == 0) return gap;
  give_back_ready_locked(ready);
  searched_to_ = 0;
  return find_unready_gap_locked(length, align, bottom, top);
}

Result<u64> AddressSpace::find_unready_gap_locked(u64 length, u64 align, u64 bottom, u64 top) {
  const ReadyRange& ready = ready_[kBelowMappings];
  bool is_main = top == map_top_;
  u64 end = top;
  if (is_main && searched_to_ != 0 && length >= searched_size_) end = searched_to_;
  size_t index = mappings_.find(end - 1);
  if (index < mappings_.size() && mappings_[index].start < end) {
    end = mappings_[index].start;
  }
  for (;;) {
    // mappings_[index - 1] is the next one below `end`.
    u64 gap_start = std::max(bottom, index == 0 ? 0 : mappings_[index - 1].end);
    if (end >= gap_start + length) {
      u64 address = align_down(end - length, align);
      if (address < ready.end && ready.start < address + length) {
        end = ready.start;
        continue;
      }
      if (address >= gap_start) {
        if (is_main && align == kPageSize) {
          searched_to_ = end;
          searched_size_ = length;
        }
        return address;
      }
    }
    if (index == 0 || mappings_[index - 1].start <= bottom) return Errno::NOMEM;
    end = mappings_[--index].start;
  }
}

Result<u64> AddressSpace::find_free(u64 length, u64 align) {
  LockGuard guard(lock_);
  auto high = find_gap_locked(length, align, kGuestHighStart, map_top_);
  if (high.ok()) return high;
  return find_gap_locked(length, align, kGuestLowStart + MiB, kGuestLowEnd);
}

bool AddressSpace::is_free(u64 address, u64 length) const {
  LockGuard guard(lock_);
  return mappings_.is_free(address, address + length);
}

void AddressSpace::set_map_top(u64 address) {
  LockGuard guard(lock_);
  map_top_ = address;
  searched_to_ = 0;
}

// The range is free in the map (make_room_locked); on the host old mappings may still be there, and are
// replaced.
Result<void> AddressSpace::insert_anonymous_locked(Mapping mapping, bool populate, Growth growth) {
  auto mapped = back_anonymous_locked(mapping.start, mapping.end, host_prot_locked(mapping), growth);
  if (mapped.ok() && populate) {
    // As mmap(2) with MAP_POPULATE: memory that cannot be had now is not an error.
    static_cast<void>(gate::advise(mapping.start, mapping.length(), abi::kMADV_POPULATE_WRITE));
  }
  if (!mapped.ok()) {
    static_cast<void>(gate::unmap(mapping.start, mapping.length()));
    return mapped.error();
  }
  account_locked(mapping, 1);
  mappings_.insert(std::move(mapping));
  return {};
}

Result<void> AddressSpace::insert_file_locked(Mapping mapping, bool populate) {
  if (mapping.text) {
    // The part of the range that the file's executable segment covers; the rest is mapped as it is.
    u64 covered = mapping.text->covered(mapping.offset, mapping.length());
    if (covered == 0) {
      mapping.text = nullptr;
    } else if (covered < mapping.length()) {
      Mapping rest = mapping.slice(mapping.start + covered, mapping.end);
      rest.text = nullptr;
      mapping = mapping.slice(mapping.start, rest.start);
      TRY(insert_file_locked(std::move(rest), populate));
    }
  }
  // First: pages that somebody maps are not dropped.
  observe_locked(*mapping.file);
  if (mapping.text && !attach_text_locked(mapping)) mapping.text = nullptr;
  if (!mapping.text) {
    bool awaits = awaits_write(mapping, populate);
    auto mapped = host_map_file_locked(mapping, awaits);
    if (mapped.ok() && awaits && mapping.backed_end > mapping.start &&
        !first_writes_.add(mapping.start, mapping.backed_end, mapping.prot, *mapping.file->inode())) {
      mapped =
          gate::protect(mapping.start, mapping.backed_end - mapping.start, static_cast<int>(mapping.prot));
    }
    if (!mapped.ok()) {
      static_cast<void>(gate::unmap(mapping.start, mapping.length()));
      release_observer_locked(*mapping.file);
      drop_unused_observers_locked();
      return mapped.error();
    }
  }
  make_anonymous_locked(mapping);
  if (populate && mapping.backed_end > mapping.start) {
    bool writes = (mapping.prot & abi::kPROT_WRITE) != 0;
    static_cast<void>(gate::advise(mapping.start, mapping.backed_end - mapping.start,
                                   writes ? abi::kMADV_POPULATE_WRITE : abi::kMADV_POPULATE_READ));
  }
  account_locked(mapping, 1);
  mappings_.insert(std::move(mapping));
  return {};
}

// The file is to be told of the first write. Populating counts as one; code is copied_text.cc's business.
bool AddressSpace::awaits_write(const Mapping& mapping, bool populate) {
  if (!mapping.shared || (mapping.prot & abi::kPROT_WRITE) == 0) return false;
  fs::Inode* inode = mapping.file->inode();
  if (inode == nullptr || !inode->is_regular()) return false;
  if (!populate && (mapping.prot & abi::kPROT_EXEC) == 0) return true;
  inode->mapping_written();
  return false;
}

// Maps the file's own pages at [start, end); sets backed_end to where they stop. `read_only`: without
// PROT_WRITE.
Result<void> AddressSpace::host_map_file_locked(Mapping& mapping, bool read_only) {
  constexpr size_t kBatch = 16;
  bool shared_writable = mapping.shared && mapping.may_write;
  u64 at = mapping.start;
  while (at < mapping.end) {
    fs::MapPiece pieces[kBatch];
    size_t count = TRY(mapping.file->map_pieces(mapping.offset + (at - mapping.start), mapping.end - at,
                                                shared_writable, pieces));
    if (count == 0) break;
    for (size_t i = 0; i < count && at < mapping.end; i++) {
      const fs::MapPiece& piece = pieces[i];
      u64 length = std::min(page_up(piece.length), mapping.end - at);
      for (u64 done = 0; done < length;) {
        FirstWrites::Hold hold(first_writes_, at + done);
        u64 part = std::min(length - done, hold.end() - (at + done));
        int prot = host_prot_locked(mapping);
        if (read_only || hold.is_read_only()) prot = (prot & ~abi::kPROT_WRITE) | abi::kPROT_READ;
        TRY(gate::map_file(at + done, part, prot, mapping.shared, piece.fd, piece.host_offset + done));
        done += part;
      }
      at += length;
    }
  }
  mapping.backed_end = at;
  if (at < mapping.end) static_cast<void>(gate::unmap(at, mapping.end - at));
  return {};
}

// brk(2). Shrinking unmaps; growing maps anonymous memory, unless something is in the way.
u64 AddressSpace::brk(u64 address, const Limits& limits) {
  LockGuard guard(lock_);
  if (address < brk_start_ || brk_start_ == 0) return brk_;
  u64 old_end = page_up(brk_), new_end = page_up(address);
  if (new_end < address) return brk_;
  if (new_end < old_end) {
    if (!keep_ready_locked(new_end, old_end) && !remove_locked(new_end, old_end).ok()) return brk_;
  } else if (new_end > old_end) {
    u64 growth = new_end - old_end;
    // A page stays free behind the break, so that it does not run into the next mapping unnoticed.
    if (!is_guest_range(old_end, growth + kPageSize) || !mappings_.is_free(old_end, new_end + kPageSize) ||
        address - brk_start_ > limits.data || !check_limits_locked(growth, true, limits).ok() ||
        growth / kPageSize > limit_pages() || !make_room_locked(old_end, new_end, true).ok()) {
      return brk_;
    }
    Mapping mapping;
    mapping.start = old_end;
    mapping.end = mapping.backed_end = new_end;
    mapping.prot = abi::kPROT_READ | abi::kPROT_WRITE;
    mapping.locked = lock_future_;
    bool in_block = may_be_huge_locked(mapping) && deserves_block_locked(growth);
    if (!insert_anonymous_locked(std::move(mapping), false, in_block ? Growth::kUp : Growth::kNone).ok())
      return brk_;
  }
  brk_ = address;
  return brk_;
}

u64 AddressSpace::set_brk_start(u64 end) {
  LockGuard guard(lock_);
  return brk_start_ = brk_ = break_start(page_up(end));
}

Result<void> AddressSpace::map_stack(u64 top, u64 size, bool executable) {
  LockGuard guard(lock_);
  Mapping mapping;
  mapping.start = top - size;
  mapping.end = mapping.backed_end = top;
  mapping.prot = abi::kPROT_READ | abi::kPROT_WRITE | (executable ? abi::kPROT_EXEC : 0);
  mapping.no_reserve = true;
  mapping.kind = MappingKind::kStack;
  if (!is_guest_range(mapping.start, size) || size == 0) return Errno::NOMEM;
  TRY(make_room_locked(mapping.start, mapping.end));
  return insert_anonymous_locked(std::move(mapping), false);
}

Result<u64> AddressSpace::map_vdso(const PageRun& pages) {
  LockGuard guard(lock_);
  u64 address = TRY(find_gap_locked(pages.bytes(), kPageSize, kGuestHighStart, map_top_));
  TRY(mappings_.reserve(1));
  Mapping mapping;
  mapping.start = address;
  mapping.end = mapping.backed_end = address + pages.bytes();
  mapping.prot = abi::kPROT_READ | abi::kPROT_EXEC;
  mapping.kind = MappingKind::kVdso;
  TRY(gate::map_file(address, pages.bytes(), static_cast<int>(mapping.prot), false, kArenaFd, pages.offset));
  account_locked(mapping, 1);
  mappings_.insert(std::move(mapping));
  return address;
}

}  // namespace teacup::mm
