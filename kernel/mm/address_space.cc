#include "kernel/mm/address_space.h"

#include <algorithm>

#include "fs/inode.h"
#include "host/gate/gate.h"
#include "kernel/abi/mm.h"
#include "kernel/frame/heap.h"

namespace teacup::mm {

namespace {

constexpr u64 kGuestLowLength = kGuestLowEnd - kGuestLowStart;
constexpr u64 kGuestHighLength = kGuestHighEnd - kGuestHighStart;

enum : u32 { kSlotUnmapped, kSlotFree, kSlotUsed };

constexpr u64 slot_base(u32 slot) {
  return kStackArea + slot * kStackSlotSize;
}

}  // namespace

Result<Ref<AddressSpace>> AddressSpace::create() {
  return make_ref<AddressSpace>();
}

// The host process is gone or going: nothing is unmapped.
void AddressSpace::destroy(AddressSpace* space) {
  if (space->mappings_.size() > 0) space->forget();
  teacup::destroy(space);
}

void AddressSpace::forget() {
  write_back_range(0, kGuestHighEnd);
  LockGuard guard(lock_);
  for (size_t i = 0; i < mappings_.size(); i++) {
    if (mappings_[i].file) release_observer_locked(*mappings_[i].file);
  }
  first_writes_.clear();
  mappings_.clear();
  drop_unused_observers_locked();
  total_bytes_ = data_bytes_ = locked_bytes_ = 0;
  searched_to_ = 0;
  brk_ = brk_start_ = 0;
  lock_future_ = false;
  for (ReadyRange& ready : ready_) ready = {};
  block_bytes_ = small_bytes_ = 0;
  layout_ = {};
  forget_texts_locked();
}

void AddressSpace::clear() {
  forget();
  // Everything the guest can have mapped, whatever the map says.
  static_cast<void>(gate::unmap(kGuestLowStart, kGuestLowLength));
  static_cast<void>(gate::unmap(kGuestHighStart, kGuestHighLength));
}

void AddressSpace::start_again() {
  clear();
  LockGuard guard(lock_);
  peak_bytes_ = 0;
  stale_.store(false, std::memory_order_seq_cst);
  retried_address_ = 0;
  retries_ = 0;
}

Result<Ref<AddressSpace>> AddressSpace::fork_copy_locked(u32 stack_slot) {
  Ref<AddressSpace> copy = TRY(create());
  AddressSpace& child = *copy;
  TRY(child.mappings_.reserve(mappings_.size() + 8));
  child.first_writes_.copy(first_writes_);
  for (size_t i = 0; i < mappings_.size(); i++) {
    const Mapping& mapping = mappings_[i];
    if (mapping.no_fork) {
      child.first_writes_.cut(mapping.start, mapping.end);
      continue;
    }
    Mapping own = mapping;
    own.locked = false;  // mlock(2): not inherited
    child.account_locked(own, own.is_guest() ? 1 : 0);
    if (own.file) child.observe_locked(*own.file);
    child.mappings_.insert_at(child.mappings_.size(), std::move(own));
  }
  child.map_top_ = map_top_;
  child.brk_start_ = brk_start_;
  child.brk_ = brk_;
  std::copy(std::begin(ready_), std::end(ready_), std::begin(child.ready_));
  child.block_bytes_ = block_bytes_;
  child.small_bytes_ = small_bytes_;
  child.huge_pages_ = huge_pages_;
  child.layout_ = layout_;
  for (u32 i = 0; i < text_count_; i++) child.remember_text_locked(*texts_[i]);
  child.stale_.store(stale_.load(std::memory_order_seq_cst), std::memory_order_seq_cst);
  // The host clone copies every stack that is mapped; of these only the caller's is in use.
  LockGuard guard(slots_lock_);
  child.slots_ = TRY(HeapArray<Slot>::create(slots_.size()));
  for (size_t i = 0; i < slots_.size(); i++) {
    child.slots_[i] = {nullptr, slots_[i].state == kSlotUnmapped ? kSlotUnmapped : kSlotFree};
  }
  if (stack_slot < child.slots_.size()) child.slots_[stack_slot].state = kSlotUsed;
  return copy;
}

Result<u32> AddressSpace::allocate_stack_slot() {
  LockGuard map_guard(lock_);
  u32 slot = 0;
  bool is_mapped = false;
  {
    LockGuard guard(slots_lock_);
    while (slot < slots_.size() && slots_[slot].state == kSlotUsed) slot++;
    if (slot == slots_.size()) {
      if (slot >= kMaxStackSlots) return Errno::AGAIN;
      auto grown = HeapArray<Slot>::create(std::max<size_t>(4, slot * 2));
      if (!grown.ok()) return Errno::AGAIN;
      std::copy(slots_.begin(), slots_.end(), grown.value().begin());
      slots_ = std::move(grown).value();
    }
    is_mapped = slots_[slot].state == kSlotFree;
    slots_[slot] = {nullptr, kSlotUsed};
  }
  if (is_mapped) return slot;
  // The pages between and before stay unmapped: guards.
  constexpr int kReadWrite = abi::kPROT_READ | abi::kPROT_WRITE;
  bool mapped = gate::map_anonymous(stack_top(slot) - kKernelStackSize, kKernelStackSize, kReadWrite).ok() &&
                gate::map_anonymous(signal_stack(slot), kSignalStackSize, kReadWrite).ok();
  if (mapped) return slot;
  LockGuard guard(slots_lock_);
  slots_[slot].state = kSlotUnmapped;
  return Errno::AGAIN;
}

void AddressSpace::release_stack_slot(u32 slot) {
  LockGuard guard(slots_lock_);
  if (slot < slots_.size()) slots_[slot] = {nullptr, kSlotFree};
}

void AddressSpace::set_slot_task(u32 slot, TaskCore* task) {
  LockGuard guard(slots_lock_);
  if (slot < slots_.size()) slots_[slot].task = task;
}

u64 AddressSpace::stack_top(u32 slot) {
  return slot_base(slot) + kPageSize + kKernelStackSize;
}
u64 AddressSpace::signal_stack(u32 slot) {
  return stack_top(slot) + kPageSize;
}

Result<WordKey> AddressSpace::word_key(u64 address, bool is_private) {
  WordKey own{reinterpret_cast<u64>(this), address};
  if (is_private) return own;
  LockGuard guard(lock_);
  const Mapping* mapping = mappings_.at(address);
  if (mapping == nullptr || !mapping->is_guest()) return Errno::FAULT;
  if (!mapping->shared || !mapping->file) return own;
  const fs::Inode* inode = mapping->file->inode();
  u64 object = inode != nullptr ? reinterpret_cast<u64>(inode) : reinterpret_cast<u64>(mapping->file.get());
  return WordKey{object, mapping->offset + (address - mapping->start)};
}

Result<MappingInfo> AddressSpace::next_mapping(u64 address, bool with_trampolines) const {
  LockGuard guard(lock_);
  for (size_t i = mappings_.find(address); i < mappings_.size(); i++) {
    const Mapping& mapping = mappings_[i];
    if (!mapping.is_guest() && !with_trampolines) continue;
    const char* name = nullptr;
    if (mapping.kind == MappingKind::kStack) name = "[stack]";
    if (mapping.kind == MappingKind::kVdso) name = "[vdso]";
    bool in_heap = brk_ > brk_start_ && mapping.start < page_up(brk_) && mapping.end > brk_start_;
    if (name == nullptr && !mapping.file && in_heap) name = "[heap]";
    return MappingInfo{mapping.start,  mapping.end,  mapping.prot, mapping.shared,      mapping.locked,
                       mapping.offset, mapping.file, name,         mapping.object_base, !mapping.is_guest()};
  }
  return Errno::NOENT;
}

Totals AddressSpace::totals() const {
  LockGuard guard(lock_);
  Totals totals;
  for (size_t i = 0; i < mappings_.size(); i++) {
    const Mapping& mapping = mappings_[i];
    if (!mapping.is_guest()) continue;
    totals.mappings++;
    u64 pages = mapping.length() / kPageSize;
    if (mapping.kind == MappingKind::kStack) totals.stack += pages;
    if (mapping.shared) totals.shared += pages;
    if (mapping.file && (mapping.prot & abi::kPROT_EXEC) != 0) totals.text += pages;
  }
  totals.size = total_bytes_ / kPageSize;
  totals.peak = peak_bytes_ / kPageSize;
  totals.data = data_bytes_ / kPageSize;
  totals.locked = locked_bytes_ / kPageSize;
  return totals;
}

ProgramLayout AddressSpace::layout() const {
  LockGuard guard(lock_);
  return layout_;
}
void AddressSpace::set_layout(const ProgramLayout& layout) {
  LockGuard guard(lock_);
  layout_ = layout;
}
void AddressSpace::allow_huge_pages(bool allow) {
  LockGuard guard(lock_);
  huge_pages_ = allow;
}
bool AddressSpace::allows_huge_pages() const {
  LockGuard guard(lock_);
  return huge_pages_;
}
u64 AddressSpace::current_brk() const {
  LockGuard guard(lock_);
  return brk_;
}

bool AddressSpace::is_mapped(u64 address, u64 length) const {
  if (address + length < address) return false;
  LockGuard guard(lock_);
  u64 at = address, end = address + length;
  for (size_t i = mappings_.find(address); i < mappings_.size() && at < end; i++) {
    if (mappings_[i].start > at || !mappings_[i].is_guest()) return false;
    at = mappings_[i].end;
  }
  return at >= end;
}

}  // namespace teacup::mm
