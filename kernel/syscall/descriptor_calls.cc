// The calls of fd_calls.h that neither read nor write: positions, sizes, syncing, dup(2), fcntl(2), flock(2),
// ioctl(2), getdents64(2).
//
// Locks: a shared description's position, for lseek and getdents64. Waits for file locks are in the blocking
// loop.
#include <algorithm>

#include "fs/file_locks.h"
#include "fs/vfs.h"
#include "kernel/abi/mm.h"
#include "kernel/abi/net.h"
#include "kernel/abi/tty.h"
#include "kernel/mm/address_space.h"
#include "kernel/syscall/fd_calls.h"
#include "kernel/task/io_signal.h"
#include "kernel/task/process.h"
#include "kernel/task/send_signal.h"

namespace teacup {

namespace {

u64 descriptor_limit(Task& task) {
  return task.process->limit(abi::kRLIMIT_NOFILE);
}

// A regular file's inode, for calls that want one; ESPIPE for pipes and sockets, as those calls say.
Result<void> check_allocatable(const fs::FdFile& file) {
  fs::Inode* inode = file->inode();
  if (inode == nullptr || inode->type() == abi::kS_IFIFO || inode->type() == abi::kS_IFSOCK) {
    return Errno::SPIPE;
  }
  if (inode->is_directory()) return Errno::ISDIR;
  if (!inode->is_regular()) return Errno::NODEV;
  return {};
}

// What some file system knows, alone or with KEEP_SIZE; whether this one does is another question.
bool is_allocation_mode(int mode) {
  bool keep_size = (mode & abi::kFALLOC_FL_KEEP_SIZE) != 0;
  switch (mode & ~abi::kFALLOC_FL_KEEP_SIZE) {
    case 0:
    case abi::kFALLOC_FL_ZERO_RANGE:
    case abi::kFALLOC_FL_UNSHARE_RANGE:
      return true;
    case abi::kFALLOC_FL_PUNCH_HOLE:
      return keep_size;
    case abi::kFALLOC_FL_COLLAPSE_RANGE:
    case abi::kFALLOC_FL_INSERT_RANGE:
      return !keep_size;
    default:
      return false;
  }
}

Result<void> check_file_size(Task& task, u64 end) {
  if (end <= task.process->limit(abi::kRLIMIT_FSIZE)) return {};
  (void)send_signal(task, user_signal(abi::kSIGXFSZ));
  return Errno::FBIG;
}

}  // namespace

// lseek(2).
Result<u64> sys_lseek(Task& task, Fd fd, s64 offset, Whence whence) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  if (whence < abi::kSEEK_SET || whence > abi::kSEEK_HOLE) return Errno::INVAL;
  if (file.exclusive()) return file->seek(offset, whence);
  LockGuard guard(file->position_lock());
  return file->seek(offset, whence);
}

// ftruncate(2).
Result<void> sys_ftruncate(Task& task, Fd fd, s64 size) {
  if (size < 0) return Errno::INVAL;
  fs::FdFile file = TRY(task.files->use_io(fd));
  if (!file->writable()) return Errno::INVAL;
  TRY(check_file_size(task, static_cast<u64>(size)));
  TRY(file->truncate(static_cast<u64>(size)));
  if (fs::Inode* inode = file->inode(); inode != nullptr) fs::drop_privilege_bits(*inode, task.credentials);
  return {};
}

// fallocate(2).
Result<void> sys_fallocate(Task& task, Fd fd, FallocateMode mode, s64 offset, s64 length) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  if (offset < 0 || length <= 0) return Errno::INVAL;
  if (!is_allocation_mode(mode)) return Errno::NOTSUP;
  if (!file->writable()) return Errno::BADF;
  TRY(check_allocatable(file));
  if (offset > 0x7fff'ffff'ffff'ffff - length) return Errno::FBIG;
  if ((mode & (abi::kFALLOC_FL_KEEP_SIZE | abi::kFALLOC_FL_PUNCH_HOLE)) == 0) {
    TRY(check_file_size(task, static_cast<u64>(offset + length)));
  }
  return file->allocate(mode, static_cast<u64>(offset), static_cast<u64>(length));
}

// posix_fadvise(2): all is in memory anyway.
Result<void> sys_fadvise64(Task& task, Fd fd, s64, s64 length, FileAdvice advice) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  constexpr int kLastAdvice = 5;
  if (length < 0 || advice < 0 || advice > kLastAdvice) return Errno::INVAL;
  fs::Inode* inode = file->inode();
  if (!file->seekable() && (inode == nullptr || inode->type() == abi::kS_IFIFO)) return Errno::SPIPE;
  return {};
}

Result<void> sys_readahead(Task& task, Fd fd, s64, size_t) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  if (!file->readable()) return Errno::BADF;
  fs::Inode* inode = file->inode();
  if (inode == nullptr || !inode->is_regular()) return Errno::INVAL;
  return {};
}

// fsync(2): EINVAL for what cannot be synced.
Result<void> sys_fsync(Task& task, Fd fd) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  fs::Inode* inode = file->inode();
  if (inode == nullptr || inode->type() == abi::kS_IFIFO || inode->type() == abi::kS_IFSOCK ||
      inode->type() == abi::kS_IFCHR) {
    return Errno::INVAL;
  }
  return file->sync();
}

Result<void> sys_fdatasync(Task& task, Fd fd) {
  return sys_fsync(task, fd);
}

Result<void> sys_sync_file_range(Task& task, Fd fd, s64 offset, s64 length, u32 flags) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  if (offset < 0 || length < 0 || (flags & ~7u) != 0) return Errno::INVAL;
  if (!file->seekable()) return Errno::SPIPE;
  return file->sync();
}

Result<void> sys_syncfs(Task& task, Fd fd) {
  fs::FdFile file = TRY(task.files->use(fd));
  if (fs::Inode* inode = file->inode(); inode != nullptr) TRY(inode->file_system().sync());
  return {};
}

Result<void> sys_sync(Task&) {
  fs::for_each_mount([](void*, fs::Mount& mount) { (void)mount.file_system().sync(); }, nullptr);
  return {};
}

// --- Descriptors.

Result<void> sys_close(Task& task, Fd fd) {
  return task.files->close(fd);
}

// close_range(2).
Result<void> sys_close_range(Task& task, u32 first, u32 last, CloseRangeFlags flags) {
  constexpr u32 kUnshare = 2, kCloexec = 4;
  if ((flags & ~(kUnshare | kCloexec)) != 0 || first > last) return Errno::INVAL;
  if ((flags & kUnshare) != 0 && task.files->ref_count() > 1) {
    Ref<fs::FdTable> own = TRY(task.files->clone());
    LockGuard guard(task.process->lock);
    std::swap(task.files, own);
    guard.unlock();
  }
  return task.files->close_range(first, last, (flags & kCloexec) != 0);
}

Result<Fd> sys_dup(Task& task, Fd fd) {
  Ref<fs::File> file = TRY(task.files->get(fd));
  return task.files->install(std::move(file), false, descriptor_limit(task));
}

// dup2(2).
Result<Fd> sys_dup2(Task& task, Fd fd, Fd at) {
  Ref<fs::File> file = TRY(task.files->get(fd));
  if (fd.value == at.value) return at;
  TRY(task.files->install_at(at, std::move(file), false, descriptor_limit(task)));
  return at;
}

Result<Fd> sys_dup3(Task& task, Fd fd, Fd at, DescriptorFlags flags) {
  if ((flags & ~static_cast<u32>(abi::kO_CLOEXEC)) != 0 || fd.value == at.value) return Errno::INVAL;
  Ref<fs::File> file = TRY(task.files->get(fd));
  TRY(task.files->install_at(at, std::move(file), (flags & abi::kO_CLOEXEC) != 0, descriptor_limit(task)));
  return at;
}

namespace {

// --- Record locks, fcntl_locking(2).

// The range of a struct flock, with its start counted from the file's start.
Result<fs::RecordLock> record_of(fs::File& file, const abi::Flock& flock) {
  s64 base;
  switch (flock.whence) {
    case abi::kSEEK_SET:
      base = 0;
      break;
    case abi::kSEEK_CUR:
      base = static_cast<s64>(file.position);
      break;
    case abi::kSEEK_END:
      base = static_cast<s64>(file.inode()->size.load());
      break;
    default:
      return Errno::INVAL;
  }
  s64 start;
  if (__builtin_add_overflow(base, flock.start, &start)) return Errno::OVERFLOW;
  s64 length = flock.length;
  if (length < 0) {  // the bytes before it
    if (__builtin_add_overflow(start, length, &start)) return Errno::INVAL;
    length = -length;
  }
  if (start < 0) return Errno::INVAL;
  fs::RecordLock lock;
  lock.start = static_cast<u64>(start);
  lock.end = length == 0 ? ~u64{0} : lock.start + static_cast<u64>(length);
  lock.write = flock.type == abi::kF_WRLCK;
  return lock;
}

Result<void> get_lock(Task& task, fs::File& file, GuestInOut<abi::Flock> argument, bool by_description) {
  abi::Flock flock = TRY(argument.read());
  if (flock.type != abi::kF_RDLCK && flock.type != abi::kF_WRLCK) return Errno::INVAL;
  if (by_description && flock.pid != 0) return Errno::INVAL;
  if (file.inode() == nullptr) return Errno::BADF;
  fs::RecordLock wanted = TRY(record_of(file, flock));
  wanted.owner = by_description ? static_cast<const void*>(&file) : task.files.get();
  fs::RecordLock found;
  if (file.inode()->has_locks() && file.inode()->locks().find_conflict(wanted, found)) {
    flock.type = static_cast<s16>(found.write ? abi::kF_WRLCK : abi::kF_RDLCK);
    flock.whence = abi::kSEEK_SET;
    flock.start = static_cast<s64>(found.start);
    flock.length = found.end == ~u64{0} ? 0 : static_cast<s64>(found.end - found.start);
    flock.pid = found.pid;
  } else {
    flock.type = static_cast<s16>(abi::kF_UNLCK);
  }
  return argument.write(flock);
}

Result<void> set_lock(Task& task, fs::File& file, GuestIn<abi::Flock> argument, bool by_description,
                      bool wait) {
  abi::Flock flock = TRY(argument.read());
  if (by_description && flock.pid != 0) return Errno::INVAL;
  fs::Inode* inode = file.inode();
  if (inode == nullptr) return Errno::BADF;
  fs::RecordLock lock = TRY(record_of(file, flock));
  lock.owner = by_description ? static_cast<const void*>(&file) : task.files.get();
  lock.pid = by_description ? -1 : task.pid();
  switch (flock.type) {
    case abi::kF_UNLCK:
      if (!inode->has_locks()) return {};
      return inode->locks().clear(lock.owner, lock.start, lock.end);
    case abi::kF_RDLCK:
      if (!file.readable()) return Errno::BADF;
      break;
    case abi::kF_WRLCK:
      if (!file.writable()) return Errno::BADF;
      break;
    default:
      return Errno::INVAL;
  }
  fs::FileLocks& locks = inode->locks();
  if (!wait) return locks.set(lock);
  // Descriptions are not looked at for deadlocks (fcntl(2)).
  fs::RecordWait* record_wait = by_description ? nullptr : &task.record_wait;
  auto result =
      block_on(locks.queue(), ~u32{0}, "a record lock", [&] { return locks.set(lock, record_wait); });
  task.record_wait.end();
  return result;
}

// --- fcntl(F_SETOWN): who is told by SIGIO and SIGURG.

Result<void> set_owner(const Task& task, fs::File& file, s32 value) {
  if (value == static_cast<s32>(0x80000000)) return Errno::INVAL;
  IoOwner* owner = TRY(IoOwner::of(file));
  return owner->set_target(task, value < 0 ? abi::kF_OWNER_PGRP : abi::kF_OWNER_PID,
                           value < 0 ? -value : value);
}

s32 owner_of(fs::File& file) {
  IoOwner* owner = IoOwner::find(file);
  if (owner == nullptr) return 0;
  abi::FOwnerEx target = owner->target();
  return target.type == abi::kF_OWNER_PGRP ? -target.pid : target.pid;
}

Result<s64> owner_call(const Task& task, fs::File& file, int command, u64 argument) {
  IoOwner* owner = IoOwner::find(file);
  switch (command) {
    case abi::kF_GETOWN:
      return owner_of(file);
    case abi::kF_SETOWN:
      TRY(set_owner(task, file, static_cast<s32>(argument)));
      return 0;
    case abi::kF_GETOWN_EX:
      TRY(GuestOut<abi::FOwnerEx>(argument).write(owner != nullptr ? owner->target() : abi::FOwnerEx{}));
      return 0;
    case abi::kF_SETOWN_EX: {
      auto wanted = TRY(GuestIn<abi::FOwnerEx>(argument).read());
      if (wanted.type < 0 || wanted.type > abi::kF_OWNER_PGRP) return Errno::INVAL;
      owner = TRY(IoOwner::of(file));
      TRY(owner->set_target(task, wanted.type, wanted.pid));
      return 0;
    }
    case abi::kF_GETSIG:
      return owner != nullptr ? owner->signal.load(std::memory_order_relaxed) : 0;
    default:
      if (argument > static_cast<u64>(abi::kNSIG)) return Errno::INVAL;
      owner = TRY(IoOwner::of(file));
      owner->signal.store(static_cast<s32>(argument), std::memory_order_relaxed);
      return 0;
  }
}

// O_ASYNC.
Result<void> set_async(fs::File& file, Fd fd, bool on) {
  if (on == ((file.flags() & abi::kO_ASYNC) != 0)) return {};
  IoOwner* owner = TRY(IoOwner::of(file));
  owner->set_async(on, fd);
  file.set_flags(on ? file.flags() | abi::kO_ASYNC : file.flags() & ~static_cast<u32>(abi::kO_ASYNC));
  return {};
}

// Is the file mapped shared and writable in this address space?
bool maps_for_writing(const mm::AddressSpace& space, const fs::Inode& inode) {
  u64 at = 0;
  for (;;) {
    auto mapping = space.next_mapping(at);
    if (!mapping.ok()) return false;
    const mm::MappingInfo& info = mapping.value();
    if (info.shared && (info.prot & abi::kPROT_WRITE) != 0 && info.file && info.file->inode() == &inode)
      return true;
    at = info.end;
  }
}

}  // namespace

// fcntl(2).
Result<s64> sys_fcntl(Task& task, Fd fd, FcntlCommand command, FcntlArgument argument) {
  fs::FdTable& files = *task.files;
  switch (command) {
    case abi::kF_DUPFD:
    case abi::kF_DUPFD_CLOEXEC: {
      Ref<fs::File> file = TRY(files.get(fd));
      Fd made = TRY(files.install(std::move(file), command == abi::kF_DUPFD_CLOEXEC, descriptor_limit(task),
                                  static_cast<s32>(argument)));
      return made.value;
    }
    case abi::kF_GETFD:
      return TRY(files.cloexec(fd)) ? abi::kFD_CLOEXEC : 0;
    case abi::kF_SETFD:
      TRY(files.set_cloexec(fd, (argument & abi::kFD_CLOEXEC) != 0));
      return 0;
    case abi::kF_GETFL: {
      fs::FdFile file = TRY(files.use(fd));
      return file->flags();
    }
    default:
      break;
  }
  fs::FdFile file = TRY(files.use_io(fd));
  switch (command) {
    case abi::kF_SETFL: {
      constexpr u32 kChangeable = abi::kO_APPEND | abi::kO_NONBLOCK | abi::kO_DIRECT | abi::kO_NOATIME;
      u32 flags = static_cast<u32>(argument);
      if (fs::Inode* inode = file->inode(); inode != nullptr && (flags & abi::kO_NOATIME) != 0 &&
                                            (file->flags() & abi::kO_NOATIME) == 0 &&
                                            !fs::is_owner_or_capable(*inode, task.credentials)) {
        return Errno::PERM;
      }
      file->set_flags((file->flags() & ~kChangeable) | (flags & kChangeable));
      TRY(set_async(*file, fd, (flags & abi::kO_ASYNC) != 0));
      return 0;
    }
    case abi::kF_GETLK:
    case abi::kF_OFD_GETLK:
      TRY(get_lock(task, *file, GuestInOut<abi::Flock>(argument), command == abi::kF_OFD_GETLK));
      return 0;
    case abi::kF_SETLK:
    case abi::kF_SETLKW:
    case abi::kF_OFD_SETLK:
    case abi::kF_OFD_SETLKW: {
      bool by_description = command == abi::kF_OFD_SETLK || command == abi::kF_OFD_SETLKW;
      bool wait = command == abi::kF_SETLKW || command == abi::kF_OFD_SETLKW;
      TRY(set_lock(task, *file, GuestIn<abi::Flock>(argument), by_description, wait));
      return 0;
    }
    case abi::kF_GETOWN:
    case abi::kF_SETOWN:
    case abi::kF_GETOWN_EX:
    case abi::kF_SETOWN_EX:
    case abi::kF_GETSIG:
    case abi::kF_SETSIG:
      return owner_call(task, *file, command, argument);
    case abi::kF_GETLEASE:
      return abi::kF_UNLCK;
    case abi::kF_NOTIFY: {
      // Differs from Linux: as if it was built without dnotify, but for taking a watch away, which there is
      // none of.
      constexpr u64 kMultiShot = 0x80000000;
      if ((argument & ~kMultiShot) == 0) return 0;
      return Errno::INVAL;
    }
    case abi::kF_ADD_SEALS:
      // Differs from Linux: mappings of other processes do not count.
      if ((argument & abi::kF_SEAL_WRITE) != 0 && file->inode() != nullptr &&
          maps_for_writing(*task.memory, *file->inode())) {
        return Errno::BUSY;
      }
      return file->control(command, argument);
    default:
      return file->control(command, argument);
  }
}

// flock(2).
Result<void> sys_flock(Task& task, Fd fd, FlockOperation operation) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  bool wait = (operation & abi::kLOCK_NB) == 0;
  int kind = operation & ~abi::kLOCK_NB;
  if (kind != abi::kLOCK_SH && kind != abi::kLOCK_EX && kind != abi::kLOCK_UN) return Errno::INVAL;
  fs::Inode* inode = file->inode();
  if (inode == nullptr) return Errno::BADF;
  if (kind == abi::kLOCK_UN) {
    if (inode->has_locks()) inode->locks().unflock(*file);
    return {};
  }
  fs::FileLocks& locks = inode->locks();
  auto attempt = [&] { return locks.flock(*file, kind == abi::kLOCK_EX); };
  if (!wait) return attempt();
  return block_on(locks.queue(), ~u32{0}, "a file lock", attempt);
}

// ioctl(2): what concerns every descriptor, then what the file knows.
Result<s64> sys_ioctl(Task& task, Fd fd, IoctlCommand command, IoctlArgument argument) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  switch (command) {
    case abi::kFIOCLEX:
    case abi::kFIONCLEX:
      TRY(task.files->set_cloexec(fd, command == abi::kFIOCLEX));
      return 0;
    case abi::kFIONBIO: {
      s32 on = TRY(GuestIn<s32>(argument.value).read());
      u32 flags = file->flags() & ~static_cast<u32>(abi::kO_NONBLOCK);
      file->set_flags(on != 0 ? flags | abi::kO_NONBLOCK : flags);
      return 0;
    }
    case abi::kFIOASYNC: {
      s32 on = TRY(GuestIn<s32>(argument.value).read());
      TRY(set_async(*file, fd, on != 0));
      return 0;
    }
    case abi::kFIOSETOWN:
    case abi::kSIOCSPGRP:
      if (file->kind() != fs::FileKind::kSocket) return Errno::NOTTY;
      TRY(set_owner(task, *file, TRY(GuestIn<s32>(argument.value).read())));
      return 0;
    case abi::kFIOGETOWN:
    case abi::kSIOCGPGRP:
      if (file->kind() != fs::FileKind::kSocket) return Errno::NOTTY;
      TRY(GuestOut<s32>(argument.value).write(owner_of(*file)));
      return 0;
    default: {
      WaitQueue* queue = file->wait_queue();
      if (queue == nullptr) return file->ioctl(command, argument);
      // A terminal makes background processes wait.
      return block_on(*queue, ~u32{0}, "ioctl", [&] { return file->ioctl(command, argument); });
    }
  }
}

// --- Directory entries.

namespace {

// Writes entries to guest memory as they come: struct linux_dirent64, or the older linux_dirent, which has
// its type in the record's last byte.
class DirentSink final : public fs::DirSink {
 public:
  DirentSink(u64 address, size_t size, bool old_layout)
      : address_(address), size_(size), old_layout_(old_layout) {}

  bool add(std::string_view name, u64 ino, u8 type, u64 next_offset) override {
    size_t header = old_layout_ ? 18 : 19;
    size_t length = align_up(header + name.size() + (old_layout_ ? 2 : 1), 8);
    if (length > size_ - used_) {
      if (used_ == 0) error_ = Errno::INVAL;
      return false;
    }
    char record[296];
    __builtin_memset(record + length - 8, 0, 8);  // what is behind the name
    u16 record_length = static_cast<u16>(length);
    __builtin_memcpy(record, &ino, 8);
    __builtin_memcpy(record + 8, &next_offset, 8);
    __builtin_memcpy(record + 16, &record_length, 2);
    if (old_layout_) {
      record[length - 1] = static_cast<char>(type);
    } else {
      record[18] = static_cast<char>(type);
    }
    __builtin_memcpy(record + header, name.data(), name.size());
    if (!copy_to_guest(address_ + used_, record, length).ok()) {
      error_ = Errno::FAULT;
      return false;
    }
    used_ += length;
    return true;
  }
  // What was stored counts, even if something went wrong behind it.
  Result<size_t> result() const {
    if (used_ == 0 && error_ != Errno::OK) return error_;
    return used_;
  }

 private:
  u64 address_;
  size_t size_;
  size_t used_ = 0;
  bool old_layout_;
  Errno error_ = Errno::OK;
};

Result<size_t> read_entries(Task& task, Fd fd, u64 address, size_t size, bool old_layout) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  fs::Inode* inode = file->inode();
  if (inode == nullptr || !inode->is_directory()) return Errno::NOTDIR;
  DirentSink sink(address, size, old_layout);
  Result<void> read = [&]() -> Result<void> {
    if (file.exclusive()) return file->read_directory(sink);
    LockGuard guard(file->position_lock());
    return file->read_directory(sink);
  }();
  size_t stored = TRY(sink.result());
  if (stored == 0) TRY(read);
  return stored;
}

}  // namespace

// getdents64(2).
Result<size_t> sys_getdents64(Task& task, Fd fd, DirectoryEntries buffer, u32 size) {
  return read_entries(task, fd, buffer.address(), size, false);
}

Result<size_t> sys_getdents(Task& task, Fd fd, DirectoryEntries buffer, u32 size) {
  return read_entries(task, fd, buffer.address(), size, true);
}

}  // namespace teacup
