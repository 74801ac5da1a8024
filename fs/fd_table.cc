// Problem: all threads of a process look descriptors up, at each call, and close and open them meanwhile. A
// lock for the table makes readers of different files take turns on its cache line; a count in the slot would
// make neighbours do so; publishing what one is looking at (hazard pointers) makes each close look at all
// tasks. Choice, as Linux's since 6.7: a look-up takes a reference to whatever the slot points at, if that
// still has any, and then looks whether the slot still points there. If so the slot's own reference kept the
// file alive in between; if not it is given back, be it some other file's by now: memory of files only ever
// holds files (HeapFamily::kFiles), and one that is free counts 0 references. Threads then share the counts
// of the files that they share.
//
// Locks: kFdTable, for all that changes slots. Files are closed after it: closing may take any lock and make
// host calls. So may a look-up that gives back a file which others have closed meanwhile.
#include "fs/fd_table.h"

namespace teacup::fs {

namespace {

constexpr u64 kFirstSize = 63;  // with its head as large as a block of the heap
constexpr u64 kMaxSize = 1 << 20;

template <typename Slot>
File* file_in(const Slot& slot) {
  return slot.file.load(std::memory_order_relaxed);
}
// Seen by look-ups before the file that was there is given back.
template <typename Slot>
void set(Slot& slot, File* file, bool cloexec) {
  slot.cloexec = cloexec;
  slot.file.store(file, std::memory_order_release);
}

}  // namespace

Result<FdTable::Slots*> FdTable::make_slots(u64 size) {
  auto* made = static_cast<Slots*>(heap_allocate(sizeof(Slots) + size * sizeof(Slot)));
  if (made == nullptr) return Errno::NOMEM;
  made->size = size;
  return made;
}

Result<Ref<FdTable>> FdTable::create() {
  Ref<FdTable> table = TRY(make_ref<FdTable>());
  table->slots_.store(TRY(make_slots(kFirstSize)), std::memory_order_release);
  return table;
}

void FdTable::destroy(FdTable* table) {
  table->close_all();
  teacup::destroy(table);
}

FdTable::~FdTable() {
  for (Slots* at = slots_.load(std::memory_order_relaxed); at != nullptr;) {
    Slots* smaller = at->smaller;
    heap_free(at);
    at = smaller;
  }
}

Result<Ref<File>> FdTable::get(Fd fd) {
  for (;;) {
    Slots& slots = this->slots();
    if (fd.value < 0 || static_cast<u64>(fd.value) >= slots.size) return Errno::BADF;
    std::atomic<File*>& slot = slots.at(static_cast<u64>(fd.value))->file;
    File* file = slot.load(std::memory_order_acquire);
    if (file == nullptr) return Errno::BADF;
    if (!file->try_ref()) continue;  // closed meanwhile: the slot has changed
    // The slot first: while the table was this one, the slot held that file.
    if (slot.load(std::memory_order_seq_cst) == file && slots_.load(std::memory_order_seq_cst) == &slots)
      return Ref<File>::adopt(file);
    file->unref();
  }
}

Result<Ref<File>> FdTable::get_io(Fd fd) {
  Ref<File> file = TRY(get(fd));
  if ((file->flags() & abi::kO_PATH) != 0) return Errno::BADF;
  return file;
}

Result<FdFile> FdTable::use(Fd fd) {
  if (ref_count() == 1) {
    Slots& slots = this->slots();
    if (fd.value < 0 || static_cast<u64>(fd.value) >= slots.size) return Errno::BADF;
    File* file = slots.at(static_cast<u64>(fd.value))->file.load(std::memory_order_relaxed);
    if (file == nullptr) return Errno::BADF;
    return FdFile(file, false);
  }
  return FdFile(TRY(get(fd)).leak(), true);
}

Result<FdFile> FdTable::use_io(Fd fd) {
  FdFile file = TRY(use(fd));
  if ((file->flags() & abi::kO_PATH) != 0) return Errno::BADF;
  return file;
}

FdTable::Slot* FdTable::used_slot_locked(Fd fd) {
  if (fd.value < 0 || static_cast<u64>(fd.value) >= slots().size) return nullptr;
  Slot* slot = slots().at(static_cast<u64>(fd.value));
  return file_in(*slot) != nullptr ? slot : nullptr;
}

Result<void> FdTable::reserve_locked(u64 needed) {
  Slots& old = slots();
  if (needed <= old.size) return {};
  if (needed > kMaxSize) return Errno::MFILE;
  u64 size = old.size;
  while (size < needed) size *= 2;
  Slots* larger = TRY(make_slots(size));
  for (u64 i = 0; i < old.size; i++) set(*larger->at(i), file_in(*old.at(i)), old.at(i)->cloexec);
  larger->smaller = &old;
  slots_.store(larger, std::memory_order_seq_cst);
  return {};
}

Result<Fd> FdTable::install(Ref<File> file, bool cloexec, u64 limit, s32 minimum) {
  limit = std::min(limit, kMaxSize);
  if (minimum < 0 || static_cast<u64>(minimum) >= limit) return Errno::INVAL;
  LockGuard guard(lock_);
  s32 fd = std::max(first_free_, minimum);
  while (used_slot_locked(Fd{fd}) != nullptr) fd++;
  if (static_cast<u64>(fd) >= limit) return Errno::MFILE;
  TRY(reserve_locked(static_cast<u64>(fd) + 1));
  set(*slots().at(static_cast<u64>(fd)), file.leak(), cloexec);
  if (minimum <= first_free_) first_free_ = fd + 1;
  return Fd{fd};
}

Result<void> FdTable::check_room(u64 limit) {
  LockGuard guard(lock_);
  s32 fd = first_free_;
  while (used_slot_locked(Fd{fd}) != nullptr) fd++;
  if (static_cast<u64>(fd) >= std::min(limit, kMaxSize)) return Errno::MFILE;
  return {};
}

Result<void> FdTable::install_at(Fd fd, Ref<File> file, bool cloexec, u64 limit) {
  if (fd.value < 0 || static_cast<u64>(fd.value) >= std::min(limit, kMaxSize)) return Errno::BADF;
  Ref<File> old;
  {
    LockGuard guard(lock_);
    TRY(reserve_locked(static_cast<u64>(fd.value) + 1));
    Slot& slot = *slots().at(static_cast<u64>(fd.value));
    old = Ref<File>::adopt(file_in(slot));
    set(slot, file.leak(), cloexec);
  }
  if (old) static_cast<void>(old->flush(this));
  return {};
}

Result<void> FdTable::close(Fd fd) {
  Ref<File> old;
  {
    LockGuard guard(lock_);
    Slot* slot = used_slot_locked(fd);
    if (slot == nullptr) return Errno::BADF;
    old = Ref<File>::adopt(file_in(*slot));
    set(*slot, nullptr, false);
    first_free_ = std::min(first_free_, fd.value);
  }
  return old->flush(this);
}

template <typename Wanted>
void FdTable::close_if(s32 from, Wanted wanted) {
  for (;; from++) {
    Ref<File> old;
    {
      LockGuard guard(lock_);
      Slots& slots = this->slots();
      for (; static_cast<u64>(from) < slots.size; from++) {
        Slot& slot = *slots.at(static_cast<u64>(from));
        if (file_in(slot) == nullptr || !wanted(from, slot)) continue;
        old = Ref<File>::adopt(file_in(slot));
        set(slot, nullptr, false);
        first_free_ = std::min(first_free_, from);
        break;
      }
    }
    if (!old) return;
    static_cast<void>(old->flush(this));
  }
}

Result<void> FdTable::close_range(u32 first, u32 last, bool only_set_cloexec) {
  if (first > last) return Errno::INVAL;
  if (only_set_cloexec) {
    LockGuard guard(lock_);
    Slots& slots = this->slots();
    for (u64 i = first; i <= last && i < slots.size; i++) {
      if (file_in(*slots.at(i)) != nullptr) slots.at(i)->cloexec = true;
    }
    return {};
  }
  if (first >= kMaxSize) return {};
  close_if(static_cast<s32>(first), [last](s32 fd, const Slot&) { return static_cast<u32>(fd) <= last; });
  return {};
}

Result<bool> FdTable::cloexec(Fd fd) {
  LockGuard guard(lock_);
  Slot* slot = used_slot_locked(fd);
  if (slot == nullptr) return Errno::BADF;
  return slot->cloexec;
}

Result<void> FdTable::set_cloexec(Fd fd, bool cloexec) {
  LockGuard guard(lock_);
  Slot* slot = used_slot_locked(fd);
  if (slot == nullptr) return Errno::BADF;
  slot->cloexec = cloexec;
  return {};
}

Result<Ref<FdTable>> FdTable::clone() {
  Ref<FdTable> copy = TRY(make_ref<FdTable>());
  for (;;) {
    u64 size = slots().size;
    Slots* made = TRY(make_slots(size));
    LockGuard guard(lock_);
    if (slots().size != size) {  // grew meanwhile
      heap_free(made);
      continue;
    }
    for (u64 i = 0; i < size; i++) {
      Slot& slot = *slots().at(i);
      if (file_in(slot) == nullptr) continue;
      file_in(slot)->ref();
      set(*made->at(i), file_in(slot), slot.cloexec);
    }
    copy->slots_.store(made, std::memory_order_release);
    copy->first_free_ = first_free_;
    return copy;
  }
}

void FdTable::close_on_exec() {
  close_if(0, [](s32, const Slot& slot) { return slot.cloexec; });
}

void FdTable::close_all() {
  if (slots_.load(std::memory_order_relaxed) == nullptr) return;  // never finished
  close_if(0, [](s32, const Slot&) { return true; });
}

Result<Fd> FdTable::next_used(s32 from) {
  LockGuard guard(lock_);
  for (s32 i = std::max(from, 0); static_cast<u64>(i) < slots().size; i++) {
    if (used_slot_locked(Fd{i}) != nullptr) return Fd{i};
  }
  return Errno::BADF;
}

}  // namespace teacup::fs
