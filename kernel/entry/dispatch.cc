// From the entry code to the handlers: one path for every call.
#include "kernel/entry/offsets.h"
#include "kernel/mm/address_space.h"
#include "kernel/signal/signal.h"
#include "kernel/syscall/table.h"
#include "kernel/syscall/trace.h"
#include "kernel/task/enter.h"
#include "kernel/task/task.h"

namespace teacup {

static_assert(__builtin_offsetof(TaskCore, kernel_stack_top) == TASK_STACK_TOP);
static_assert(__builtin_offsetof(TaskCore, scratch) == TASK_SCRATCH);
static_assert(__builtin_offsetof(TaskCore, mode) == TASK_MODE);
static_assert(__builtin_offsetof(TaskCore, pending) == TASK_PENDING);
static_assert(__builtin_offsetof(Frame, r15) == FRAME_R15 && __builtin_offsetof(Frame, rax) == FRAME_RAX);
static_assert(__builtin_offsetof(Frame, rdi) == FRAME_RDI && __builtin_offsetof(Frame, kind) == FRAME_KIND);
static_assert(__builtin_offsetof(Frame, rip) == FRAME_RIP && __builtin_offsetof(Frame, rsp) == FRAME_RSP);
static_assert(__builtin_offsetof(Frame, rflags) == FRAME_RFLAGS && sizeof(Frame) == FRAME_SIZE);
static_assert(static_cast<u32>(Mode::kUser) == MODE_USER && static_cast<u32>(Mode::kKernel) == MODE_KERNEL);
static_assert(static_cast<u64>(FrameKind::kFull) == FRAME_KIND_FULL && kUserCs == USER_CS &&
              kUserSs == USER_SS);

namespace {

bool is_restart(s64 result) {
  return result <= -static_cast<s64>(Errno::RESTARTSYS) &&
         result >= -static_cast<s64>(Errno::RESTART_RESTARTBLOCK);
}

}  // namespace

extern "C" {
void syscall_entry();
void cpuid_entry();
void rdtsc_entry();
void rdtscp_entry();
void exit_to_guest();

// A system call, by a rewritten site or the SIGSYS net. `frame.rax` is the number and becomes the result.
void kernel_syscall(Frame& frame) {
  Task& task = current_task();
  if ((task.pending.load(std::memory_order_relaxed) & kPendingDying) != 0) [[unlikely]] {
    return;  // the way out ends the task
  }
  const SyscallEntry& entry = syscall_entry_of(frame.call_number);
  if (trace_enabled()) [[unlikely]] {
    traced_call(task, frame, entry);
  } else {
    s64 result = entry.handler(task, frame);
    if (!entry.is_control || result != 0) frame.rax = static_cast<u64>(result);
  }
  // ERESTART… is for the way out, even where whoever made the call return it has not set its reason yet (a
  // process that ends tells its tasks one after another).
  if (is_restart(static_cast<s64>(frame.rax))) [[unlikely]] {
    task.pending.fetch_or(kPendingSignal, std::memory_order_relaxed);
  }
}

// The same, by a guest with TF set: the processor would trap after the instruction behind the call, so the
// way back must not lead over a trampoline's jump.
void kernel_stepped_call(Frame& frame) {
  leave_trampoline(current_task(), frame);
  frame.rcx = current_task().memory->guest_pc(frame.rip);
  frame.r11 = frame.rflags;
  kernel_syscall(frame);
}

// cpuid and the like have been served, and are a step each.
void kernel_stepped_instruction(Frame& frame) {
  Task& task = current_task();
  leave_trampoline(task, frame);
  handle_step(task, frame);
}

void kernel_fault(Frame& frame) {
  Task& task = current_task();
  handle_fault(task, frame);
}

void kernel_exit_work(Frame& frame) {
  Task& task = current_task();
  handle_pending(task, frame);
}
}

void enter_guest(TaskCore& task) {
  KERNEL_ASSERT(&task == &current_core());
  exit_to_guest();
  __builtin_unreachable();
}

void set_entries(TaskCore& task) {
  task.syscall_entry = reinterpret_cast<u64>(&syscall_entry);
  task.cpuid_entry = reinterpret_cast<u64>(&cpuid_entry);
  task.rdtsc_entry = reinterpret_cast<u64>(&rdtsc_entry);
  task.rdtscp_entry = reinterpret_cast<u64>(&rdtscp_entry);
}

}  // namespace teacup
