// Calls on descriptors: reading and writing, positions, dup(2), fcntl(2), locks, ioctl(2), syncing.
#pragma once

#include "kernel/abi/fs.h"
#include "kernel/base/result.h"
#include "kernel/syscall/argument_types.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

class Task;

Result<size_t> sys_read(Task& task, Fd fd, GuestOut<std::byte> buffer, size_t count);
Result<size_t> sys_write(Task& task, Fd fd, GuestIn<std::byte> buffer, size_t count);
Result<size_t> sys_pread64(Task& task, Fd fd, GuestOut<std::byte> buffer, size_t count, s64 offset);
Result<size_t> sys_pwrite64(Task& task, Fd fd, GuestIn<std::byte> buffer, size_t count, s64 offset);
Result<size_t> sys_readv(Task& task, Fd fd, IovecsOut pieces, size_t count);
Result<size_t> sys_writev(Task& task, Fd fd, GuestIn<abi::IoVec> pieces, size_t count);
Result<size_t> sys_preadv(Task& task, Fd fd, IovecsOut pieces, size_t count, s64 offset);
Result<size_t> sys_pwritev(Task& task, Fd fd, GuestIn<abi::IoVec> pieces, size_t count, s64 offset);
Result<size_t> sys_preadv2(Task& task, Fd fd, IovecsOut pieces, size_t count, s64 offset, u64 offset_high,
                           u32 flags);
Result<size_t> sys_pwritev2(Task& task, Fd fd, GuestIn<abi::IoVec> pieces, size_t count, s64 offset,
                            u64 offset_high, u32 flags);
Result<size_t> sys_sendfile(Task& task, Fd out, Fd in, OptionalOffset offset, size_t count);
Result<size_t> sys_copy_file_range(Task& task, Fd in, OptionalOffset in_offset, Fd out,
                                   OptionalOffset out_offset, size_t count, u32 flags);

Result<u64> sys_lseek(Task& task, Fd fd, s64 offset, Whence whence);
Result<void> sys_ftruncate(Task& task, Fd fd, s64 size);
Result<void> sys_fallocate(Task& task, Fd fd, FallocateMode mode, s64 offset, s64 length);
Result<void> sys_fadvise64(Task& task, Fd fd, s64 offset, s64 length, FileAdvice advice);
Result<void> sys_readahead(Task& task, Fd fd, s64 offset, size_t count);
Result<void> sys_fsync(Task& task, Fd fd);
Result<void> sys_fdatasync(Task& task, Fd fd);
Result<void> sys_sync_file_range(Task& task, Fd fd, s64 offset, s64 length, u32 flags);
Result<void> sys_syncfs(Task& task, Fd fd);
Result<void> sys_sync(Task& task);

Result<void> sys_close(Task& task, Fd fd);
Result<void> sys_close_range(Task& task, u32 first, u32 last, CloseRangeFlags flags);
Result<Fd> sys_dup(Task& task, Fd fd);
Result<Fd> sys_dup2(Task& task, Fd fd, Fd at);
Result<Fd> sys_dup3(Task& task, Fd fd, Fd at, DescriptorFlags flags);
Result<s64> sys_fcntl(Task& task, Fd fd, FcntlCommand command, FcntlArgument argument);
Result<void> sys_flock(Task& task, Fd fd, FlockOperation operation);
Result<s64> sys_ioctl(Task& task, Fd fd, IoctlCommand command, IoctlArgument argument);
Result<size_t> sys_getdents64(Task& task, Fd fd, DirectoryEntries buffer, u32 size);
Result<size_t> sys_getdents(Task& task, Fd fd, DirectoryEntries buffer, u32 size);

}  // namespace teacup
