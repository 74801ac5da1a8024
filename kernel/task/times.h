// CPU time over the changes of host, and the vector state a program starts with.
#pragma once

#include "kernel/task/process.h"
#include "kernel/task/task.h"

namespace teacup {

// The CPU time of a process or of a thread, as a clock: CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID,
// and the numbers of clock_getcpuclockid(3) and pthread_getcpuclockid(3).
struct CpuClock {
  Ref<Process> process;
  Ref<Task> thread;  // null: the process's

  explicit operator bool() const { return static_cast<bool>(process); }
  // ns. A thread's can be read by the threads of its process only: 0 elsewhere.
  u64 now() const;
};
bool is_cpu_clock(int clock);
// EINVAL: there is no such process, or no such thread of the caller's own.
Result<CpuClock> find_cpu_clock(Task& task, int clock);

void cpu_start_borrowing(Task& borrower);       // current is the borrower
void cpu_leave_host(Task& task, Task* lender);  // current is `task`; `lender` if it gets the thread back
void cpu_arrive_in_host(Task& task);            // in a zygote
void reset_vector_state();

}  // namespace teacup
