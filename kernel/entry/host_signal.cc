// The host's signals on guest-side threads: the SIGSYS net, synchronous faults, and the kick. The handler
// runs on the host signal stack with all signals blocked, and serves nothing itself: it classifies the
// program counter and either stores the guest's registers and turns the context towards a normal entry of the
// kernel, or fixes up, or panics.
//
//   class        where                                   kick               fault
//   guest        outside the kernel range (trampolines   enter, full frame  enter, full frame
//                lie beside their objects: guest too)
//   entry        syscall_entry up to its first call      nothing: the way   panic (but a trap at its first
//                                                        out tests pending  instruction: the guest has TF)
//   exit window  exit_window_start .. exit_window_end    back to its start  panic (but iretq/jmp to a bad
//   guest
//                                                                           rip faults at the guest address)
//   kernel       anything else in the runtime            nothing            exception table, or panic
//   host vDSO    clock_gettime called by the gate        nothing            SIGSYS of its slow path: done by
//                                                                           the gate
//   nowhere      a stray jump of the guest               none: it faults    enter, full frame
#include <algorithm>

#include "host/gate/gate.h"
#include "host/gate/host_call.h"
#include "kernel/abi/mm.h"
#include "kernel/abi/nr.h"
#include "kernel/abi/signal.h"
#include "kernel/base/arena_header.h"
#include "kernel/base/format.h"
#include "kernel/entry/panic.h"
#include "kernel/syscall/trace.h"
#include "kernel/task/task.h"

namespace teacup {

extern "C" {
void net_entry();
void fault_entry();
void preempt_entry();
void stepped_entry();
void syscall_entry();
void cpuid_entry();
void cpuid_entry_stepped();
void rdtsc_entry();
void rdtsc_entry_stepped();
void rdtscp_entry();
void rdtscp_entry_stepped();
void exit_to_guest();
extern const char exit_window_start[], exit_window_end[];
extern const char runtime_text_start[], runtime_text_end[];

struct ExceptionEntry {
  u64 fault;
  u64 fixup;
};
extern const ExceptionEntry ex_table_start[], ex_table_end[];
}

namespace {

constexpr u64 kFlagsForKernel = 0x2;

u64 address_of(const void* pointer) {
  return reinterpret_cast<u64>(pointer);
}
u64 address_of(void (*function)()) {
  return reinterpret_cast<u64>(function);
}

bool in_runtime(u64 rip) {
  return rip >= address_of(runtime_text_start) && rip < address_of(runtime_text_end);
}
bool in_exit_window(u64 rip) {
  return rip >= address_of(exit_window_start) && rip < address_of(exit_window_end);
}

bool is_guest(u64 rip) {
  return rip < kGuestLowEnd || (rip >= kGuestHighStart && rip < kGuestHighEnd);
}

// Stores the guest's registers as the task's Frame and makes the handler return into the kernel at `entry`.
void enter_kernel(abi::SigContext& context, u64 call_number, void (*entry)()) {
  TaskCore& task = current_core();
  Frame& frame = frame_of(task);
  frame.r15 = context.r15;
  frame.r14 = context.r14;
  frame.r13 = context.r13;
  frame.r12 = context.r12;
  frame.rbp = context.rbp;
  frame.rbx = context.rbx;
  frame.r11 = context.r11;
  frame.r10 = context.r10;
  frame.r9 = context.r9;
  frame.r8 = context.r8;
  frame.rax = context.rax;
  frame.rcx = context.rcx;
  frame.rdx = context.rdx;
  frame.rsi = context.rsi;
  frame.rdi = context.rdi;
  frame.call_number = call_number;
  frame.kind = FrameKind::kFull;
  frame.rip = context.rip;
  frame.cs = kUserCs;
  frame.rflags = context.rflags;
  frame.rsp = context.rsp;
  frame.ss = kUserSs;
  task.mode.store(Mode::kKernel, std::memory_order_seq_cst);
  context.rip = address_of(entry);
  context.rsp = address_of(&frame);
  context.rflags = kFlagsForKernel;
}

bool fix_up(abi::SigContext& context) {
  for (const ExceptionEntry* entry = ex_table_start; entry < ex_table_end; entry++) {
    if (entry->fault != context.rip) continue;
    context.rip = entry->fixup;
    return true;
  }
  return false;
}

// The kernel read an image, in place, where its file has been cut off meanwhile: there are zeros from now on,
// in this process, and whoever reads them finds by images_lost that they are not the image's (fs/image.h).
bool fill_lost_image(u64 address) {
  ArenaHeader& header = arena();
  for (u32 i = 0; i < header.image_count; i++) {
    const ImageSlot& image = header.images[i];
    if (address < image.address || address - image.address >= page_up(image.size)) continue;
    u64 page = page_down(address - image.address);
    std::atomic<u64>& from = header.images_lost[i].from;
    u64 known = from.load(std::memory_order_relaxed);
    u64 now = std::max<u64>(page, 1);
    while ((known == 0 || now < known) && !from.compare_exchange_weak(known, now)) {
    }
    return gate::map_anonymous(image.address + page, kPageSize, abi::kPROT_READ, false).ok();
  }
  return false;
}

// The kernel copies into a shared mapping of a file that has not been written yet.
bool is_first_write(int signal, const abi::SigInfo& info, const abi::SigContext& context) {
  constexpr u64 kPageFault = 14, kFaultWrite = 2;
  if (signal != abi::kSIGSEGV || context.trapno != kPageFault || (context.err & kFaultWrite) == 0)
    return false;
  if (!is_guest(info.fault.address)) return false;
  Task& task = current_task();
  return task.memory && task.memory->serve_first_write(info.fault.address);
}

void on_sigsys(const abi::SigInfo& info, abi::SigContext& context) {
  // The filter rolled rax back to the number; rip is behind the instruction.
  if (info.sys.call_address == address_of(host_gate_return)) {
    panic_context("a host call that the filter does not allow", context, context.rax);
  }
  if (in_runtime(context.rip))
    panic_context("a system call instruction outside the gate", context, context.rax);
  if (!is_guest(context.rip)) {
    // The host's vDSO falls back to the system call where its clock source cannot be read from user space.
    if (context.rax == abi::kNR_clock_gettime) {
      context.rax = static_cast<u64>(host_call(context.rax, context.rdi, context.rsi, 0, 0, 0, 0));
      return;
    }
    panic_context("a system call from unknown code in the kernel's range", context, context.rax);
  }
  constexpr u32 kArchX86_64 = 0xc000003e;
  count_trapped();
  // int 0x80 and x32 numbers are not served: -ENOSYS, by a number that the table does not have.
  u64 number = info.sys.arch == kArchX86_64 ? static_cast<u32>(info.sys.syscall) : kSyscallCount;
  enter_kernel(context, number, &net_entry);
}

// A guest that steps through itself (TF) steps over a trampoline's jump into the kernel: the trap is at the
// entry's first instruction, with all registers still the guest's. True if it was that: the call is made, by
// the way that gives all flags back.
bool step_into_kernel(abi::SigContext& context) {
  constexpr u64 kDebugTrap = 1;
  if (context.trapno != kDebugTrap) return false;
  if (context.rip == address_of(&syscall_entry)) {
    context.rip = context.rcx;
    enter_kernel(context, context.rax, &stepped_entry);
    return true;
  }
  const struct {
    void (*entry)();
    void (*stepped)();
  } instructions[] = {{&cpuid_entry, &cpuid_entry_stepped},
                      {&rdtsc_entry, &rdtsc_entry_stepped},
                      {&rdtscp_entry, &rdtscp_entry_stepped}};
  for (const auto& instruction : instructions) {
    if (context.rip != address_of(instruction.entry)) continue;
    context.rip = context.rdx;
    enter_kernel(context, kNoCall, instruction.stepped);
    return true;
  }
  return false;
}

void on_fault(int signal, const abi::SigInfo& info, abi::SigContext& context) {
  // Outside the guest's ranges and the runtime there is no code: whoever was in user mode jumped there.
  bool stray = !in_runtime(context.rip) && current_core().mode.load(std::memory_order_relaxed) == Mode::kUser;
  if (!is_guest(context.rip) && !stray) {
    if (signal == abi::kSIGTRAP && step_into_kernel(context)) return;
    if (signal == abi::kSIGSEGV || signal == abi::kSIGBUS) {
      if (signal == abi::kSIGBUS && fill_lost_image(info.fault.address)) return;
      if (is_first_write(signal, info, context)) return;
      if (fix_up(context)) return;
      // The jump to a guest address that is not canonical faults at the jump itself.
      if (in_exit_window(context.rip))
        panic_context("a fault on the way out", context, static_cast<u64>(signal));
    }
    panic_context("a fault in the kernel", context, static_cast<u64>(signal));
  }
  Task& task = current_task();
  task.fault = FaultInfo{signal, info.code, info.fault.address, context.trapno, context.err};
  if (info.fault.address == 0)
    task.fault.address = context.cr2 * (signal == abi::kSIGSEGV && context.trapno == 14 ? 1 : 0);
  enter_kernel(context, kNoCall, &fault_entry);
}

}  // namespace

extern "C" void host_signal_handler(int signal, abi::SigInfo* info, abi::UContext* ucontext) {
  // The guest may have had NT set, with which iretq faults; the host's sigreturn takes it from here, not from
  // the context.
  asm volatile("pushq $2; popfq" ::: "memory", "cc");
  abi::SigContext& context = ucontext->mcontext;
  if (signal == abi::kSIGSYS) {
    on_sigsys(*info, context);
  } else if (signal == kKickSignal) {
    if (is_guest(context.rip)) {
      enter_kernel(context, kNoCall, &preempt_entry);
    } else if (in_exit_window(context.rip)) {
      context.rip = address_of(exit_to_guest);
      context.rflags = kFlagsForKernel;
    }
  } else if (info->code <= 0) {
    // Sent, not raised by an instruction: nobody but the host's user could have. Not the guest's business.
  } else {
    on_fault(signal, *info, context);
  }
}

}  // namespace teacup
