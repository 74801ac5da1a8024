// Clocks, sleeping and timers: time(7).
#pragma once

#include "kernel/abi/time.h"
#include "kernel/base/result.h"
#include "kernel/syscall/argument_types.h"
#include "kernel/syscall/table.h"
#include "kernel/task/process_timers.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

class Task;

namespace abi {
struct Timezone {
  s32 minutes_west, dst_time;
};
struct Timex {
  u8 bytes[208];
};
}  // namespace abi

Result<void> sys_clock_gettime(Task& task, ClockId clock, GuestOut<abi::Timespec> time);
Result<void> sys_clock_getres(Task& task, ClockId clock, GuestOut<abi::Timespec> resolution);
Result<void> sys_clock_settime(Task& task, ClockId clock, GuestIn<abi::Timespec> time);
Result<void> sys_clock_nanosleep(Task& task, ClockId clock, TimerFlags flags, GuestIn<abi::Timespec> time,
                                 Remaining remaining);
Result<void> sys_nanosleep(Task& task, GuestIn<abi::Timespec> time, Remaining remaining);
Result<void> sys_gettimeofday(Task& task, GuestOut<abi::Timeval> time, GuestOut<abi::Timezone> zone);
Result<void> sys_settimeofday(Task& task, GuestIn<abi::Timeval> time, GuestIn<abi::Timezone> zone);
Result<s64> sys_time(Task& task, GuestOut<s64> time);
Result<s32> sys_adjtimex(Task& task, GuestInOut<abi::Timex> buffer);
Result<s32> sys_clock_adjtime(Task& task, ClockId clock, GuestInOut<abi::Timex> buffer);
Result<u32> sys_alarm(Task& task, u32 seconds);
Result<void> sys_getitimer(Task& task, ItimerKind which, GuestOut<abi::ITimerval> value);
Result<void> sys_setitimer(Task& task, ItimerKind which, GuestIn<abi::ITimerval> next,
                           GuestOut<abi::ITimerval> old);
Result<void> sys_timer_create(Task& task, ClockId clock, GuestIn<TimerEvent> event, TimerIdOut id);
Result<void> sys_timer_settime(Task& task, s32 id, TimerFlags flags, GuestIn<abi::ITimerspec> next,
                               GuestOut<abi::ITimerspec> old);
Result<void> sys_timer_gettime(Task& task, s32 id, GuestOut<abi::ITimerspec> value);
Result<s32> sys_timer_getoverrun(Task& task, s32 id);
Result<void> sys_timer_delete(Task& task, s32 id);

}  // namespace teacup
