// Signal frames on the guest's stack: sigreturn(2), and the kernel's arch/x86 layout, which libcs, unwinders
// and debuggers know:
//
//   rsp -> | restorer | ucontext | siginfo | ... up to 64-byte alignment ... | xstate | magic2 |
#pragma once

#include "kernel/base/result.h"
#include "kernel/task/frame.h"
#include "kernel/task/task.h"

namespace teacup {

// The registers as a handler sees them, but for fpstate.
abi::SigContext context_of(Task& task, const Frame& frame);

// Builds the frame for `action`'s handler and turns `frame` to it. EFAULT: no room for it.
Result<void> push_signal_frame(Task& task, Frame& frame, const abi::SigAction& action,
                               const abi::SigInfo& info);
// rt_sigreturn(2): loads what the guest left there, sanitised. EFAULT: it is not a frame; the caller sends
// SIGSEGV.
Result<void> pop_signal_frame(Task& task, Frame& frame);

// sigaltstack(2)'s view: SS_ONSTACK while `rsp` is on it.
bool on_alternate_stack(const Task& task, u64 rsp);
Result<void> set_alternate_stack(Task& task, const abi::SigAltStack& stack, u64 rsp);

}  // namespace teacup
