// madvise(2), mincore(2), mlock(2) and its kin.
#include <algorithm>

#include "fs/inode.h"
#include "host/gate/gate.h"
#include "kernel/abi/mm.h"
#include "kernel/mm/address_space.h"

namespace teacup::mm {

namespace {

bool is_known(int advice) {
  return (advice >= abi::kMADV_NORMAL && advice <= abi::kMADV_DONTNEED) ||
         (advice >= abi::kMADV_FREE && advice <= abi::kMADV_COLLAPSE);
}

// Advice that becomes an attribute of the mapping, and so cuts it.
bool sets_attribute(int advice) {
  return advice == abi::kMADV_DONTFORK || advice == abi::kMADV_DOFORK || advice == abi::kMADV_WIPEONFORK ||
         advice == abi::kMADV_KEEPONFORK;
}

}  // namespace

Result<void> AddressSpace::advise(u64 address, u64 length, int advice) {
  if (advice == abi::kMADV_HWPOISON || advice == abi::kMADV_SOFT_OFFLINE) return Errno::PERM;
  if (!is_known(advice) || !is_aligned(address, kPageSize)) return Errno::INVAL;
  u64 end = address + page_up(length);
  if (page_up(length) < length || end < address) return Errno::INVAL;
  if (end == address) return {};
  LockGuard guard(lock_);
  if (sets_attribute(advice)) {
    if (mappings_.size() + 2 > kMaxMappings) return Errno::NOMEM;
    TRY(mappings_.reserve(2));
    mappings_.split(address);
    mappings_.split(end);
  }
  bool has_hole = false;
  Errno error = Errno::OK;
  u64 at = address;
  for (size_t i = mappings_.find(address); at < end && error == Errno::OK; i++) {
    if (i == mappings_.size() || mappings_[i].start >= end) {
      has_hole = true;
      break;
    }
    Mapping& mapping = mappings_[i];
    if (!mapping.is_guest()) continue;
    if (mapping.start > at) has_hole = true;
    u64 from = std::max(mapping.start, address);
    error = advise_one_locked(mapping, from, std::min(mapping.end, end), advice).error();
    at = mapping.end;
  }
  if (sets_attribute(advice)) mappings_.join(address, end);
  if (error != Errno::OK) return error;
  if (has_hole) return Errno::NOMEM;
  return {};
}

Result<void> AddressSpace::advise_one_locked(Mapping& mapping, u64 start, u64 end, int advice) {
  u64 backed = std::max(start, std::min(end, mapping.backed_end)) - start;
  auto host = [&]() -> Result<void> {
    if (backed == 0) return {};
    return gate::advise(start, backed, advice);
  };
  switch (advice) {
    case abi::kMADV_DONTNEED:
      if (mapping.locked) return Errno::INVAL;
      return host();
    case abi::kMADV_DONTNEED_LOCKED:
      return backed == 0 ? Result<void>() : gate::advise(start, backed, abi::kMADV_DONTNEED);
    case abi::kMADV_FREE:
      if (!mapping.is_anonymous()) return Errno::INVAL;
      return host();
    case abi::kMADV_REMOVE:
      if (mapping.locked || !mapping.file) return Errno::INVAL;
      if (!mapping.shared || !mapping.may_write) return Errno::ACCES;
      return mapping.file->allocate(abi::kFALLOC_FL_PUNCH_HOLE | abi::kFALLOC_FL_KEEP_SIZE,
                                    mapping.offset + (start - mapping.start), end - start);
    case abi::kMADV_DONTFORK:
    case abi::kMADV_DOFORK:
      mapping.no_fork = advice == abi::kMADV_DONTFORK;
      return host();
    case abi::kMADV_WIPEONFORK:
    case abi::kMADV_KEEPONFORK:
      if (!mapping.is_anonymous() || mapping.shared) return Errno::INVAL;
      mapping.wipe_on_fork = advice == abi::kMADV_WIPEONFORK;
      return host();
    case abi::kMADV_HUGEPAGE:
    case abi::kMADV_NOHUGEPAGE:
      static_cast<void>(host());
      return {};  // a host without them
    case abi::kMADV_POPULATE_WRITE:
      if (backed != 0 && first_writes_.is_untouched(start, start + backed)) {
        mapping.file->inode()->mapping_written();
      }
      first_writes_.allow(start, end);
      [[fallthrough]];
    case abi::kMADV_POPULATE_READ:
      if (backed < end - start) return Errno::FAULT;
      return host();
    case abi::kMADV_COLLAPSE:
      return host();
    default:
      return {};  // hints, and core dumps that are never made
  }
}

Result<void> AddressSpace::resident(u64 address, std::span<u8> pages) {
  LockGuard guard(lock_);
  u64 at = address, end = address + pages.size() * kPageSize;
  for (size_t i = mappings_.find(address); at < end; i++) {
    if (i == mappings_.size() || mappings_[i].start > at || !mappings_[i].is_guest()) return Errno::NOMEM;
    for (; at < std::min(mappings_[i].end, end); at += kPageSize) {
      pages[(at - address) / kPageSize] = at < mappings_[i].backed_end ? 1 : 0;
    }
  }
  return {};
}

Result<void> AddressSpace::lock_memory(u64 address, u64 length, bool lock, const Limits& limits) {
  u64 start = page_down(address), end = page_up(address + length);
  if (address + length < address || end < start) return Errno::INVAL;
  if (lock && limits.locked == 0) return Errno::PERM;
  if (end == start) return {};
  LockGuard guard(lock_);
  u64 added = 0, at = start;
  for (size_t i = mappings_.find(start); at < end; i++) {
    if (i == mappings_.size() || mappings_[i].start > at || !mappings_[i].is_guest()) return Errno::NOMEM;
    if (!mappings_[i].locked) added += std::min(mappings_[i].end, end) - at;
    at = mappings_[i].end;
  }
  if (lock && (added > limits.locked || locked_bytes_ > limits.locked - added)) return Errno::NOMEM;
  if (mappings_.size() + 2 > kMaxMappings) return Errno::NOMEM;
  TRY(mappings_.reserve(2));
  mappings_.split(start);
  mappings_.split(end);
  for (size_t i = mappings_.find(start); i < mappings_.size() && mappings_[i].start < end; i++) {
    account_locked(mappings_[i], -1);
    mappings_[i].locked = lock;
    account_locked(mappings_[i], 1);
  }
  mappings_.join(start, end);
  return {};
}

Result<void> AddressSpace::lock_all(int flags, const Limits& limits) {
  constexpr int kKnown = abi::kMCL_CURRENT | abi::kMCL_FUTURE | abi::kMCL_ONFAULT;
  if ((flags & ~kKnown) != 0 || (flags & (abi::kMCL_CURRENT | abi::kMCL_FUTURE)) == 0) return Errno::INVAL;
  if (limits.locked == 0) return Errno::PERM;
  LockGuard guard(lock_);
  bool current = (flags & abi::kMCL_CURRENT) != 0;
  if (current && total_bytes_ > limits.locked) return Errno::NOMEM;
  lock_future_ = (flags & abi::kMCL_FUTURE) != 0;
  for (size_t i = 0; i < mappings_.size() && current; i++) {
    if (!mappings_[i].is_guest()) continue;
    account_locked(mappings_[i], -1);
    mappings_[i].locked = true;
    account_locked(mappings_[i], 1);
  }
  return {};
}

Result<void> AddressSpace::unlock_all() {
  LockGuard guard(lock_);
  lock_future_ = false;
  for (size_t i = 0; i < mappings_.size(); i++) mappings_[i].locked = false;
  locked_bytes_ = 0;
  mappings_.join(0, kGuestHighEnd);
  return {};
}

}  // namespace teacup::mm
