// CPU time over the changes of host, and the vector state a program starts with.
#pragma once

#include "kernel/task/process.h"

namespace teacup {

void cpu_start_borrowing(Task& borrower);       // current is the borrower
void cpu_leave_host(Task& task, Task* lender);  // current is `task`; `lender` if it gets the thread back
void cpu_arrive_in_host(Task& task);            // in a zygote
void reset_vector_state();

}  // namespace teacup
