// Frame: the guest's general registers while its task is in the kernel. One per task, at a fixed place: right
// below kernel_stack_top. Entry code stores it (kernel/entry/entry.S knows the layout), the way out loads it.
#pragma once

#include "kernel/base/types.h"
#include "kernel/sync/task_core.h"

namespace teacup {

enum class FrameKind : u64 {
  kCall,  // a system call by a rewritten site: rcx and r11 are the kernel's to use
  kFull,  // everything must come back as it was: the SIGSYS net, faults, preemption, sigreturn, a new task or
          // program
};

struct Frame {
  u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
  u64 call_number;  // rax at a system call's entry, for restarting; kNoCall otherwise
  FrameKind kind;
  // As iretq takes them. rip may be an address in a trampoline; what the guest is shown goes through
  // kernel/mm's PC map.
  u64 rip, cs, rflags, rsp, ss;
};
static_assert(sizeof(Frame) == 22 * 8);

inline constexpr u64 kNoCall = ~u64{0};
inline constexpr u64 kUserCs = 0x33;
inline constexpr u64 kUserSs = 0x2b;
// What a guest may set in rflags by sigreturn: arithmetic, DF, TF, AC, ID, NT(no), RF.
inline constexpr u64 kUserFlags = 0x250dd5;

inline Frame& frame_of(TaskCore& task) {
  return *reinterpret_cast<Frame*>(task.kernel_stack_top - sizeof(Frame));
}

}  // namespace teacup
