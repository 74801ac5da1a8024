// Memory: mmap(2) and its kin.
#pragma once

#include "kernel/base/result.h"
#include "kernel/syscall/argument_types.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

class Task;

Result<GuestAddress> sys_mmap(Task& task, GuestAddress address, size_t length, Protection prot,
                              MapFlags flags, Fd fd, FileOffset offset);
Result<void> sys_munmap(Task& task, GuestAddress address, size_t length);
Result<void> sys_mprotect(Task& task, GuestAddress address, size_t length, Protection prot);
Result<void> sys_pkey_mprotect(Task& task, GuestAddress address, size_t length, Protection prot, int key);
Result<GuestAddress> sys_mremap(Task& task, GuestAddress old_address, size_t old_length, size_t new_length,
                                MremapFlags flags, MremapTarget new_address);
Result<GuestAddress> sys_brk(Task& task, GuestAddress address);
Result<void> sys_madvise(Task& task, GuestAddress address, size_t length, MemoryAdvice advice);
Result<void> sys_msync(Task& task, GuestAddress address, size_t length, MsyncFlags flags);
Result<void> sys_mincore(Task& task, GuestAddress address, size_t length, GuestOut<u8> pages);
Result<void> sys_mlock(Task& task, GuestAddress address, size_t length);
Result<void> sys_mlock2(Task& task, GuestAddress address, size_t length, int flags);
Result<void> sys_munlock(Task& task, GuestAddress address, size_t length);
Result<void> sys_mlockall(Task& task, MlockallFlags flags);
Result<void> sys_munlockall(Task& task);
Result<void> sys_get_mempolicy(Task& task, GuestOut<s32> mode, GuestOut<u64> nodes, u64 node_count,
                               GuestAddress address, u64 flags);
Result<void> sys_set_mempolicy(Task& task, int mode, GuestIn<u64> nodes, u64 node_count);
Result<void> sys_mbind(Task& task, GuestAddress address, size_t length, int mode, GuestIn<u64> nodes,
                       u64 node_count, u32 flags);
Result<size_t> sys_process_vm_readv(Task& task, s32 pid, GuestIn<abi::IoVec> local, size_t local_count,
                                    GuestIn<abi::IoVec> remote, size_t remote_count, u64 flags);
Result<size_t> sys_process_vm_writev(Task& task, s32 pid, GuestIn<abi::IoVec> local, size_t local_count,
                                     GuestIn<abi::IoVec> remote, size_t remote_count, u64 flags);

}  // namespace teacup
