// Files that change under their mappings: an observer for each inode that an address space maps. The inode
// calls it under its own lock when pages move (copy-up) or its end does; it marks the space stale and
// interrupts the tasks that run there, which call bring_up_to_date() on their way out of the kernel.
//
// What is mapped anew: shared mappings as a whole; of private ones only what the end of the file made come or
// go, so that pages the process has written to stay. A private mapping of a file that is copied up keeps
// showing the old content, as on Linux's overlayfs.
#include "fs/inode.h"
#include "host/gate/gate.h"
#include "kernel/abi/mm.h"
#include "kernel/abi/signal.h"
#include "kernel/mm/address_space.h"

namespace teacup::mm {

class AddressSpace::FileObserver final : public fs::MapObserver {
 public:
  FileObserver(AddressSpace& space, fs::Inode& inode) : space_(space), inode(Ref<fs::Inode>::share(&inode)) {}

  void pages_changed(u64, u64) override {
    stale.store(true, std::memory_order_seq_cst);
    space_.stale_.store(true, std::memory_order_seq_cst);
    space_.interrupt_tasks();
  }

 private:
  AddressSpace& space_;

 public:
  Ref<fs::Inode> inode;
  FileObserver* next = nullptr;
  std::atomic<bool> stale{false};
  bool maybe_unused = false;
};

void AddressSpace::interrupt_tasks() {
  LockGuard guard(slots_lock_);
  for (Slot& slot : slots_) {
    if (slot.task != nullptr) interrupt(*slot.task, kPendingRemap);
  }
}

void AddressSpace::observe_locked(fs::File& file) {
  fs::Inode* inode = file.inode();
  if (inode == nullptr || !inode->is_regular()) return;
  for (FileObserver* at = observers_; at != nullptr; at = at->next) {
    if (at->inode == inode) return;
  }
  auto made = make<FileObserver>(*this, *inode);
  if (!made.ok()) return;  // without memory for it the mapping stays as it is until it is unmapped
  FileObserver* observer = made.value();
  if (!inode->add_observer(*observer).ok()) {
    teacup::destroy(observer);
    return;
  }
  observer->next = observers_;
  observers_ = observer;
}

void AddressSpace::release_observer_locked(fs::File& file) {
  fs::Inode* inode = file.inode();
  if (inode == nullptr) return;
  for (FileObserver* at = observers_; at != nullptr; at = at->next) {
    if (at->inode == inode) at->maybe_unused = true;
  }
}

void AddressSpace::drop_unused_observers_locked() {
  for (FileObserver** at = &observers_; *at != nullptr;) {
    FileObserver* observer = *at;
    bool used = !observer->maybe_unused;
    observer->maybe_unused = false;
    for (size_t i = 0; i < mappings_.size() && !used; i++) {
      used = mappings_[i].file && mappings_[i].file->inode() == observer->inode.get();
    }
    if (used) {
      at = &observer->next;
      continue;
    }
    *at = observer->next;
    observer->inode->remove_observer(*observer);
    teacup::destroy(observer);
  }
}

void AddressSpace::bring_up_to_date() {
  if (!stale_.exchange(false, std::memory_order_seq_cst)) return;
  LockGuard guard(lock_);
  for (FileObserver* at = observers_; at != nullptr; at = at->next) {
    if (!at->stale.exchange(false, std::memory_order_seq_cst)) continue;
    for (size_t i = 0; i < mappings_.size(); i++) {
      Mapping& mapping = mappings_[i];
      if (mapping.file && mapping.file->inode() == at->inode.get()) refresh_locked(mapping);
    }
  }
}

void AddressSpace::refresh_locked(Mapping& mapping) {
  if (mapping.text) return;
  if (mapping.shared) {
    if (!host_map_file_locked(mapping).ok()) {
      mapping.backed_end = mapping.start;
      static_cast<void>(gate::unmap(mapping.start, mapping.length()));
    }
    first_writes_.cut(mapping.backed_end, mapping.end);
    return;
  }
  u64 at = mapping.start;
  while (at < mapping.end) {
    fs::MapPiece pieces[16];
    auto count =
        mapping.file->map_pieces(mapping.offset + (at - mapping.start), mapping.end - at, false, pieces);
    if (!count.ok() || count.value() == 0) break;
    for (size_t i = 0; i < count.value(); i++) at += page_up(pieces[i].length);
  }
  if (at < mapping.backed_end) {
    static_cast<void>(gate::unmap(at, mapping.backed_end - at));
    mapping.backed_end = at;
  } else {
    grow_to_file_locked(mapping);
  }
}

// Maps what the file now has behind backed_end. True if that is anything.
bool AddressSpace::grow_to_file_locked(Mapping& mapping) {
  if (!mapping.file || mapping.backed_end == mapping.end) return false;
  Mapping tail = mapping.slice(mapping.backed_end, mapping.end);
  if (!host_map_file_locked(tail).ok() || tail.backed_end == tail.start) return false;
  mapping.backed_end = tail.backed_end;
  return true;
}

FaultKind AddressSpace::classify_fault(u64 address, bool is_write, bool is_execute) {
  LockGuard guard(lock_);
  Mapping* mapping = mappings_.at(address);
  if (mapping == nullptr || !mapping->is_guest()) return {abi::kSIGSEGV, abi::kSEGV_MAPERR};
  u32 wanted = is_execute ? abi::kPROT_EXEC : is_write ? abi::kPROT_WRITE : abi::kPROT_READ;
  u32 allowed = mapping->prot;
  if ((allowed & abi::kPROT_WRITE) != 0) allowed |= abi::kPROT_READ;  // x86 cannot tell them apart
  if ((allowed & wanted) == 0) return {abi::kSIGSEGV, abi::kSEGV_ACCERR};
  if (address >= mapping->backed_end && !grow_to_file_locked(*mapping)) {
    return {abi::kSIGBUS, abi::kBUS_ADRERR};
  }
  if (is_write && first_writes_.written(address)) {
    fs::Inode* inode = mapping->file ? mapping->file->inode() : nullptr;
    if (inode != nullptr && inode->extras() != nullptr && inode->extras()->written_unseen.load()) {
      inode->mapping_written();
    }
    return {0, 0};
  }
  if (is_execute && awaits_search_locked(*mapping, mapping->prot)) {
    search_locked(*mapping, address);
    return {0, 0};
  }
  // Another thread has just mapped it or changed its protection. Should the host go on refusing what the map
  // allows, the guest gets its signal rather than a loop.
  constexpr u32 kMaxRetries = 64;
  retries_ = address == retried_address_ ? retries_ + 1 : 0;
  retried_address_ = address;
  if (retries_ < kMaxRetries) return {0, 0};
  retries_ = 0;
  return {abi::kSIGSEGV, abi::kSEGV_ACCERR};
}

}  // namespace teacup::mm
