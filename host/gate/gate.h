// The gate: all that the kernel wants of the host. In the runtime each function is a few instructions around
// the one `syscall` instruction that the seccomp filter lets through (host_gate in gate.S); in unit tests the
// same functions are served by a mock (gate_mock.h). No function here takes a lock; which locks may be held
// is said at each.
//
// What the filter allows is host/filter/host_surface.def; a call that is not in there ends the machine.
#pragma once

#include <atomic>

#include "kernel/base/result.h"
#include "kernel/base/types.h"

namespace teacup::gate {

// --- Memory. Addresses and lengths in bytes, page aligned; prot is PROT_* as in mmap(2). All map exactly at
// `address`, replacing what was there. May be called holding the address space's map lock and no other.
Result<void> map_anonymous(u64 address, u64 length, int prot, bool populate = false);
// A mapping of the arena memfd (kArenaFd) or an image (kFirstImageFd + n).
Result<void> map_file(u64 address, u64 length, int prot, bool shared, int fd, u64 offset);
Result<void> unmap(u64 address, u64 length);
Result<void> protect(u64 address, u64 length, int prot);
// mremap(2) with MREMAP_MAYMOVE | MREMAP_FIXED when new_address differs from old_address, else in place.
Result<void> remap(u64 old_address, u64 old_length, u64 new_address, u64 new_length);
Result<void> advise(u64 address, u64 length, int advice);

// --- Parking. Words are in the arena and shared between processes.
// Sleeps while *word == expected, until woken, `deadline` (ns on CLOCK_MONOTONIC; kNoDeadline: for ever), or
// a kick. Returns on any of these without saying which: callers re-test what they wait for.
inline constexpr u64 kNoDeadline = ~u64{0};
void futex_wait(std::atomic<u32>& word, u32 expected, u64 deadline);
void futex_wake(std::atomic<u32>& word, u32 count);
void yield();

// --- Tasks.
// Forks the address space. In the parent: the child's host pid. In the child: 0, on the same (copied) stack.
// The child's %gs base still names the parent's task; it must call set_task() before anything that asks
// current(). The child's host pid is in *pid before it or the caller goes on.
Result<u32> spawn_process(std::atomic<u32>* pid);
// Starts a host thread on `stack_top` in entry(argument), which must not return; its %gs base is the caller's
// until it calls set_task(). Its host tid is written to *tid before it or the caller goes on; the host clears
// *tid when the thread is gone and no longer uses its stacks (not for the last thread of a process).
Result<void> spawn_thread(u64 stack_top, void (*entry)(void*), void* argument, std::atomic<u32>* tid);
[[noreturn]] void exit_thread();
[[noreturn]] void exit_process(int status);
// Sets what current() returns on this thread, and the FS base the guest sees.
void set_task(void* task);
void set_fs_base(u64 base);
u64 fs_base();
// Gives this thread its host signal stack.
void set_signal_stack(u64 base, u64 size);
// Sends SIGKILL here when the broker dies. Not inherited: every new process calls it.
void die_with_broker();

// --- Time, ns. CLOCK_MONOTONIC and CLOCK_REALTIME come from the host's vDSO (no call); CPU-time clocks are
// calls.
u64 monotonic_now();
u64 realtime_now();
Result<u64> clock_now(int clock);

}  // namespace teacup::gate
