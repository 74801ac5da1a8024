// A process's place in the file tree, and mounts.
#include <algorithm>

#include "fs/mount.h"
#include "kernel/base/memory.h"
#include "kernel/syscall/file_calls.h"
#include "kernel/syscall/path_argument.h"

namespace teacup {

namespace {

constexpr Fd kHere{abi::kAT_FDCWD};

Result<fs::Path> directory_to_enter(Task& task, GuestString guest_path) {
  PathArgument path;
  TRY(path.read(task, kHere, guest_path));
  fs::Path found = TRY(path.resolve(task, fs::kFollow | fs::kDirectory));
  TRY(fs::check_access(found, task.credentials, fs::kMayExecute));
  return found;
}

// Source, type and options of mount(2): may be null.
Result<std::string_view> optional_text(GuestString from, std::span<char> storage) {
  if (!from) return std::string_view();
  return from.read(storage);
}

}  // namespace

Result<FileMode> sys_umask(Task& task, FileMode mask) {
  return FileMode(task.fs->set_umask(mask));
}

Result<void> sys_chdir(Task& task, GuestString path) {
  fs::Path found = TRY(directory_to_enter(task, path));
  task.fs->set_working_directory(found);
  return {};
}

Result<void> sys_fchdir(Task& task, Fd fd) {
  Ref<fs::File> file = TRY(task.files->get(fd));
  const fs::Path* path = file->path();
  if (path == nullptr || !path->inode().is_directory()) return Errno::NOTDIR;
  TRY(fs::check_access(*path, task.credentials, fs::kMayExecute));
  task.fs->set_working_directory(*path);
  return {};
}

// getcwd(2): the length with the NUL. ENOENT for a removed directory.
Result<size_t> sys_getcwd(Task& task, DirectoryOut buffer, size_t size) {
  fs::Path here = task.fs->working_directory();
  if (here.dentry().is_deleted()) return Errno::NOENT;
  char storage[abi::kPATH_MAX];
  TextBuffer text(storage);
  TRY(fs::path_text(here, task.fs->root(), text));
  size_t length = text.length() + 1;
  if (length > size) return Errno::RANGE;
  TRY(copy_to_guest(buffer.address(), storage, length));
  return length;
}

Result<void> sys_chroot(Task& task, GuestString path) {
  fs::Path found = TRY(directory_to_enter(task, path));
  if (!task.credentials.has(abi::kCAP_SYS_CHROOT)) return Errno::PERM;
  task.fs->set_root(found);
  return {};
}

// mount(2). Differs from Linux: one namespace, so propagation flags change nothing; no block devices, so
// types that need one are ENODEV.
Result<void> sys_mount(Task& task, GuestString guest_source, GuestString guest_target, GuestString guest_type,
                       u64 flags, GuestString guest_data) {
  constexpr u64 kRemount = 32, kBind = 4096, kMove = 8192;
  constexpr u64 kPropagation = 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20;
  constexpr u64 kMagic = 0xffff0000, kMagicValue = 0xc0ed0000;
  if ((flags & kMagic) == kMagicValue) flags &= ~kMagic;
  if (!task.credentials.has(abi::kCAP_SYS_ADMIN)) return Errno::PERM;
  PathArgument target;
  TRY(target.read(task, kHere, guest_target));
  fs::Path where = TRY(target.resolve(task, fs::kFollow));
  u32 mount_flags = static_cast<u32>(flags) & (fs::kMountReadOnly | fs::kMountNoSuid | fs::kMountNoDev |
                                               fs::kMountNoExec | fs::kMountNoAtime);
  char storage[abi::kPATH_MAX];
  if ((flags & kRemount) != 0) {
    if (&where.dentry() != &where.mount().root()) return Errno::INVAL;
    where.mount().flags.store(mount_flags);
    return {};
  }
  if ((flags & kPropagation) != 0) return {};
  if ((flags & kMove) != 0) return Errno::INVAL;
  if ((flags & kBind) != 0) {
    PathArgument source;
    TRY(source.read(task, kHere, guest_source));
    fs::Path what = TRY(source.resolve(task, fs::kFollow));
    return fs::bind_mount(what, where, mount_flags);
  }
  if (!where.inode().is_directory()) return Errno::NOTDIR;
  std::string_view type = TRY(optional_text(guest_type, storage));
  const fs::FileSystemType* found = fs::find_file_system(type);
  if (found == nullptr) return Errno::NODEV;
  std::string_view data = TRY(optional_text(guest_data, storage));
  Ref<fs::FileSystem> file_system = TRY(found->mount("none", data));
  char source_text[sizeof file_system->source];
  auto source = optional_text(guest_source, source_text);
  if (source.ok() && !source.value().empty()) {
    memcpy(file_system->source, source.value().data(), source.value().size());
    file_system->source[source.value().size()] = '\0';
  }
  return fs::mount_file_system(std::move(file_system), where, mount_flags);
}

// umount(2).
Result<void> sys_umount2(Task& task, GuestString guest_target, u32 flags) {
  constexpr u32 kForce = 1, kDetach = 2, kExpire = 4, kNoFollow = 8;
  if ((flags & ~(kForce | kDetach | kExpire | kNoFollow)) != 0) return Errno::INVAL;
  if (!task.credentials.has(abi::kCAP_SYS_ADMIN)) return Errno::PERM;
  PathArgument target;
  TRY(target.read(task, kHere, guest_target));
  fs::Path where = TRY(target.resolve(task, (flags & kNoFollow) != 0 ? 0u : u32{fs::kFollow}));
  return fs::unmount(where, flags);
}

}  // namespace teacup
