#include "kernel/syscall/memory_calls.h"
#include "kernel/task/process_memory.h"

#include <algorithm>

#include "fs/inode.h"
#include "fs/mount.h"
#include "fs/path.h"
#include "kernel/abi/mm.h"
#include "kernel/abi/process.h"
#include "kernel/frame/heap.h"
#include "kernel/task/debug_report.h"
#include "kernel/task/process.h"
#include "kernel/task/processes.h"
#include "kernel/task/task.h"

namespace teacup {

namespace {

mm::Limits limits_of(const Task& task) {
  mm::Limits limits;
  limits.address_space = task.process->limit(abi::kRLIMIT_AS);
  limits.data = task.process->limit(abi::kRLIMIT_DATA);
  limits.locked =
      task.credentials.has(abi::kCAP_IPC_LOCK) ? ~u64{0} : task.process->limit(abi::kRLIMIT_MEMLOCK);
  return limits;
}

}  // namespace

// mmap(2). Differs from Linux: memory is reserved only against a single request that is larger than all
// there is (as its heuristic overcommit), and MAP_GROWSDOWN mappings do not grow.
Result<GuestAddress> sys_mmap(Task& task, GuestAddress address, size_t length, Protection prot,
                              MapFlags flags, Fd fd, FileOffset offset) {
  if (!is_aligned(offset, kPageSize)) return Errno::INVAL;
  Ref<fs::File> file;
  if ((flags & abi::kMAP_ANONYMOUS) == 0) {
    file = TRY(task.files->get_io(fd));
    const fs::Path* path = file->path();
    bool no_exec = path != nullptr && *path && (path->mount().flags & fs::kMountNoExec) != 0;
    if (no_exec && (prot & abi::kPROT_EXEC) != 0) return Errno::PERM;
  }
  bool is_text = file && (prot & abi::kPROT_EXEC) != 0;
  u64 mapped =
      TRY(task.memory->map(address.value, length, prot, flags, std::move(file), offset, limits_of(task)));
  if (is_text) report_maps(task);
  return GuestAddress{mapped};
}

// munmap(2)
Result<void> sys_munmap(Task& task, GuestAddress address, size_t length) {
  return task.memory->unmap(address.value, length);
}

// mprotect(2)
Result<void> sys_mprotect(Task& task, GuestAddress address, size_t length, Protection prot) {
  return task.memory->protect(address.value, length, prot);
}

// pkey_mprotect(2). Differs from Linux: there are no protection keys, as on a processor without them.
Result<void> sys_pkey_mprotect(Task& task, GuestAddress address, size_t length, Protection prot, int key) {
  if (key != -1) return Errno::INVAL;
  return task.memory->protect(address.value, length, prot);
}

// mremap(2)
Result<GuestAddress> sys_mremap(Task& task, GuestAddress old_address, size_t old_length, size_t new_length,
                                MremapFlags flags, MremapTarget new_address) {
  u64 mapped = TRY(task.memory->remap(old_address.value, old_length, new_length, flags, new_address.value,
                                      limits_of(task)));
  return GuestAddress{mapped};
}

// brk(2), as the kernel has it: the break afterwards, which did not move if it could not.
Result<GuestAddress> sys_brk(Task& task, GuestAddress address) {
  return GuestAddress{task.memory->brk(address.value, limits_of(task))};
}

// madvise(2)
Result<void> sys_madvise(Task& task, GuestAddress address, size_t length, MemoryAdvice advice) {
  return task.memory->advise(address.value, length, advice);
}

// msync(2)
Result<void> sys_msync(Task& task, GuestAddress address, size_t length, MsyncFlags flags) {
  return task.memory->sync(address.value, length, flags);
}

// mincore(2). Differs from Linux: what is mapped counts as resident.
Result<void> sys_mincore(Task& task, GuestAddress address, size_t length, GuestOut<u8> pages) {
  if (!is_aligned(address.value, kPageSize)) return Errno::INVAL;
  if (address.value + length < address.value) return Errno::NOMEM;
  u64 count = page_up(length) / kPageSize;
  for (u64 first = 0; first < count;) {
    u8 some[256];
    u64 piece = std::min<u64>(count - first, sizeof(some));
    TRY(task.memory->resident(address.value + first * kPageSize, {some, piece}));
    TRY(copy_to_guest(pages.address() + first, some, piece));
    first += piece;
  }
  return {};
}

// mlock(2). Differs from Linux: counted and limited, but the host is not asked to lock anything.
Result<void> sys_mlock(Task& task, GuestAddress address, size_t length) {
  return task.memory->lock_memory(address.value, length, true, limits_of(task));
}
Result<void> sys_mlock2(Task& task, GuestAddress address, size_t length, int flags) {
  constexpr int kOnFault = 1;  // MLOCK_ONFAULT
  if ((flags & ~kOnFault) != 0) return Errno::INVAL;
  return task.memory->lock_memory(address.value, length, true, limits_of(task));
}
Result<void> sys_munlock(Task& task, GuestAddress address, size_t length) {
  return task.memory->lock_memory(address.value, length, false, limits_of(task));
}
Result<void> sys_mlockall(Task& task, MlockallFlags flags) {
  return task.memory->lock_all(flags, limits_of(task));
}
Result<void> sys_munlockall(Task& task) {
  return task.memory->unlock_all();
}

// get_mempolicy(2): one node, the default policy.
Result<void> sys_get_mempolicy(Task&, GuestOut<s32> mode, GuestOut<u64> nodes, u64 node_count, GuestAddress,
                               u64 flags) {
  constexpr u64 kKnown = 7;  // MPOL_F_NODE, MPOL_F_ADDR, MPOL_F_MEMS_ALLOWED
  constexpr u64 kMemsAllowed = 4;
  if ((flags & ~kKnown) != 0 || (nodes && node_count < 2)) return Errno::INVAL;
  if (mode) TRY(mode.write(0));
  if (nodes) TRY(nodes.write((flags & kMemsAllowed) != 0 ? 1 : 0));
  return {};
}

// set_mempolicy(2), mbind(2): with one node all policies are the same.
Result<void> sys_set_mempolicy(Task&, int mode, GuestIn<u64>, u64) {
  constexpr int kModes = 6;
  if ((mode & 0xff) >= kModes || mode < 0) return Errno::INVAL;
  return {};
}
Result<void> sys_mbind(Task& task, GuestAddress address, size_t, int mode, GuestIn<u64>, u64, u32 flags) {
  constexpr int kModes = 6;
  constexpr u32 kKnown = 7, kMoveAll = 4;  // MPOL_MF_STRICT, MPOL_MF_MOVE, MPOL_MF_MOVE_ALL
  if ((flags & ~kKnown) != 0) return Errno::INVAL;
  if ((flags & kMoveAll) != 0 && !task.credentials.has(abi::kCAP_SYS_NICE)) return Errno::PERM;
  if ((mode & 0xff) >= kModes || mode < 0 || !is_aligned(address.value, kPageSize)) return Errno::INVAL;
  return {};
}

namespace {

Result<HeapArray<abi::IoVec>> read_pieces(GuestIn<abi::IoVec> pieces, size_t count) {
  constexpr size_t kMostPieces = 1024;  // UIO_MAXIOV
  if (count > kMostPieces) return Errno::INVAL;
  auto list = TRY(HeapArray<abi::IoVec>::create(count));
  if (count > 0) TRY(copy_from_guest(list.data(), pieces.address(), count * sizeof(abi::IoVec)));
  return list;
}

// The process whose memory is meant. EINVAL, ESRCH, EPERM.
Result<Ref<Task>> find_traced(Task& task, s32 pid, u64 flags) {
  if (flags != 0) return Errno::INVAL;
  Ref<Task> other = processes().find_task(pid);
  if (!other) return Errno::SRCH;
  TRY(check_may_trace(task, *other));
  return other;
}

// Moves between the caller's memory and another's pieces, as far as both go: move(address, buffer) is one way
// or the other. What has been moved before an error counts.
template <typename Move>
Result<size_t> move_pieces(std::span<const abi::IoVec> theirs, size_t most, Move move) {
  constexpr size_t kPiece = 64 * KiB;
  auto buffer = TRY(HeapArray<std::byte>::create(std::min(most, kPiece)));
  size_t done = 0;
  for (const abi::IoVec& piece : theirs) {
    for (u64 at = 0; at < piece.length && done < most;) {
      size_t wanted = std::min({buffer.size(), static_cast<size_t>(piece.length - at), most - done});
      auto moved = move(piece.base + at, std::span<std::byte>(buffer.data(), wanted));
      if (!moved.ok() && done == 0) return moved.error();
      if (!moved.ok()) return done;
      done += moved.value();
      at += moved.value();
      if (moved.value() < wanted) return done;
    }
  }
  return done;
}

}  // namespace

// process_vm_readv(2), process_vm_writev(2).
Result<size_t> sys_process_vm_readv(Task& task, s32 pid, GuestIn<abi::IoVec> local, size_t local_count,
                                    GuestIn<abi::IoVec> remote, size_t remote_count, u64 flags) {
  auto to = TRY(read_pieces(local, local_count));
  auto from = TRY(read_pieces(remote, remote_count));
  IoDest dest(to.data(), local_count);
  if (flags == 0 && dest.remaining() == 0) return 0;
  Ref<Task> other = TRY(find_traced(task, pid, flags));
  return move_pieces({from.data(), remote_count}, dest.remaining(),
                     [&](u64 address, std::span<std::byte> buffer) -> Result<size_t> {
                       size_t got = TRY(read_process_memory(*other, address, buffer));
                       return dest.put(buffer.data(), got);
                     });
}

Result<size_t> sys_process_vm_writev(Task& task, s32 pid, GuestIn<abi::IoVec> local, size_t local_count,
                                     GuestIn<abi::IoVec> remote, size_t remote_count, u64 flags) {
  auto from = TRY(read_pieces(local, local_count));
  auto to = TRY(read_pieces(remote, remote_count));
  IoSource source(from.data(), local_count);
  if (flags == 0 && source.remaining() == 0) return 0;
  Ref<Task> other = TRY(find_traced(task, pid, flags));
  return move_pieces({to.data(), remote_count}, source.remaining(),
                     [&](u64 address, std::span<std::byte> buffer) -> Result<size_t> {
                       size_t taken = TRY(source.take(buffer.data(), buffer.size()));
                       return write_process_memory(*other, address, buffer.subspan(0, taken));
                     });
}

}  // namespace teacup
