// CPU time. The host counts it by host process and host thread; a guest process may have lived in several of
// them (cpu_offset carries over what it used before, less what the new one had used), and a borrower uses its
// lender's: that is taken off the lender's when the thread comes back.
#include "kernel/task/times.h"

#include "kernel/abi/time.h"
#include "kernel/base/memory.h"
#include "kernel/task/processes.h"
#include "kernel/task/stack_switch.h"

namespace teacup {

namespace {

// The dynamic clock ids of clock_getcpuclockid(3): scheduler time of a process or thread, by host id.
int host_process_clock(u32 pid) {
  return static_cast<int>(~pid << 3 | 2);
}
int host_thread_clock(u32 tid) {
  return static_cast<int>(~tid << 3 | 6);
}

u64 with_offset(u64 clock, s64 offset) {
  s64 time = static_cast<s64>(clock) + offset;
  return time > 0 ? static_cast<u64>(time) : 0;
}

u64 own_thread_clock() {
  return gate::clock_now(abi::kCLOCK_THREAD_CPUTIME_ID).value_or(0);
}

}  // namespace

CpuTimes cpu_times(Process& process) {
  if (process.zombie) return process.own_times;
  Ref<Task> task;
  {
    LockGuard guard(process.lock);
    task = Ref<Task>::share(process.tasks.front());
  }
  if (!task) return process.own_times;  // on its way out
  TaskCore& self = current_core();
  u64 clock = 0;
  if (process.cpu_by_thread) {
    // A borrower: only itself can tell.
    if (task.get() == &self) clock = own_thread_clock();
  } else {
    u32 host = task->host_pid.load(std::memory_order_relaxed);
    bool own = host == self.host_pid.load(std::memory_order_relaxed);
    auto time = gate::clock_now(own ? abi::kCLOCK_PROCESS_CPUTIME_ID : host_process_clock(host));
    clock = time.value_or(0);
  }
  return {with_offset(clock, process.cpu_offset.load(std::memory_order_relaxed)), 0};
}

CpuTimes cpu_times(Task& task) {
  TaskCore& self = current_core();
  u64 clock = 0;
  if (&task == &self) {
    clock = own_thread_clock();
  } else if (task.host_pid.load(std::memory_order_relaxed) == self.host_pid.load(std::memory_order_relaxed)) {
    clock = gate::clock_now(host_thread_clock(task.host_tid.load(std::memory_order_relaxed))).value_or(0);
  }
  return {with_offset(clock, task.cpu_offset), 0};
}

u64 CpuClock::now() const {
  CpuTimes times = thread ? cpu_times(*thread) : cpu_times(*process);
  return times.user + times.system;
}

bool is_cpu_clock(int clock) {
  return clock < 0 || clock == abi::kCLOCK_PROCESS_CPUTIME_ID || clock == abi::kCLOCK_THREAD_CPUTIME_ID;
}

Result<CpuClock> find_cpu_clock(Task& task, int clock) {
  if (clock == abi::kCLOCK_PROCESS_CPUTIME_ID) return CpuClock{task.process, {}};
  if (clock == abi::kCLOCK_THREAD_CPUTIME_ID) return CpuClock{task.process, Ref<Task>::share(&task)};
  constexpr int kOfDevice = 3, kOfThread = 4;
  if ((clock & kOfDevice) == kOfDevice) return Errno::INVAL;  // a clock device's descriptor
  s32 id = ~(clock >> 3);
  if ((clock & kOfThread) != 0) {
    Ref<Task> thread = id == 0 ? Ref<Task>::share(&task) : processes().find_task(id);
    if (!thread || thread->process != task.process) return Errno::INVAL;
    return CpuClock{task.process, std::move(thread)};
  }
  Ref<Process> process = id == 0 ? task.process : processes().find_process(id);
  if (!process) return Errno::INVAL;
  return CpuClock{std::move(process), {}};
}

void cpu_start_borrowing(Task& borrower) {
  s64 now = static_cast<s64>(own_thread_clock());
  borrower.cpu_offset = -now;
  borrower.process->cpu_offset.store(-now, std::memory_order_relaxed);
  borrower.process->cpu_by_thread = true;
}

void cpu_leave_host(Task& task, Task* lender) {
  s64 used = static_cast<s64>(cpu_times(*task.process).user);
  // The thread may have been lent on and on. Other threads of the lenders' may be taking off theirs too.
  for (Task* at = lender; at != nullptr; at = at->lender.get()) {
    at->cpu_offset -= used;
    at->process->cpu_offset.fetch_sub(used, std::memory_order_relaxed);
  }
  task.cpu_offset = used;
  task.process->cpu_offset.store(used, std::memory_order_relaxed);
}

void cpu_arrive_in_host(Task& task) {
  // The zygote's own start is not the program's.
  s64 before = static_cast<s64>(gate::clock_now(abi::kCLOCK_PROCESS_CPUTIME_ID).value_or(0));
  task.cpu_offset -= before;
  task.process->cpu_offset.fetch_sub(before, std::memory_order_relaxed);
  task.process->cpu_by_thread = false;
}

void reset_vector_state() {
  // An area whose header says that nothing but the control words is in it: all else gets its initial value.
  // The processor may touch the whole of it all the same, so it is as long as any.
  constexpr size_t kHeadSize = 576;
  constexpr u16 kFcw = 0x37f;
  constexpr u32 kMxcsr = 0x1f80;
  size_t size = arena().xsave_size > kHeadSize ? arena().xsave_size : kHeadSize;
  auto* area = static_cast<u8*>(__builtin_alloca_with_align(size, 64 * 8));
  memset(area, 0, kHeadSize);
  memcpy(area, &kFcw, sizeof kFcw);
  memcpy(area + 24, &kMxcsr, sizeof kMxcsr);
  if (xstate_load(area, arena().xsave_mask) != 0) panic("the initial vector state was refused");
}

}  // namespace teacup
