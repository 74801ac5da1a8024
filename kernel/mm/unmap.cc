// munmap(2), mprotect(2), msync(2)'s and munmap's writing back, and the accounts.
#include <algorithm>

#include "fs/inode.h"
#include "host/gate/gate.h"
#include "kernel/abi/mm.h"
#include "kernel/mm/address_space.h"

namespace teacup::mm {

namespace {

constexpr u32 kProtMask = abi::kPROT_READ | abi::kPROT_WRITE | abi::kPROT_EXEC;

// The most that one operation inserts: two cuts, a mapping, its rest without patched text, trampolines.
constexpr size_t kInsertions = 8;

}  // namespace

void AddressSpace::account_locked(const Mapping& mapping, s64 sign) {
  u64 bytes = mapping.length() * static_cast<u64>(sign);
  total_bytes_ += bytes;
  peak_bytes_ = std::max(peak_bytes_, total_bytes_);
  if (mapping.locked) locked_bytes_ += bytes;
  bool is_data = !mapping.shared && (mapping.prot & abi::kPROT_WRITE) != 0;
  if (is_data && mapping.kind != MappingKind::kStack) data_bytes_ += bytes;
}

// Makes [start, end) free in the map; the host is left to what is mapped there next. Afterwards there is room
// for what one operation inserts. `keep_ready`: that is anonymous memory, which takes what is ready there.
Result<void> AddressSpace::make_room_locked(u64 start, u64 end, bool keep_ready) {
  TRY(mappings_.reserve(kInsertions));
  if (!keep_ready) forget_ready_locked(start, end);
  if (mappings_.is_free(start, end)) return {};
  clear_trampolines_locked(start, end);
  mappings_.split(start);
  mappings_.split(end);
  erase_locked(start, end);
  return {};
}

// The range is cut out already.
void AddressSpace::erase_locked(u64 start, u64 end) {
  first_writes_.cut(start, end);
  size_t first = mappings_.find(start), last = first;
  bool had_text = false, had_file = false;
  while (last < mappings_.size() && mappings_[last].start < end) {
    const Mapping& mapping = mappings_[last++];
    if (mapping.is_guest()) account_locked(mapping, -1);
    had_text = had_text || mapping.text;
    if (mapping.file) {
      had_file = true;
      release_observer_locked(*mapping.file);
    }
  }
  mappings_.erase(first, last - first);
  if (end > searched_to_) searched_to_ = 0;
  if (had_text) drop_unused_trampolines_locked();
  if (had_file) drop_unused_observers_locked();
}

Result<void> AddressSpace::remove_locked(u64 start, u64 end) {
  if (mappings_.is_free(start, end)) return {};
  // A hole in the middle of one mapping makes two of it.
  if (mappings_.size() + 2 > kMaxMappings) return Errno::NOMEM;
  TRY(make_room_locked(start, end));
  return gate::unmap(start, end - start);
}

Result<void> AddressSpace::unmap(u64 address, u64 length) {
  if (!is_aligned(address, kPageSize) || length == 0) return Errno::INVAL;
  u64 end = address + page_up(length);
  if (end <= address || page_up(length) < length || !is_guest_range(address, end - address)) {
    return Errno::INVAL;
  }
  write_back_range(address, end);
  LockGuard guard(lock_);
  return remove_locked(address, end);
}

Result<void> AddressSpace::protect(u64 address, u64 length, int prot) {
  constexpr int kGrows = abi::kPROT_GROWSDOWN | abi::kPROT_GROWSUP;
  if ((prot & ~(static_cast<int>(kProtMask) | abi::kPROT_SEM | kGrows)) != 0 || (prot & kGrows) == kGrows ||
      !is_aligned(address, kPageSize)) {
    return Errno::INVAL;
  }
  if (length == 0) return {};
  u64 end = address + page_up(length);
  if (end <= address || page_up(length) < length) return Errno::NOMEM;
  constexpr int kWriteExecute = abi::kPROT_WRITE | abi::kPROT_EXEC;
  Ref<fs::File> file;
  if ((prot & kWriteExecute) == abi::kPROT_EXEC) file = find_late_text(address, end);
  Ref<Text> text = file ? text_of(*file) : Ref<Text>();
  LockGuard guard(lock_);
  u64 start = address;
  if ((prot & kGrows) != 0) {
    const Mapping* mapping = mappings_.at(address);
    if (mapping == nullptr) return Errno::NOMEM;
    bool grows = mapping->kind == MappingKind::kStack || mapping->grows_down;
    if ((prot & abi::kPROT_GROWSUP) != 0 || !grows) return Errno::INVAL;
    start = mapping->start;
  }
  auto changed = protect_locked(start, end, static_cast<u32>(prot) & kProtMask);
  if (text && changed.ok()) attach_late_text_locked(start, end, *file, text);
  return changed;
}

// As Linux: what lies before a hole, or before a mapping that does not allow it, is changed, then the error
// returned.
Result<void> AddressSpace::protect_locked(u64 start, u64 end, u32 prot) {
  Errno error = Errno::OK;
  u64 at = start;
  for (size_t i = mappings_.find(start); at < end; i++) {
    if (i == mappings_.size() || mappings_[i].start > at || !mappings_[i].is_guest()) {
      error = Errno::NOMEM;
      break;
    }
    if ((prot & abi::kPROT_WRITE) != 0 && !mappings_[i].may_write) {
      error = Errno::ACCES;
      break;
    }
    at = mappings_[i].end;
  }
  end = std::min(at, end);
  if (end > start) {
    if (mappings_.size() + 2 > kMaxMappings) return Errno::NOMEM;
    TRY(mappings_.reserve(2));
    if ((prot & abi::kPROT_WRITE) != 0) first_writes_.allow(start, end);
    first_writes_.cut(start, end);
    mappings_.split(start);
    mappings_.split(end);
    // One host call for each stretch that the host has mapped, alike.
    u64 from = start;
    for (size_t i = mappings_.find(start); i < mappings_.size() && mappings_[i].start < end; i++) {
      Mapping& mapping = mappings_[i];
      int host_prot = host_prot_locked(mapping, prot);
      bool last = mapping.end == end || host_prot_locked(mappings_[i + 1], prot) != host_prot;
      if (last || mapping.backed_end < mapping.end) {
        if (mapping.backed_end > from) TRY(gate::protect(from, mapping.backed_end - from, host_prot));
        from = mapping.end;
      }
    }
    for (size_t i = mappings_.find(start); i < mappings_.size() && mappings_[i].start < end; i++) {
      account_locked(mappings_[i], -1);
      mappings_[i].prot = prot;
      account_locked(mappings_[i], 1);
    }
    mappings_.join(start, end);
  }
  if (error != Errno::OK) return error;
  return {};
}

// What shared mappings of files with a backing outside the machine (writable host directories) changed.
// `synced`: by msync, when the times of files are due.
void AddressSpace::write_back_range(u64 start, u64 end, bool synced) {
  u64 at = start;
  while (at < end) {
    Ref<fs::File> file;
    u64 offset = 0, length = 0;
    bool writable = false;
    {
      LockGuard guard(lock_);
      for (size_t i = mappings_.find(at); i < mappings_.size() && mappings_[i].start < end; i++) {
        const Mapping& mapping = mappings_[i];
        if (!mapping.shared || !mapping.may_write || !mapping.file || mapping.file->inode() == nullptr) {
          continue;
        }
        u64 from = std::max(mapping.start, at), to = std::min(mapping.end, end);
        if (first_writes_.is_untouched(from, std::min(to, mapping.backed_end))) continue;
        file = mapping.file;
        offset = mapping.offset + (from - mapping.start);
        length = to - from;
        writable = (mapping.prot & abi::kPROT_WRITE) != 0;
        at = to;
        break;
      }
    }
    if (!file) return;
    static_cast<void>(file->inode()->write_back(offset, length));
    if (synced && writable) file->inode()->mapping_written();
  }
}

Result<void> AddressSpace::sync(u64 address, u64 length, int flags) {
  constexpr int kKnown = abi::kMS_ASYNC | abi::kMS_INVALIDATE | abi::kMS_SYNC;
  if ((flags & ~kKnown) != 0 || !is_aligned(address, kPageSize)) return Errno::INVAL;
  if ((flags & abi::kMS_ASYNC) != 0 && (flags & abi::kMS_SYNC) != 0) return Errno::INVAL;
  u64 end = address + page_up(length);
  if (end < address) return Errno::NOMEM;
  bool has_hole = false;
  {
    LockGuard guard(lock_);
    u64 at = address;
    for (size_t i = mappings_.find(address); at < end; i++) {
      if (i == mappings_.size() || mappings_[i].start > at || !mappings_[i].is_guest()) {
        has_hole = true;
        break;
      }
      if ((flags & abi::kMS_INVALIDATE) != 0 && mappings_[i].locked) return Errno::BUSY;
      at = mappings_[i].end;
    }
  }
  write_back_range(address, end, flags != abi::kMS_INVALIDATE);
  if (has_hole) return Errno::NOMEM;
  return {};
}

}  // namespace teacup::mm
