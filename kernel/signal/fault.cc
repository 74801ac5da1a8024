// Synchronous faults: what the host reported about guest code, in the guest's terms (sigaction(2), si_code).
//
// A guest that steps through itself (TF) traps after each instruction of a trampoline. It is told of those
// that end one of its own: what a patch's jumps do is part of the instruction before or behind them.
#include "kernel/signal/signal.h"

namespace teacup {

namespace {

constexpr u64 kDebugTrap = 1, kPageFault = 14;
constexpr u64 kFaultWrite = 2, kFaultFetch = 16;  // page-fault error code bits

}  // namespace

void handle_fault(Task& task, Frame& frame) {
  FaultInfo& fault = task.fault;
  abi::SigInfo info{};
  info.signo = fault.signal;
  info.code = fault.code;
  info.fault.address = fault.address;
  // The host's SIGBUS is the guest's as it is: an image that shrank, or no memory for a page of the arena.
  if (fault.trapno == kPageFault && fault.signal == abi::kSIGSEGV) {
    mm::FaultKind kind = task.memory->classify_fault(fault.address, (fault.error & kFaultWrite) != 0,
                                                     (fault.error & kFaultFetch) != 0);
    if (kind.signal == 0) return;  // the instruction is tried again
    if ((fault.error & kFaultFetch) != 0 && fault.address == frame.rip) {
      if (u64 jump = task.memory->take_back_jump(frame.rip); jump != 0) {
        frame.rip = jump;
        return;
      }
    }
    info.signo = kind.signal;
    info.code = kind.code;
  } else if (fault.trapno == kDebugTrap && !task.memory->ends_step(frame.rip)) {
    return;
  } else if (fault.signal != abi::kSIGSEGV && fault.signal != abi::kSIGBUS) {
    info.fault.address = task.memory->guest_pc(fault.address);
  }
  frame.call_number = kNoCall;
  force_signal(task, info);
  handle_pending(task, frame);
}

void handle_step(Task& task, Frame& frame) {
  task.fault = FaultInfo{abi::kSIGTRAP, abi::kTRAP_TRACE, frame.rip, kDebugTrap, 0};
  handle_fault(task, frame);
}

void leave_trampoline(Task& task, Frame& frame) {
  frame.rip = task.memory->kernel_pc(task.memory->guest_pc(frame.rip));
}

}  // namespace teacup
