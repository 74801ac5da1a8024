// The memory of another process of the machine, for /proc/PID/{cmdline,mem} and process_vm_readv(2).
//
// It is in another host process, which may be running, stopped, or waiting where nothing may disturb it. So
// the broker, whose child every host process is, reads and writes it (process_vm_readv(2) of the host). Where
// the host forbids that the answer is EPERM.
#pragma once

#include <span>

#include "kernel/base/result.h"
#include "kernel/base/types.h"

namespace teacup {

class Task;

// Bytes moved, fewer where the rest is not there; the caller's own memory too. No lock may be held: waits for
// the broker. EFAULT: nothing is there, or it may not be written. ESRCH: the process has ended. EPERM,
// ENOMEM.
Result<size_t> read_process_memory(Task& other, u64 address, std::span<std::byte> to);
Result<size_t> write_process_memory(Task& other, u64 address, std::span<const std::byte> from);

// Whether `task` may look into `other`: ptrace(2), "Ptrace access mode checking". EPERM.
Result<void> check_may_trace(Task& task, Task& other);

}  // namespace teacup
