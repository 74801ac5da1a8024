// The guest side's end of the request ring (kernel/abi/ring.h): asking the broker.
#pragma once

#include "kernel/abi/ring.h"
#include "kernel/base/result.h"
#include "kernel/sync/task_core.h"

namespace teacup {

// Asks the broker to interrupt the host thread that runs `task` (in guest code). Does not wait for it.
void ring_kick(TaskCore& task);

// Puts `request` on the ring and sleeps until the broker has answered it. The result is the broker's, >= 0 or
// -errno. Not interruptible: for requests that the broker answers by itself. Called with no lock held.
s64 ring_call(abi::RingOp op, u64 a = 0, u64 b = 0, u64 c = 0, u64 d = 0, u64 e = 0, u64 f = 0);

// Raises an abi::EventFlag for the kernel task. Any lock may be held.
void raise_kernel_event(u32 flag);

// Puts a request on the ring whose answer is not waited for (or arrives by other means: see the op). No lock
// above kRing may be held. EAGAIN when the ring is full, which callers treat as "ask again later".
Result<void> ring_post(abi::RingOp op, u64 a = 0, u64 b = 0, u64 c = 0, u64 d = 0, u64 e = 0, u64 f = 0);

#ifdef TEACUP_HOSTED
// Where there is no broker: who answers ring_call() on the caller's thread.
void hosted_answer_ring(s64 (*answer)(void* context, abi::RingOp op, const u64 (&args)[6]), void* context);
#endif

}  // namespace teacup
