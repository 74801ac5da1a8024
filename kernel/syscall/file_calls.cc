// Opening, looking at, making and removing names.
#include "kernel/syscall/file_calls.h"

#include <algorithm>

#include "kernel/base/memory.h"
#include "kernel/syscall/path_argument.h"
#include "kernel/task/process.h"

namespace teacup {

namespace {

constexpr Fd kHere{abi::kAT_FDCWD};

constexpr u32 kOpenFlags = abi::kO_ACCMODE | abi::kO_CREAT | abi::kO_EXCL | abi::kO_NOCTTY | abi::kO_TRUNC |
                           abi::kO_APPEND | abi::kO_NONBLOCK | abi::kO_SYNC | abi::kO_DSYNC | abi::kO_DIRECT |
                           abi::kO_LARGEFILE | abi::kO_DIRECTORY | abi::kO_NOFOLLOW | abi::kO_NOATIME |
                           abi::kO_CLOEXEC | abi::kO_PATH | abi::kO_TMPFILE | 020000;

Result<Fd> open_at(Task& task, Fd directory, GuestString guest_path, u32 flags, u32 mode, u32 resolve) {
  PathArgument path;
  TRY(path.read(task, directory, guest_path, (resolve & (fs::kBeneath | fs::kInRoot)) != 0));
  Ref<fs::File> file = TRY(fs::open_path(task.caller(), path.start(), path.text(), flags, mode, resolve));
  if (WaitQueue* queue = file->wait_queue(); queue != nullptr && (flags & abi::kO_PATH) == 0) {
    TRY(block_on(*queue, ~u32{0}, "open", [&] { return file->finish_open(); }));
  }
  return task.files->install(std::move(file), (flags & abi::kO_CLOEXEC) != 0,
                             task.process->limit(abi::kRLIMIT_NOFILE));
}

}  // namespace

// open(2). Unknown flags are ignored, as ever.
Result<Fd> sys_openat(Task& task, Fd directory, GuestString path, OpenFlags flags, OpenMode mode) {
  return open_at(task, directory, path, flags & kOpenFlags, mode, 0);
}
Result<Fd> sys_open(Task& task, GuestString path, OpenFlags flags, OpenMode mode) {
  return sys_openat(task, kHere, path, flags, mode);
}
Result<Fd> sys_creat(Task& task, GuestString path, FileMode mode) {
  return sys_openat(task, kHere, path, abi::kO_CREAT | abi::kO_WRONLY | abi::kO_TRUNC, u32{mode});
}

// openat2(2): E2BIG for a larger structure with something in it that is not known here.
Result<Fd> sys_openat2(Task& task, Fd directory, GuestString path, GuestIn<abi::OpenHow> how_address,
                       size_t size) {
  if (size < sizeof(abi::OpenHow)) return Errno::INVAL;
  if (size > kPageSize) return Errno::TOO_BIG;
  abi::OpenHow how = TRY(how_address.read());
  for (size_t at = sizeof(abi::OpenHow); at < size; at++) {
    u8 byte;
    TRY(copy_from_guest(&byte, how_address.address() + at, 1));
    if (byte != 0) return Errno::TOO_BIG;
  }
  constexpr u64 kKnown = abi::kRESOLVE_NO_XDEV | abi::kRESOLVE_NO_MAGICLINKS | abi::kRESOLVE_NO_SYMLINKS |
                         abi::kRESOLVE_BENEATH | abi::kRESOLVE_IN_ROOT | abi::kRESOLVE_CACHED;
  if ((how.flags & ~u64{kOpenFlags}) != 0 || (how.resolve & ~kKnown) != 0) return Errno::INVAL;
  bool makes = (how.flags & (abi::kO_CREAT | (abi::kO_TMPFILE & ~abi::kO_DIRECTORY))) != 0;
  if ((how.mode & ~u64{07777}) != 0 || (how.mode != 0 && !makes)) return Errno::INVAL;
  constexpr u64 kWithPath = abi::kO_PATH | abi::kO_DIRECTORY | abi::kO_NOFOLLOW | abi::kO_CLOEXEC;
  if ((how.flags & abi::kO_PATH) != 0 && (how.flags & ~kWithPath) != 0) return Errno::INVAL;
  u32 resolve = 0;
  if ((how.resolve & abi::kRESOLVE_NO_XDEV) != 0) resolve |= fs::kNoXdev;
  if ((how.resolve & abi::kRESOLVE_NO_MAGICLINKS) != 0) resolve |= fs::kNoMagicLinks;
  if ((how.resolve & abi::kRESOLVE_NO_SYMLINKS) != 0) resolve |= fs::kNoSymlinks | fs::kNoMagicLinks;
  if ((how.resolve & abi::kRESOLVE_BENEATH) != 0) resolve |= fs::kBeneath;
  if ((how.resolve & abi::kRESOLVE_IN_ROOT) != 0) resolve |= fs::kInRoot;
  if ((resolve & (fs::kBeneath | fs::kInRoot)) == (fs::kBeneath | fs::kInRoot)) return Errno::INVAL;
  // Everything asked of may have to be fetched first: the caller is to try again without it.
  if ((how.resolve & abi::kRESOLVE_CACHED) != 0) return Errno::AGAIN;
  return open_at(task, directory, path, static_cast<u32>(how.flags), static_cast<u32>(how.mode), resolve);
}

// --- stat(2) and its kin.

namespace {

Result<void> stat_at(Task& task, Fd directory, GuestString guest_path, u32 flags, GuestOut<abi::Stat> out) {
  PathArgument path;
  TRY(path.read(task, directory, guest_path));
  fs::FileStatus status;
  if (fs::File* file = path.file(); file != nullptr && (flags & abi::kAT_EMPTY_PATH) != 0) {
    TRY(file->stat(status.stat));
  } else {
    TRY(path.stat(task, resolve_flags(flags), status));
  }
  return out.write(status.stat);
}

}  // namespace

Result<void> sys_stat(Task& task, GuestString path, GuestOut<abi::Stat> out) {
  return stat_at(task, kHere, path, 0, out);
}
Result<void> sys_lstat(Task& task, GuestString path, GuestOut<abi::Stat> out) {
  return stat_at(task, kHere, path, abi::kAT_SYMLINK_NOFOLLOW, out);
}
Result<void> sys_fstat(Task& task, Fd fd, GuestOut<abi::Stat> out) {
  fs::FdFile file = TRY(task.files->use(fd));
  abi::Stat stat;
  TRY(file->stat(stat));
  return out.write(stat);
}
// fstatat(2).
Result<void> sys_newfstatat(Task& task, Fd directory, GuestString path, GuestOut<abi::Stat> out,
                            AtFlags flags) {
  if ((flags & ~static_cast<u32>(abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_EMPTY_PATH | abi::kAT_NO_AUTOMOUNT)) !=
      0) {
    return Errno::INVAL;
  }
  return stat_at(task, directory, path, flags, out);
}

// statx(2): all that is known is always told.
Result<void> sys_statx(Task& task, Fd directory, GuestString guest_path, StatxFlags flags, StatxMask mask,
                       GuestOut<abi::Statx> out) {
  constexpr u32 kKnown =
      abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_EMPTY_PATH | abi::kAT_NO_AUTOMOUNT | abi::kAT_STATX_SYNC_TYPE;
  if ((flags & ~kKnown) != 0 || (mask & abi::kSTATX__RESERVED) != 0) return Errno::INVAL;
  if ((flags & abi::kAT_STATX_SYNC_TYPE) == static_cast<u32>(abi::kAT_STATX_SYNC_TYPE)) return Errno::INVAL;
  PathArgument path;
  TRY(path.read(task, directory, guest_path));
  fs::FileStatus status;
  abi::Statx statx{};
  if (fs::File* file = path.file(); file != nullptr && (flags & abi::kAT_EMPTY_PATH) != 0) {
    TRY(file->stat(status.stat));
    fs::stat_place(TRY(fs::path_of(*file)), status);
  } else {
    TRY(path.stat(task, resolve_flags(flags), status));
  }
  const abi::Stat& stat = status.stat;
  auto stamp = [](s64 seconds, s64 nanoseconds) {
    return abi::StatxTimestamp{seconds, static_cast<u32>(nanoseconds), 0};
  };
  statx.mask = abi::kSTATX_BASIC_STATS | abi::kSTATX_MNT_ID;
  statx.blksize = static_cast<u32>(stat.blksize);
  statx.nlink = static_cast<u32>(stat.nlink);
  statx.uid = stat.uid;
  statx.gid = stat.gid;
  statx.mode = static_cast<u16>(stat.mode);
  statx.ino = stat.ino;
  statx.size = static_cast<u64>(stat.size);
  statx.blocks = static_cast<u64>(stat.blocks);
  statx.atime = stamp(stat.atime, stat.atime_nsec);
  statx.mtime = stamp(stat.mtime, stat.mtime_nsec);
  statx.ctime = stamp(stat.ctime, stat.ctime_nsec);
  if (status.birth.tv_sec != 0) {
    statx.btime = stamp(status.birth.tv_sec, status.birth.tv_nsec);
    statx.mask |= abi::kSTATX_BTIME;
  }
  statx.rdev_major = fs::device_major(stat.rdev);
  statx.rdev_minor = fs::device_minor(stat.rdev);
  statx.dev_major = fs::device_major(stat.dev);
  statx.dev_minor = fs::device_minor(stat.dev);
  statx.mnt_id = status.mount;
  statx.attributes_mask = abi::kSTATX_ATTR_MOUNT_ROOT;
  if (status.is_mount_root) statx.attributes |= abi::kSTATX_ATTR_MOUNT_ROOT;
  return out.write(statx);
}

namespace {

Result<void> statfs_of(const fs::Path& path, GuestOut<abi::Statfs> out) {
  abi::Statfs statfs;
  TRY(path.mount().file_system().statfs(statfs));
  constexpr s64 kValid = 0x20, kReadOnly = 1, kNoSuid = 2, kNoDev = 4, kNoExec = 8, kRelatime = 4096;
  u32 flags = path.mount().flags.load();
  constexpr s64 kNoAtime = 1024;
  statfs.flags = kValid | ((flags & fs::kMountNoAtime) != 0 ? kNoAtime : kRelatime);
  if ((flags & fs::kMountReadOnly) != 0) statfs.flags |= kReadOnly;
  if ((flags & fs::kMountNoSuid) != 0) statfs.flags |= kNoSuid;
  if ((flags & fs::kMountNoDev) != 0) statfs.flags |= kNoDev;
  if ((flags & fs::kMountNoExec) != 0) statfs.flags |= kNoExec;
  return out.write(statfs);
}

}  // namespace

Result<void> sys_statfs(Task& task, GuestString guest_path, GuestOut<abi::Statfs> out) {
  PathArgument path;
  TRY(path.read(task, kHere, guest_path));
  fs::Path found = TRY(path.resolve(task, fs::kFollow));
  return statfs_of(found, out);
}
Result<void> sys_fstatfs(Task& task, Fd fd, GuestOut<abi::Statfs> out) {
  fs::FdFile file = TRY(task.files->use(fd));
  fs::Path path = TRY(fs::path_of(*file));
  return statfs_of(path, out);
}

// access(2): by the real ids; AT_EACCESS: by the effective ones.
Result<void> sys_faccessat2(Task& task, Fd directory, GuestString guest_path, AccessMode mode,
                            AccessFlags flags) {
  if ((mode & ~7u) != 0) return Errno::INVAL;
  if ((flags & ~static_cast<u32>(abi::kAT_EACCESS | abi::kAT_SYMLINK_NOFOLLOW | abi::kAT_EMPTY_PATH)) != 0) {
    return Errno::INVAL;
  }
  PathArgument path;
  TRY(path.read(task, directory, guest_path));
  Credentials credentials = task.credentials;
  if ((flags & abi::kAT_EACCESS) == 0) {
    credentials.fsuid = credentials.uid;
    credentials.fsgid = credentials.gid;
    credentials.effective = credentials.uid == 0 ? credentials.permitted : 0;
  }
  fs::Caller caller{*task.fs, credentials};
  fs::Path found = TRY(path.resolve(caller, resolve_flags(flags)));
  if (mode == 0) return {};
  return fs::check_access(found, credentials, mode);
}
Result<void> sys_faccessat(Task& task, Fd directory, GuestString path, AccessMode mode) {
  return sys_faccessat2(task, directory, path, mode, 0);
}
Result<void> sys_access(Task& task, GuestString path, AccessMode mode) {
  return sys_faccessat2(task, kHere, path, mode, 0);
}

// readlink(2).
Result<size_t> sys_readlinkat(Task& task, Fd directory, GuestString guest_path, GuestOut<char> buffer,
                              s32 size) {
  if (size <= 0) return Errno::INVAL;
  PathArgument path;
  TRY(path.read(task, directory, guest_path));
  fs::Path found = TRY(path.resolve(task, fs::kEmptyPath));
  if (!found.inode().is_symlink()) return path.text().empty() ? Errno::NOENT : Errno::INVAL;
  char text[abi::kPATH_MAX];
  size_t length =
      TRY(found.inode().readlink({text, std::min<size_t>(static_cast<size_t>(size), sizeof text)}));
  fs::touch_access_time(found, true);
  TRY(copy_to_guest(buffer.address(), text, length));
  return length;
}
Result<size_t> sys_readlink(Task& task, GuestString path, GuestOut<char> buffer, s32 size) {
  return sys_readlinkat(task, kHere, path, buffer, size);
}

// --- Making and removing names.

Result<void> sys_mkdirat(Task& task, Fd directory, GuestString guest_path, FileMode mode) {
  PathArgument path;
  TRY(path.read(task, directory, guest_path));
  return fs::make_directory(task.caller(), path.start(), path.text(), mode);
}
Result<void> sys_mkdir(Task& task, GuestString path, FileMode mode) {
  return sys_mkdirat(task, kHere, path, mode);
}

Result<void> sys_mknodat(Task& task, Fd directory, GuestString guest_path, NodeMode mode, NodeDevice device) {
  PathArgument path;
  TRY(path.read(task, directory, guest_path));
  u64 rdev = fs::make_device(device >> 8 & 0xfff, (device & 0xff) | (device >> 12 & 0xfff00));
  TRY(fs::make_node(task.caller(), path.start(), path.text(), mode, rdev));
  return {};
}
Result<void> sys_mknod(Task& task, GuestString path, NodeMode mode, NodeDevice device) {
  return sys_mknodat(task, kHere, path, mode, device);
}

Result<void> sys_symlinkat(Task& task, GuestString guest_target, Fd directory, GuestString guest_path) {
  PathArgument path;
  char storage[abi::kPATH_MAX];
  std::string_view target = TRY(guest_target.read(storage));
  TRY(path.read(task, directory, guest_path));
  return fs::make_symlink(task.caller(), target, path.start(), path.text());
}
Result<void> sys_symlink(Task& task, GuestString target, GuestString path) {
  return sys_symlinkat(task, target, kHere, path);
}

// link(2): the link itself is linked, unless AT_SYMLINK_FOLLOW.
Result<void> sys_linkat(Task& task, Fd existing_directory, GuestString guest_existing, Fd directory,
                        GuestString guest_path, AtFlags flags) {
  if ((flags & ~static_cast<u32>(abi::kAT_SYMLINK_FOLLOW | abi::kAT_EMPTY_PATH)) != 0) return Errno::INVAL;
  PathArgument existing, path;
  TRY(existing.read(task, existing_directory, guest_existing));
  TRY(path.read(task, directory, guest_path));
  if ((flags & abi::kAT_EMPTY_PATH) != 0 && existing.text().empty() &&
      !task.credentials.has(abi::kCAP_DAC_READ_SEARCH)) {
    return Errno::NOENT;
  }
  u32 how = (flags & abi::kAT_SYMLINK_FOLLOW) != 0 ? u32{fs::kFollow} : 0u;
  if ((flags & abi::kAT_EMPTY_PATH) != 0) how |= fs::kEmptyPath;
  fs::Path found = TRY(existing.resolve(task, how));
  return fs::make_link(task.caller(), found, path.start(), path.text());
}
Result<void> sys_link(Task& task, GuestString existing, GuestString path) {
  return sys_linkat(task, kHere, existing, kHere, path, 0);
}

Result<void> sys_unlinkat(Task& task, Fd directory, GuestString guest_path, UnlinkFlags flags) {
  if ((flags & ~static_cast<u32>(abi::kAT_REMOVEDIR)) != 0) return Errno::INVAL;
  PathArgument path;
  TRY(path.read(task, directory, guest_path));
  if ((flags & abi::kAT_REMOVEDIR) != 0) {
    return fs::remove_directory(task.caller(), path.start(), path.text());
  }
  return fs::remove_name(task.caller(), path.start(), path.text());
}
Result<void> sys_unlink(Task& task, GuestString path) {
  return sys_unlinkat(task, kHere, path, 0);
}
Result<void> sys_rmdir(Task& task, GuestString path) {
  return sys_unlinkat(task, kHere, path, abi::kAT_REMOVEDIR);
}

Result<void> sys_renameat2(Task& task, Fd old_directory, GuestString guest_old, Fd new_directory,
                           GuestString guest_new, RenameFlags flags) {
  PathArgument old_path, new_path;
  TRY(old_path.read(task, old_directory, guest_old));
  TRY(new_path.read(task, new_directory, guest_new));
  return fs::rename_path(task.caller(), old_path.start(), old_path.text(), new_path.start(), new_path.text(),
                         flags);
}
Result<void> sys_renameat(Task& task, Fd old_directory, GuestString old_path, Fd new_directory,
                          GuestString new_path) {
  return sys_renameat2(task, old_directory, old_path, new_directory, new_path, 0);
}
Result<void> sys_rename(Task& task, GuestString old_path, GuestString new_path) {
  return sys_renameat2(task, kHere, old_path, kHere, new_path, 0);
}

}  // namespace teacup
