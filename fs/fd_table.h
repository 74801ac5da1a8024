// FdTable: a process's descriptors (slots with CLOEXEC), shared by its threads and by CLONE_FILES.
//
// Locks: its own (kFdTable), for changes; looking a descriptor up takes none (fd_table.cc), so threads that
// use different files share nothing that is written to. get() returns a counted reference: the file lives on
// when another task closes the descriptor.
#pragma once

#include "fs/file.h"
#include "kernel/frame/heap.h"

namespace teacup::fs {

// A file found by its descriptor, for the length of a call. When the table is the calling task's alone,
// nobody can close the descriptor meanwhile, so no reference is counted: that saves two locked operations a
// call.
class FdFile {
 public:
  FdFile(File* file, bool counted) : file_(file), counted_(counted) {}
  FdFile(FdFile&& other) noexcept : file_(std::exchange(other.file_, nullptr)), counted_(other.counted_) {}
  ~FdFile() {
    if (counted_ && file_ != nullptr) file_->unref();
  }
  File& operator*() const { return *file_; }
  File* operator->() const { return file_; }
  File* get() const { return file_; }
  // For keeping it longer than the call.
  Ref<File> ref() const { return Ref<File>::share(file_); }
  // Nobody else has the description: its position needs no lock.
  bool exclusive() const { return !counted_ && file_->ref_count() == 1; }

 private:
  File* file_;
  bool counted_;
};

class FdTable : public RefCounted<FdTable> {
 public:
  static Result<Ref<FdTable>> create();
  static void destroy(FdTable* table);
  ~FdTable();

  // EBADF. O_PATH descriptors are found too; `get_io` refuses them (EBADF), as read(2) and friends do.
  Result<Ref<File>> get(Fd fd);
  Result<Ref<File>> get_io(Fd fd);
  // The same by the task whose table it is, for the length of a call that closes no descriptor.
  Result<FdFile> use(Fd fd);
  Result<FdFile> use_io(Fd fd);

  // The lowest free descriptor >= minimum; EMFILE at `limit` (RLIMIT_NOFILE).
  Result<Fd> install(Ref<File> file, bool cloexec, u64 limit, s32 minimum = 0);
  // EMFILE if install() would find no room: for calls that must know before they take what they install.
  Result<void> check_room(u64 limit);
  // dup2(2): closes what was there. EBADF if fd is out of range (>= limit).
  Result<void> install_at(Fd fd, Ref<File> file, bool cloexec, u64 limit);
  Result<void> close(Fd fd);
  Result<void> close_range(u32 first, u32 last, bool only_set_cloexec);
  Result<bool> cloexec(Fd fd);
  Result<void> set_cloexec(Fd fd, bool cloexec);

  Result<Ref<FdTable>> clone();  // fork
  void close_on_exec();
  void close_all();  // exit: before the last reference goes, so that it happens in the dying task
  // For /proc/PID/fd: the next descriptor in use >= from, or EBADF.
  Result<Fd> next_used(s32 from);

 private:
  struct Slot {
    std::atomic<File*> file;
    bool cloexec;
  };
  // Followed by its slots. One that has become too small is looked at by who looked up a descriptor then: it
  // stays until the table goes.
  struct Slots {
    u64 size;
    Slots* smaller;
    Slot* at(u64 i) { return reinterpret_cast<Slot*>(this + 1) + i; }
  };

  static Result<Slots*> make_slots(u64 size);
  Slots& slots() { return *slots_.load(std::memory_order_acquire); }
  Slot* used_slot_locked(Fd fd);
  Result<void> reserve_locked(u64 needed);
  template <typename Wanted>
  void close_if(s32 from, Wanted wanted);

  Mutex lock_{LockRank::kFdTable};
  std::atomic<Slots*> slots_{nullptr};
  s32 first_free_ = 0;  // no lower slot is free
};

}  // namespace teacup::fs
