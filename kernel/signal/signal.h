// Delivery of signals: the way out of the kernel, faults, and the frames on the guest's stack.
#pragma once

#include "kernel/task/frame.h"
#include "kernel/task/send_signal.h"
#include "kernel/task/task.h"

namespace teacup {

// On the way out, when task.pending is not 0 (and after every fault): ends the task if it is dying, brings
// mappings up to date, stops for job control, delivers one signal (by building its handler's frame or by its
// default action), restarts an interrupted call. No lock held. May not return.
void handle_pending(Task& task, Frame& frame);

// Turns task.fault into its signal and delivers it. No lock held. May not return.
void handle_fault(Task& task, Frame& frame);

// The trap after an instruction that the kernel has executed for a guest with TF set; frame.rip is behind it.
void handle_step(Task& task, Frame& frame);

// A way back to a trampoline's jump to the guest's text becomes the way to where that leads.
void leave_trampoline(Task& task, Frame& frame);

}  // namespace teacup
