// Locks: kFdTable, for the slots. Files are closed after it: closing may take any lock and make host calls.
#include "fs/fd_table.h"

namespace teacup::fs {

namespace {
constexpr u64 kFirstSize = 64;
constexpr u64 kMaxSize = 1 << 20;
}  // namespace

Result<Ref<FdTable>> FdTable::create() {
  Ref<FdTable> table = TRY(make_ref<FdTable>());
  table->slots_ = TRY(HeapArray<Slot>::create(kFirstSize));
  return table;
}

void FdTable::destroy(FdTable* table) {
  table->close_all();
  teacup::destroy(table);
}

FdTable::~FdTable() = default;

Result<Ref<File>> FdTable::get(Fd fd) {
  LockGuard guard(lock_);
  if (fd.value < 0 || static_cast<u64>(fd.value) >= slots_.size()) return Errno::BADF;
  File* file = slots_[static_cast<size_t>(fd.value)].file;
  if (file == nullptr) return Errno::BADF;
  return Ref<File>::share(file);
}

Result<Ref<File>> FdTable::get_io(Fd fd) {
  Ref<File> file = TRY(get(fd));
  if ((file->flags() & abi::kO_PATH) != 0) return Errno::BADF;
  return file;
}

Result<FdFile> FdTable::use(Fd fd) {
  if (ref_count() == 1) {
    if (fd.value < 0 || static_cast<u64>(fd.value) >= slots_.size()) return Errno::BADF;
    File* file = slots_[static_cast<size_t>(fd.value)].file;
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

Result<void> FdTable::reserve(u64 needed) {
  if (needed <= slots_.size()) return {};
  if (needed > kMaxSize) return Errno::MFILE;
  u64 size = slots_.size();
  while (size < needed) size *= 2;
  HeapArray<Slot> larger = TRY(HeapArray<Slot>::create(size));
  for (size_t i = 0; i < slots_.size(); i++) larger[i] = slots_[i];
  slots_ = std::move(larger);
  return {};
}

Result<Fd> FdTable::install(Ref<File> file, bool cloexec, u64 limit, s32 minimum) {
  limit = std::min(limit, kMaxSize);
  if (minimum < 0 || static_cast<u64>(minimum) >= limit) return Errno::INVAL;
  LockGuard guard(lock_);
  s32 fd = std::max(first_free_, minimum);
  while (static_cast<u64>(fd) < slots_.size() && slots_[static_cast<size_t>(fd)].file != nullptr) fd++;
  if (static_cast<u64>(fd) >= limit) return Errno::MFILE;
  TRY(reserve(static_cast<u64>(fd) + 1));
  slots_[static_cast<size_t>(fd)] = Slot{file.leak(), cloexec};
  if (minimum <= first_free_) first_free_ = fd + 1;
  return Fd{fd};
}

Result<void> FdTable::check_room(u64 limit) {
  LockGuard guard(lock_);
  size_t fd = static_cast<size_t>(first_free_);
  while (fd < slots_.size() && slots_[fd].file != nullptr) fd++;
  if (fd >= std::min(limit, kMaxSize)) return Errno::MFILE;
  return {};
}

Result<void> FdTable::install_at(Fd fd, Ref<File> file, bool cloexec, u64 limit) {
  if (fd.value < 0 || static_cast<u64>(fd.value) >= std::min(limit, kMaxSize)) return Errno::BADF;
  Ref<File> old;
  {
    LockGuard guard(lock_);
    TRY(reserve(static_cast<u64>(fd.value) + 1));
    Slot& slot = slots_[static_cast<size_t>(fd.value)];
    old = Ref<File>::adopt(slot.file);
    slot = Slot{file.leak(), cloexec};
  }
  if (old) static_cast<void>(old->flush(this));
  return {};
}

Result<void> FdTable::close(Fd fd) {
  Ref<File> old;
  {
    LockGuard guard(lock_);
    if (fd.value < 0 || static_cast<u64>(fd.value) >= slots_.size()) return Errno::BADF;
    Slot& slot = slots_[static_cast<size_t>(fd.value)];
    if (slot.file == nullptr) return Errno::BADF;
    old = Ref<File>::adopt(slot.file);
    slot = {};
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
      for (; static_cast<u64>(from) < slots_.size(); from++) {
        Slot& slot = slots_[static_cast<size_t>(from)];
        if (slot.file == nullptr || !wanted(from, slot)) continue;
        old = Ref<File>::adopt(slot.file);
        slot = {};
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
    for (u64 i = first; i <= last && i < slots_.size(); i++) {
      if (slots_[i].file != nullptr) slots_[i].cloexec = true;
    }
    return {};
  }
  if (first >= kMaxSize) return {};
  close_if(static_cast<s32>(first), [last](s32 fd, const Slot&) { return static_cast<u32>(fd) <= last; });
  return {};
}

Result<bool> FdTable::cloexec(Fd fd) {
  LockGuard guard(lock_);
  if (fd.value < 0 || static_cast<u64>(fd.value) >= slots_.size()) return Errno::BADF;
  Slot& slot = slots_[static_cast<size_t>(fd.value)];
  if (slot.file == nullptr) return Errno::BADF;
  return slot.cloexec;
}

Result<void> FdTable::set_cloexec(Fd fd, bool cloexec) {
  LockGuard guard(lock_);
  if (fd.value < 0 || static_cast<u64>(fd.value) >= slots_.size()) return Errno::BADF;
  Slot& slot = slots_[static_cast<size_t>(fd.value)];
  if (slot.file == nullptr) return Errno::BADF;
  slot.cloexec = cloexec;
  return {};
}

Result<Ref<FdTable>> FdTable::clone() {
  Ref<FdTable> copy = TRY(make_ref<FdTable>());
  for (;;) {
    size_t size = slots_.size();
    copy->slots_ = TRY(HeapArray<Slot>::create(size));
    LockGuard guard(lock_);
    if (slots_.size() != size) continue;  // grew meanwhile
    for (size_t i = 0; i < size; i++) {
      copy->slots_[i] = slots_[i];
      if (slots_[i].file != nullptr) slots_[i].file->ref();
    }
    copy->first_free_ = first_free_;
    return copy;
  }
}

void FdTable::close_on_exec() {
  close_if(0, [](s32, const Slot& slot) { return slot.cloexec; });
}

void FdTable::close_all() {
  close_if(0, [](s32, const Slot&) { return true; });
}

Result<Fd> FdTable::next_used(s32 from) {
  LockGuard guard(lock_);
  for (size_t i = from < 0 ? 0 : static_cast<size_t>(from); i < slots_.size(); i++) {
    if (slots_[i].file != nullptr) return Fd{static_cast<s32>(i)};
  }
  return Errno::BADF;
}

}  // namespace teacup::fs
