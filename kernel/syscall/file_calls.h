// Calls on names: opening, making, removing, attributes, the process's place in the tree, mounts.
#pragma once

#include "kernel/abi/fs.h"
#include "kernel/abi/time.h"
#include "kernel/base/result.h"
#include "kernel/syscall/argument_types.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

class Task;

Result<Fd> sys_open(Task& task, GuestString path, OpenFlags flags, OpenMode mode);
Result<Fd> sys_openat(Task& task, Fd directory, GuestString path, OpenFlags flags, OpenMode mode);
Result<Fd> sys_openat2(Task& task, Fd directory, GuestString path, GuestIn<abi::OpenHow> how, size_t size);
Result<Fd> sys_creat(Task& task, GuestString path, FileMode mode);

Result<void> sys_stat(Task& task, GuestString path, GuestOut<abi::Stat> stat);
Result<void> sys_lstat(Task& task, GuestString path, GuestOut<abi::Stat> stat);
Result<void> sys_fstat(Task& task, Fd fd, GuestOut<abi::Stat> stat);
Result<void> sys_newfstatat(Task& task, Fd directory, GuestString path, GuestOut<abi::Stat> stat,
                            AtFlags flags);
Result<void> sys_statx(Task& task, Fd directory, GuestString path, StatxFlags flags, StatxMask mask,
                       GuestOut<abi::Statx> statx);
Result<void> sys_statfs(Task& task, GuestString path, GuestOut<abi::Statfs> statfs);
Result<void> sys_fstatfs(Task& task, Fd fd, GuestOut<abi::Statfs> statfs);
Result<void> sys_access(Task& task, GuestString path, AccessMode mode);
Result<void> sys_faccessat(Task& task, Fd directory, GuestString path, AccessMode mode);
Result<void> sys_faccessat2(Task& task, Fd directory, GuestString path, AccessMode mode, AccessFlags flags);
Result<size_t> sys_readlink(Task& task, GuestString path, GuestOut<char> buffer, s32 size);
Result<size_t> sys_readlinkat(Task& task, Fd directory, GuestString path, GuestOut<char> buffer, s32 size);

Result<void> sys_mkdir(Task& task, GuestString path, FileMode mode);
Result<void> sys_mkdirat(Task& task, Fd directory, GuestString path, FileMode mode);
Result<void> sys_mknod(Task& task, GuestString path, NodeMode mode, NodeDevice device);
Result<void> sys_mknodat(Task& task, Fd directory, GuestString path, NodeMode mode, NodeDevice device);
Result<void> sys_symlink(Task& task, GuestString target, GuestString path);
Result<void> sys_symlinkat(Task& task, GuestString target, Fd directory, GuestString path);
Result<void> sys_link(Task& task, GuestString existing, GuestString path);
Result<void> sys_linkat(Task& task, Fd existing_directory, GuestString existing, Fd directory,
                        GuestString path, AtFlags flags);
Result<void> sys_unlink(Task& task, GuestString path);
Result<void> sys_unlinkat(Task& task, Fd directory, GuestString path, UnlinkFlags flags);
Result<void> sys_rmdir(Task& task, GuestString path);
Result<void> sys_rename(Task& task, GuestString old_path, GuestString new_path);
Result<void> sys_renameat(Task& task, Fd old_directory, GuestString old_path, Fd new_directory,
                          GuestString new_path);
Result<void> sys_renameat2(Task& task, Fd old_directory, GuestString old_path, Fd new_directory,
                           GuestString new_path, RenameFlags flags);

Result<void> sys_chmod(Task& task, GuestString path, FileMode mode);
Result<void> sys_fchmod(Task& task, Fd fd, FileMode mode);
Result<void> sys_fchmodat(Task& task, Fd directory, GuestString path, FileMode mode);
Result<void> sys_chown(Task& task, GuestString path, UserId uid, UserId gid);
Result<void> sys_lchown(Task& task, GuestString path, UserId uid, UserId gid);
Result<void> sys_fchown(Task& task, Fd fd, UserId uid, UserId gid);
Result<void> sys_fchownat(Task& task, Fd directory, GuestString path, UserId uid, UserId gid, AtFlags flags);
Result<void> sys_truncate(Task& task, GuestString path, s64 size);
Result<void> sys_utime(Task& task, GuestString path, GuestIn<s64> times);
Result<void> sys_utimes(Task& task, GuestString path, FileTimevals times);
Result<void> sys_futimesat(Task& task, Fd directory, GuestString path, FileTimevals times);
Result<void> sys_utimensat(Task& task, Fd directory, GuestString path, FileTimes times, AtFlags flags);

Result<size_t> sys_getxattr(Task& task, GuestString path, GuestString name, GuestOut<std::byte> value,
                            size_t size);
Result<size_t> sys_lgetxattr(Task& task, GuestString path, GuestString name, GuestOut<std::byte> value,
                             size_t size);
Result<size_t> sys_fgetxattr(Task& task, Fd fd, GuestString name, GuestOut<std::byte> value, size_t size);
Result<void> sys_setxattr(Task& task, GuestString path, GuestString name, GuestIn<std::byte> value,
                          size_t size, XattrFlags flags);
Result<void> sys_lsetxattr(Task& task, GuestString path, GuestString name, GuestIn<std::byte> value,
                           size_t size, XattrFlags flags);
Result<void> sys_fsetxattr(Task& task, Fd fd, GuestString name, GuestIn<std::byte> value, size_t size,
                           XattrFlags flags);
Result<size_t> sys_listxattr(Task& task, GuestString path, GuestOut<char> names, size_t size);
Result<size_t> sys_llistxattr(Task& task, GuestString path, GuestOut<char> names, size_t size);
Result<size_t> sys_flistxattr(Task& task, Fd fd, GuestOut<char> names, size_t size);
Result<void> sys_removexattr(Task& task, GuestString path, GuestString name);
Result<void> sys_lremovexattr(Task& task, GuestString path, GuestString name);
Result<void> sys_fremovexattr(Task& task, Fd fd, GuestString name);

Result<FileMode> sys_umask(Task& task, FileMode mask);
Result<void> sys_chdir(Task& task, GuestString path);
Result<void> sys_fchdir(Task& task, Fd fd);
Result<size_t> sys_getcwd(Task& task, DirectoryOut buffer, size_t size);
Result<void> sys_chroot(Task& task, GuestString path);
Result<void> sys_mount(Task& task, GuestString source, GuestString target, GuestString type, u64 flags,
                       GuestString data);
Result<void> sys_umount2(Task& task, GuestString target, u32 flags);

}  // namespace teacup
