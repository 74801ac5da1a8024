// Calls that change attributes, and extended attributes.
#include <algorithm>

#include "kernel/syscall/file_calls.h"
#include "kernel/syscall/path_argument.h"
#include "kernel/task/process.h"
#include "kernel/task/send_signal.h"

namespace teacup {

namespace {

constexpr Fd kHere{abi::kAT_FDCWD};

Result<fs::Path> path_at(Task& task, Fd directory, GuestString guest_path, u32 at_flags) {
  PathArgument path;
  TRY(path.read(task, directory, guest_path));
  return path.resolve(task, resolve_flags(at_flags));
}

// The path of an open file, for the f*() calls. O_PATH descriptors only where `any`.
Result<fs::Path> path_of_fd(Task& task, Fd fd, bool any = false) {
  fs::FdFile file = TRY(any ? task.files->use(fd) : task.files->use_io(fd));
  return fs::path_of(*file);
}

}  // namespace

// chmod(2).
Result<void> sys_fchmodat(Task& task, Fd directory, GuestString guest_path, FileMode mode) {
  fs::Path path = TRY(path_at(task, directory, guest_path, 0));
  return fs::change_mode(task.caller(), path, mode);
}
Result<void> sys_chmod(Task& task, GuestString path, FileMode mode) {
  return sys_fchmodat(task, kHere, path, mode);
}
Result<void> sys_fchmod(Task& task, Fd fd, FileMode mode) {
  fs::Path path = TRY(path_of_fd(task, fd));
  return fs::change_mode(task.caller(), path, mode);
}

// chown(2).
Result<void> sys_fchownat(Task& task, Fd directory, GuestString guest_path, UserId uid, UserId gid,
                          AtFlags flags) {
  if ((flags & ~static_cast<u32>(abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_EMPTY_PATH)) != 0) return Errno::INVAL;
  fs::Path path = TRY(path_at(task, directory, guest_path, flags));
  return fs::change_owner(task.caller(), path, uid, gid);
}
Result<void> sys_chown(Task& task, GuestString path, UserId uid, UserId gid) {
  return sys_fchownat(task, kHere, path, uid, gid, 0);
}
Result<void> sys_lchown(Task& task, GuestString path, UserId uid, UserId gid) {
  return sys_fchownat(task, kHere, path, uid, gid, abi::kAT_SYMLINK_NOFOLLOW);
}
Result<void> sys_fchown(Task& task, Fd fd, UserId uid, UserId gid) {
  fs::Path path = TRY(path_of_fd(task, fd));
  return fs::change_owner(task.caller(), path, uid, gid);
}

// truncate(2).
Result<void> sys_truncate(Task& task, GuestString guest_path, s64 size) {
  if (size < 0) return Errno::INVAL;
  fs::Path path = TRY(path_at(task, kHere, guest_path, 0));
  if (static_cast<u64>(size) > task.process->limit(abi::kRLIMIT_FSIZE)) {
    (void)send_signal(task, user_signal(abi::kSIGXFSZ));
    return Errno::FBIG;
  }
  return fs::truncate_path(task.caller(), path, static_cast<u64>(size));
}

// --- Times: utimensat(2) and its three elders.

namespace {

constexpr s64 kUtimeNow = 0x3fffffff, kUtimeOmit = 0x3ffffffe;

Result<fs::TimeChange> change_of(const abi::Timespec& time) {
  fs::TimeChange change;
  if (time.tv_nsec == kUtimeNow) {
    change.kind = fs::TimeChange::kNow;
  } else if (time.tv_nsec == kUtimeOmit) {
    change.kind = fs::TimeChange::kOmit;
  } else {
    if (time.tv_nsec < 0 || time.tv_nsec > 999'999'999) return Errno::INVAL;
    change.kind = fs::TimeChange::kSet;
    change.time = time;
  }
  return change;
}

Result<void> set_times(Task& task, Fd directory, GuestString guest_path, const abi::Timespec* times,
                       u32 flags) {
  // Nothing to do: then not even the path is looked at. What is no time is an error after those of the path.
  if (times != nullptr && times[0].tv_nsec == kUtimeOmit && times[1].tv_nsec == kUtimeOmit) return {};
  // Without a path: the descriptor itself (futimens).
  fs::Path path;
  if (!guest_path && directory.value != abi::kAT_FDCWD) {
    if (flags != 0) return Errno::INVAL;
    path = TRY(path_of_fd(task, directory));
  } else {
    path = TRY(path_at(task, directory, guest_path, flags));
  }
  fs::TimeChange atime, mtime;
  if (times != nullptr) {
    atime = TRY(change_of(times[0]));
    mtime = TRY(change_of(times[1]));
  }
  return fs::change_times(task.caller(), path, atime, mtime);
}

Result<void> from_timevals(GuestIn<abi::Timeval> from, abi::Timespec (&times)[2]) {
  for (size_t i = 0; i < 2; i++) {
    abi::Timeval value = TRY(from.at(i));
    if (value.tv_usec < 0 || value.tv_usec >= 1'000'000) return Errno::INVAL;
    times[i] = {value.tv_sec, value.tv_usec * 1000};
  }
  return {};
}

}  // namespace

Result<void> sys_utimensat(Task& task, Fd directory, GuestString path, FileTimes times, AtFlags flags) {
  if ((flags & ~static_cast<u32>(abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_EMPTY_PATH)) != 0) return Errno::INVAL;
  if (!times) return set_times(task, directory, path, nullptr, flags);
  abi::Timespec values[2];
  TRY(times.read_all(values));
  return set_times(task, directory, path, values, flags);
}
Result<void> sys_futimesat(Task& task, Fd directory, GuestString path, FileTimevals times) {
  if (!times) return set_times(task, directory, path, nullptr, 0);
  abi::Timespec values[2];
  TRY(from_timevals(times, values));
  return set_times(task, directory, path, values, 0);
}
Result<void> sys_utimes(Task& task, GuestString path, FileTimevals times) {
  return sys_futimesat(task, kHere, path, times);
}
Result<void> sys_utime(Task& task, GuestString path, GuestIn<s64> times) {
  if (!times) return set_times(task, kHere, path, nullptr, 0);
  abi::Timespec values[2] = {{TRY(times.at(0)), 0}, {TRY(times.at(1)), 0}};
  return set_times(task, kHere, path, values, 0);
}

// --- Extended attributes, xattr(7).

namespace {

class XattrName {
 public:
  Result<void> read(GuestString from) {
    auto text = from.read(storage_);
    if (text.is(Errno::NAMETOOLONG)) return Errno::RANGE;
    name_ = TRY(text);
    if (name_.empty()) return Errno::RANGE;
    return {};
  }
  std::string_view text() const { return name_; }

 private:
  char storage_[abi::kXATTR_NAME_MAX + 1];
  std::string_view name_;
};

Result<size_t> get_xattr(Task& task, const XattrName& name, const fs::Path& path, GuestOut<std::byte> out,
                         size_t size) {
  TRY(fs::check_xattr(task.credentials, path, name.text(), false));
  size = std::min<size_t>(size, abi::kXATTR_SIZE_MAX);
  auto value = TRY(HeapArray<std::byte>::create(size));
  size_t length = TRY(path.inode().get_xattr(name.text(), {value.data(), value.size()}));
  if (size > 0) TRY(copy_to_guest(out.address(), value.data(), length));
  return length;
}

// What setxattr(2) is to set, copied in before it looks where: its errors come first.
class XattrSetting {
 public:
  Result<void> read(GuestString guest_name, GuestIn<std::byte> in, size_t size, u32 flags) {
    if ((flags & ~static_cast<u32>(abi::kXATTR_CREATE | abi::kXATTR_REPLACE)) != 0) return Errno::INVAL;
    flags_ = flags;
    TRY(name_.read(guest_name));
    if (size > abi::kXATTR_SIZE_MAX) return Errno::TOO_BIG;
    value_ = TRY(HeapArray<std::byte>::create(size));
    if (size > 0) TRY(copy_from_guest(value_.data(), in.address(), size));
    return {};
  }

  Result<void> apply(Task& task, const fs::Path& path) const {
    TRY(fs::check_xattr(task.credentials, path, name_.text(), true));
    TRY(path.inode().set_xattr(name_.text(), {value_.data(), value_.size()}, flags_));
    fs::notify_path(path, abi::kIN_ATTRIB);
    return {};
  }

 private:
  XattrName name_;
  HeapArray<std::byte> value_;
  u32 flags_ = 0;
};

Result<size_t> list_xattrs(Task& task, const fs::Path& path, GuestOut<char> out, size_t size) {
  size_t length = TRY(path.inode().list_xattrs({}));
  auto names = TRY(HeapArray<char>::create(length));
  if (length > 0) length = TRY(path.inode().list_xattrs({names.data(), names.size()}));
  // trusted.* is not for everybody to see.
  size_t kept = 0;
  for (size_t at = 0; at < length;) {
    std::string_view name(names.data() + at);
    size_t whole = name.size() + 1;
    if (!name.starts_with("trusted.") || task.credentials.has(abi::kCAP_SYS_ADMIN)) {
      __builtin_memmove(names.data() + kept, names.data() + at, whole);
      kept += whole;
    }
    at += whole;
  }
  if (size == 0) return kept;
  if (kept > size) return Errno::RANGE;
  if (kept > 0) TRY(copy_to_guest(out.address(), names.data(), kept));
  return kept;
}

Result<void> remove_xattr(Task& task, const XattrName& name, const fs::Path& path) {
  TRY(fs::check_xattr(task.credentials, path, name.text(), true));
  TRY(path.inode().remove_xattr(name.text()));
  fs::notify_path(path, abi::kIN_ATTRIB);
  return {};
}

constexpr u32 kNoFollow = abi::kAT_SYMLINK_NOFOLLOW;

}  // namespace

Result<size_t> sys_getxattr(Task& task, GuestString path, GuestString name, GuestOut<std::byte> value,
                            size_t size) {
  XattrName text;
  TRY(text.read(name));
  return get_xattr(task, text, TRY(path_at(task, kHere, path, 0)), value, size);
}
Result<size_t> sys_lgetxattr(Task& task, GuestString path, GuestString name, GuestOut<std::byte> value,
                             size_t size) {
  XattrName text;
  TRY(text.read(name));
  return get_xattr(task, text, TRY(path_at(task, kHere, path, kNoFollow)), value, size);
}
Result<size_t> sys_fgetxattr(Task& task, Fd fd, GuestString name, GuestOut<std::byte> value, size_t size) {
  XattrName text;
  TRY(text.read(name));
  return get_xattr(task, text, TRY(path_of_fd(task, fd)), value, size);
}
Result<void> sys_setxattr(Task& task, GuestString path, GuestString name, GuestIn<std::byte> value,
                          size_t size, XattrFlags flags) {
  XattrSetting setting;
  TRY(setting.read(name, value, size, flags));
  return setting.apply(task, TRY(path_at(task, kHere, path, 0)));
}
Result<void> sys_lsetxattr(Task& task, GuestString path, GuestString name, GuestIn<std::byte> value,
                           size_t size, XattrFlags flags) {
  XattrSetting setting;
  TRY(setting.read(name, value, size, flags));
  return setting.apply(task, TRY(path_at(task, kHere, path, kNoFollow)));
}
Result<void> sys_fsetxattr(Task& task, Fd fd, GuestString name, GuestIn<std::byte> value, size_t size,
                           XattrFlags flags) {
  XattrSetting setting;
  TRY(setting.read(name, value, size, flags));
  return setting.apply(task, TRY(path_of_fd(task, fd)));
}
Result<size_t> sys_listxattr(Task& task, GuestString path, GuestOut<char> names, size_t size) {
  return list_xattrs(task, TRY(path_at(task, kHere, path, 0)), names, size);
}
Result<size_t> sys_llistxattr(Task& task, GuestString path, GuestOut<char> names, size_t size) {
  return list_xattrs(task, TRY(path_at(task, kHere, path, kNoFollow)), names, size);
}
Result<size_t> sys_flistxattr(Task& task, Fd fd, GuestOut<char> names, size_t size) {
  return list_xattrs(task, TRY(path_of_fd(task, fd)), names, size);
}
Result<void> sys_removexattr(Task& task, GuestString path, GuestString name) {
  XattrName text;
  TRY(text.read(name));
  return remove_xattr(task, text, TRY(path_at(task, kHere, path, 0)));
}
Result<void> sys_lremovexattr(Task& task, GuestString path, GuestString name) {
  XattrName text;
  TRY(text.read(name));
  return remove_xattr(task, text, TRY(path_at(task, kHere, path, kNoFollow)));
}
Result<void> sys_fremovexattr(Task& task, Fd fd, GuestString name) {
  XattrName text;
  TRY(text.read(name));
  return remove_xattr(task, text, TRY(path_of_fd(task, fd)));
}

}  // namespace teacup
