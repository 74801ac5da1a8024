// The registers in a frame are the guest's truth: rip is the original instruction's even if the task is in a
// trampoline, and rcx and r11 are what the syscall instruction would have left there. On return rip goes back
// to where that instruction is now (kernel_pc).
//
// Vector state is in the live registers: it is stored straight to the guest's stack and loaded from there.
// AMX tiles are left out: they need a permission (arch_prctl) that the guest cannot get here, and would make
// each frame 8 KiB larger.
#include "kernel/signal/frame.h"

#include "kernel/base/arena_header.h"
#include "kernel/base/memory.h"
#include "kernel/task/processes.h"
#include "kernel/task/send_signal.h"
#include "kernel/task/stack_switch.h"
#include "kernel/task/times.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

namespace {

constexpr u64 kRedZone = 128;
constexpr u64 kXstateAlign = 64;
constexpr u64 kLegacySize = 512;
constexpr u64 kXsaveHeaderSize = 64;
constexpr u64 kSoftwareOffset = 464;  // the bytes of the legacy area that are software's
constexpr u32 kMagic1 = 0x46505853;
constexpr u32 kMagic2 = 0x46505845;
constexpr u64 kDirection = 0x400, kTrap = 0x100, kResume = 0x10000;
constexpr u32 kSsAutodisarm = 0x80000000;

struct SoftwareBytes {  // struct _fpx_sw_bytes
  u32 magic1;
  u32 extended_size;
  u64 features;
  u32 xstate_size;
  u32 pad_[7];
};
static_assert(kSoftwareOffset + sizeof(SoftwareBytes) == kLegacySize);

struct SignalFrame {  // struct rt_sigframe
  u64 restorer;
  abi::UContext context;
  abi::SigInfo info;
};

// Bytes of an area, with its trailing magic.
u64 area_size() {
  return processes().xstate_mask != 0 ? processes().xstate_size + sizeof kMagic2 : kLegacySize;
}

Result<void> save_vector_state(u64 area) {
  u64 mask = processes().xstate_mask;
  u64 size = area_size();
  if (!is_guest_range(area, size)) return Errno::FAULT;
  if (mask != 0) TRY(zero_guest(area + kLegacySize, kXsaveHeaderSize));
  if (xstate_save(reinterpret_cast<void*>(area), mask) != 0) return Errno::FAULT;
  if (mask == 0) return {};
  // As on Linux the x87 and SSE parts always count, so that a handler may write to them.
  u64 present = 0;
  TRY(copy_from_guest(&present, area + kLegacySize, sizeof present));
  present |= 3;
  TRY(copy_to_guest(area + kLegacySize, &present, sizeof present));
  SoftwareBytes software{};
  software.magic1 = kMagic1;
  software.extended_size = static_cast<u32>(size);
  software.features = mask;
  software.xstate_size = static_cast<u32>(processes().xstate_size);
  TRY(copy_to_guest(area + kSoftwareOffset, &software, sizeof software));
  return copy_to_guest(area + processes().xstate_size, &kMagic2, sizeof kMagic2);
}

Result<void> load_vector_state(u64 area) {
  if (area == 0) {
    reset_vector_state();
    return {};
  }
  u64 mask = processes().xstate_mask;
  SoftwareBytes software;
  TRY(copy_from_guest(&software, area + kSoftwareOffset, sizeof software));
  u32 magic2 = 0;
  bool extended =
      mask != 0 && software.magic1 == kMagic1 && software.xstate_size >= kLegacySize + kXsaveHeaderSize &&
      software.xstate_size <= processes().xstate_size &&
      copy_from_guest(&magic2, area + software.xstate_size, sizeof magic2).ok() && magic2 == kMagic2;
  if (!is_guest_range(area, extended ? processes().xstate_size : kLegacySize)) return Errno::FAULT;
  // What the frame does not hold gets its initial value.
  if (!extended || (software.features & mask) != mask) reset_vector_state();
  const void* at = reinterpret_cast<const void*>(area);
  int failed = extended ? xstate_load(at, mask & software.features) : xstate_load_legacy(at);
  if (failed != 0) {
    reset_vector_state();
    return Errno::FAULT;
  }
  return {};
}

void load_registers(Task& task, Frame& frame, const abi::SigContext& context) {
  frame.r8 = context.r8;
  frame.r9 = context.r9;
  frame.r10 = context.r10;
  frame.r11 = context.r11;
  frame.r12 = context.r12;
  frame.r13 = context.r13;
  frame.r14 = context.r14;
  frame.r15 = context.r15;
  frame.rdi = context.rdi;
  frame.rsi = context.rsi;
  frame.rbp = context.rbp;
  frame.rbx = context.rbx;
  frame.rdx = context.rdx;
  frame.rax = context.rax;
  frame.rcx = context.rcx;
  frame.rsp = context.rsp;
  frame.rip = task.memory->kernel_pc(context.rip);
  // The rest (NT, ID) stays as the handler left it, as on Linux.
  frame.rflags = (context.rflags & kUserFlags) | (frame.rflags & ~kUserFlags) | 0x202;
  frame.cs = kUserCs;
  frame.ss = kUserSs;
  frame.kind = FrameKind::kFull;
  frame.call_number = kNoCall;
}

}  // namespace

abi::SigContext context_of(Task& task, const Frame& frame) {
  abi::SigContext context{};
  context.r8 = frame.r8;
  context.r9 = frame.r9;
  context.r10 = frame.r10;
  context.r11 = frame.r11;
  context.r12 = frame.r12;
  context.r13 = frame.r13;
  context.r14 = frame.r14;
  context.r15 = frame.r15;
  context.rdi = frame.rdi;
  context.rsi = frame.rsi;
  context.rbp = frame.rbp;
  context.rbx = frame.rbx;
  context.rdx = frame.rdx;
  context.rax = frame.rax;
  context.rcx = frame.rcx;
  context.rsp = frame.rsp;
  context.rip = task.memory->guest_pc(frame.rip);
  context.rflags = frame.rflags;
  context.cs = kUserCs;
  context.ss = kUserSs;
  context.err = task.fault.error;
  context.trapno = task.fault.trapno;
  context.cr2 = task.fault.trapno == 14 ? task.fault.address : 0;
  if (frame.kind == FrameKind::kCall || task.memory->in_trampoline(frame.rcx)) {
    context.rcx = context.rip;
    context.r11 = context.rflags;
  }
  return context;
}

bool on_alternate_stack(const Task& task, u64 rsp) {
  const abi::SigAltStack& stack = task.signals.alt_stack;
  if ((static_cast<u32>(stack.flags) & kSsAutodisarm) != 0) return false;
  return rsp > stack.sp && rsp - stack.sp <= stack.size;
}

Result<void> set_alternate_stack(Task& task, const abi::SigAltStack& stack, u64 rsp) {
  if (on_alternate_stack(task, rsp)) return Errno::PERM;
  u32 flags = static_cast<u32>(stack.flags);
  u32 mode = flags & ~kSsAutodisarm;
  if (mode != 0 && mode != abi::kSS_DISABLE && mode != abi::kSS_ONSTACK) return Errno::INVAL;
  abi::SigAltStack next = stack;
  if (mode == abi::kSS_DISABLE) {
    next.sp = next.size = 0;
  } else if (stack.size < abi::kMINSIGSTKSZ) {
    return Errno::NOMEM;
  }
  task.signals.alt_stack = next;
  return {};
}

Result<void> push_signal_frame(Task& task, Frame& frame, const abi::SigAction& action,
                               const abi::SigInfo& info) {
  if ((action.flags & abi::kSA_RESTORER) == 0)
    return Errno::FAULT;  // as on Linux: there is no other way back
  const abi::SigAltStack alt = task.signals.alt_stack;
  bool was_on_alternate = on_alternate_stack(task, frame.rsp);
  u64 sp = frame.rsp - kRedZone;
  bool use_alternate = (action.flags & abi::kSA_ONSTACK) != 0 && !was_on_alternate && alt.size != 0 &&
                       (static_cast<u32>(alt.flags) & abi::kSS_DISABLE) == 0;
  if (use_alternate) sp = alt.sp + alt.size;

  u64 area = align_down(sp - area_size(), kXstateAlign);
  u64 at = align_down(area - sizeof(SignalFrame), 16) - 8;
  // A handler on the alternate stack must not run over its end into what lies below.
  if ((use_alternate || was_on_alternate) && (at < alt.sp || at > alt.sp + alt.size)) return Errno::FAULT;
  TRY(save_vector_state(area));

  SignalFrame built{};
  built.restorer = action.restorer;
  built.context.flags = abi::kUC_SIGCONTEXT_SS | abi::kUC_STRICT_RESTORE_SS;
  if (processes().xstate_mask != 0) built.context.flags |= abi::kUC_FP_XSTATE;
  built.context.stack = alt;
  built.context.mcontext = context_of(task, frame);
  built.context.mcontext.fpstate = area;
  built.context.sigmask = task.signals.restore_blocked ? task.signals.saved_blocked : task.signals.blocked;
  built.context.mcontext.oldmask = built.context.sigmask;
  built.info = info;
  TRY(copy_to_guest(at, &built, sizeof built));
  reset_vector_state();  // what the handler starts with
  if ((static_cast<u32>(alt.flags) & kSsAutodisarm) != 0) {
    task.signals.alt_stack = abi::SigAltStack{0, abi::kSS_DISABLE, 0, 0};
  }

  frame.rdi = static_cast<u64>(info.signo);
  frame.rsi = at + offsetof(SignalFrame, info);
  frame.rdx = at + offsetof(SignalFrame, context);
  frame.rax = 0;
  frame.rsp = at;
  frame.rip = action.handler;
  frame.rflags &= ~(kDirection | kTrap | kResume);
  frame.cs = kUserCs;
  frame.ss = kUserSs;
  frame.kind = FrameKind::kFull;
  frame.call_number = kNoCall;
  return {};
}

Result<void> pop_signal_frame(Task& task, Frame& frame) {
  u64 at = frame.rsp - 8;  // the handler's return took the restorer's address
  abi::UContext context;
  TRY(copy_from_guest(&context, at + offsetof(SignalFrame, context), sizeof context));
  if (!is_guest_range(context.mcontext.rip, 1)) return Errno::FAULT;
  TRY(load_vector_state(context.mcontext.fpstate));
  load_registers(task, frame, context.mcontext);
  set_blocked(task, context.sigmask);
  (void)set_alternate_stack(task, context.stack, frame.rsp);
  return {};
}

}  // namespace teacup
