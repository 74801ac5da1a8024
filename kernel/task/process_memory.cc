#include "kernel/task/process_memory.h"

#include <algorithm>

#include "kernel/abi/ring.h"
#include "kernel/base/memory.h"
#include "kernel/sync/doorbell.h"
#include "kernel/task/processes.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

namespace {

constexpr size_t kMostAtOnce = 64 * KiB;

enum class Direction : u64 { kRead = 0, kWrite = 1 };

// `buffer` is in the arena.
Result<size_t> ask_broker(Task& other, mm::AddressSpace& memory, u64 address, std::byte* buffer, size_t size,
                          Direction direction) {
  u32 host = memory.host_pid.load(std::memory_order_relaxed);
  if (host == 0) return Errno::SRCH;
  s64 moved = ring_call(abi::RingOp::kGuestMemory, host, address, reinterpret_cast<u64>(buffer) - kArenaBase,
                        size, static_cast<u64>(direction));
  // The host process may have become another program's meanwhile.
  if (memory_of(other).get() != &memory || memory.host_pid.load(std::memory_order_seq_cst) != host)
    return Errno::SRCH;
  if (moved < 0) return moved == -static_cast<s64>(Errno::FAULT) ? Errno::FAULT : Errno::PERM;
  return std::min(static_cast<size_t>(moved), size);
}

bool is_own(const Ref<mm::AddressSpace>& memory) {
  return memory == current_task().memory;
}

}  // namespace

Result<size_t> read_process_memory(Task& other, u64 address, std::span<std::byte> to) {
  Ref<mm::AddressSpace> memory = memory_of(other);
  if (!memory) return Errno::SRCH;
  if (!is_guest_range(address, to.size())) return Errno::FAULT;
  if (is_own(memory)) {
    TRY(copy_from_guest(to.data(), address, to.size()));
    return to.size();
  }
  auto buffer = TRY(HeapArray<std::byte>::create(std::min(to.size(), kMostAtOnce)));
  size_t done = 0;
  while (done < to.size()) {
    size_t wanted = std::min(to.size() - done, buffer.size());
    auto moved = ask_broker(other, *memory, address + done, buffer.data(), wanted, Direction::kRead);
    if (!moved.ok() && done == 0) return moved.error();
    if (!moved.ok()) break;
    memcpy(to.data() + done, buffer.data(), moved.value());
    done += moved.value();
    if (moved.value() < wanted) break;
  }
  return done;
}

Result<size_t> write_process_memory(Task& other, u64 address, std::span<const std::byte> from) {
  Ref<mm::AddressSpace> memory = memory_of(other);
  if (!memory) return Errno::SRCH;
  if (!is_guest_range(address, from.size())) return Errno::FAULT;
  if (is_own(memory)) {
    TRY(copy_to_guest(address, from.data(), from.size()));
    return from.size();
  }
  auto buffer = TRY(HeapArray<std::byte>::create(std::min(from.size(), kMostAtOnce)));
  size_t done = 0;
  while (done < from.size()) {
    size_t wanted = std::min(from.size() - done, buffer.size());
    memcpy(buffer.data(), from.data() + done, wanted);
    auto moved = ask_broker(other, *memory, address + done, buffer.data(), wanted, Direction::kWrite);
    if (!moved.ok() && done == 0) return moved.error();
    if (!moved.ok()) break;
    done += moved.value();
    if (moved.value() < wanted) break;
  }
  return done;
}

Result<void> check_may_trace(Task& task, Task& other) {
  if (task.process == other.process) return {};
  Credentials theirs = credentials_of(other);
  const Credentials& ours = task.credentials;
  bool same = ours.uid == theirs.euid && ours.uid == theirs.uid && ours.uid == theirs.suid &&
              ours.gid == theirs.egid && ours.gid == theirs.gid && ours.gid == theirs.sgid;
  if ((same && other.process->dumpable) || ours.has(abi::kCAP_SYS_PTRACE)) return {};
  return Errno::PERM;
}

}  // namespace teacup
