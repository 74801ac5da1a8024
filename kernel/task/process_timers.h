// A process's own timers: setitimer(2)'s three, and POSIX timers (timer_create(2)).
//
// Locks: the process's (kSignal); Timer's inside it. Arming may wake the kernel task under it: a host call
// that does not sleep.
#pragma once

#include "kernel/abi/signal.h"
#include "kernel/abi/time.h"
#include "kernel/base/result.h"
#include "kernel/base/types.h"

namespace teacup {

class Process;
class Task;

// ns; `value` is how long until it expires, 0: not at all.
struct IntervalSetting {
  u64 value = 0;
  u64 interval = 0;
};

// `which`: ITIMER_*. The CPU-time ones are sampled by the kernel task, a millisecond or more apart.
Result<IntervalSetting> get_interval_timer(Process& process, int which);
Result<IntervalSetting> set_interval_timer(Process& process, int which, const IntervalSetting& setting);

struct TimerEvent {  // struct sigevent
  abi::SigVal value;
  s32 signal;
  s32 notify;
  s32 thread_id;
  u8 pad_[44];
};
static_assert(sizeof(TimerEvent) == 64);

// timer_create(2) and its kin. `event` null: SIGALRM with the timer's id.
Result<s32> create_posix_timer(Task& task, int clock, const TimerEvent* event);
Result<void> delete_posix_timer(Process& process, s32 id);
Result<IntervalSetting> get_posix_timer(Process& process, s32 id);
// `absolute`: setting.value is a time on the timer's clock.
Result<IntervalSetting> set_posix_timer(Process& process, s32 id, const IntervalSetting& setting,
                                        bool absolute);
Result<s32> posix_timer_overrun(Process& process, s32 id);

// RLIMIT_CPU has been set, or a process starts with one: watches it (SIGXCPU, SIGKILL).
void watch_cpu_limit(Process& process);

// The timers on the calling task's own CPU time: on the way out of the kernel with kPendingClock.
void look_at_thread_timers(Task& task);

void drop_posix_timers(Process& process);  // exec
void drop_all_timers(Process& process);    // exit

class ProcessTimers;
void free_timers(ProcessTimers* timers);

}  // namespace teacup
