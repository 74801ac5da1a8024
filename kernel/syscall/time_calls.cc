#include "kernel/syscall/time_calls.h"
#include "kernel/task/times.h"

#include "kernel/base/memory.h"
#include "kernel/task/processes.h"
#include "kernel/time/clock.h"

namespace teacup {

namespace {

// Any clock id, with the CPU-time clocks of tasks and processes (clock_getcpuclockid(3)): ~pid << 3, and in
// the low bits whether it is a thread's (4) and which time (2: all).
Result<u64> read_clock(Task& task, int clock) {
  if (!is_cpu_clock(clock)) return clock_now(clock);
  return TRY(find_cpu_clock(task, clock)).now();
}

// Sleeps until `deadline` (ns, monotonic). ERESTARTSYS when interrupted.
Result<void> sleep_until(u64 deadline) {
  while (gate::monotonic_now() < deadline) {
    if (park("a time", deadline) == Woken::kInterrupted && gate::monotonic_now() < deadline)
      return Errno::RESTARTSYS;
  }
  return {};
}

// After an interruption restart_syscall(2) goes on with the same deadline.
s64 resume_sleep(Task& task, RestartBlock& block);

Result<void> sleep_relative(Task& task, u64 deadline, u64 remaining) {
  if (sleep_until(deadline).ok()) return {};
  u64 now = gate::monotonic_now();
  if (remaining != 0) {
    abi::Timespec left = to_timespec(deadline > now ? deadline - now : 0);
    TRY(copy_to_guest(remaining, &left, sizeof left));
  }
  task.restart = RestartBlock{&resume_sleep, {deadline, remaining}};
  return Errno::RESTART_RESTARTBLOCK;
}

s64 resume_sleep(Task& task, RestartBlock& block) {
  Result<void> result = sleep_relative(task, block.data[0], block.data[1]);
  return result.ok() ? 0 : -static_cast<s64>(result.error());
}

// A CPU-time clock cannot be slept on by the host: it is looked at as often as it could be reached.
Result<void> sleep_on_cpu_clock(Task& task, int clock, u64 until) {
  for (;;) {
    u64 now = TRY(read_clock(task, clock));
    if (now >= until) return {};
    u64 step = (until - now) / arena().cpu_count;
    constexpr u64 kShortest = 1'000'000;
    u64 deadline = gate::monotonic_now() + (step > kShortest ? step : kShortest);
    if (park("CPU time", deadline) == Woken::kInterrupted) return Errno::RESTARTNOHAND;
  }
}

abi::ITimerspec to_itimerspec(const IntervalSetting& setting) {
  return {to_timespec(setting.interval), to_timespec(setting.value)};
}
abi::ITimerval to_itimerval(const IntervalSetting& setting) {
  // Rounded up: a timer that is still to expire never shows as 0.
  return {to_timeval(setting.interval), to_timeval(setting.value == 0 ? 0 : setting.value + 999)};
}

}  // namespace

// clock_gettime(2), clock_getres(2).
Result<void> sys_clock_gettime(Task& task, ClockId clock, GuestOut<abi::Timespec> time) {
  return time.write(to_timespec(TRY(read_clock(task, clock))));
}

Result<void> sys_clock_getres(Task& task, ClockId clock, GuestOut<abi::Timespec> resolution) {
  if (clock < 0) TRY(read_clock(task, clock));
  u64 value = TRY(clock_resolution(clock));
  if (!resolution) return {};
  return resolution.write(to_timespec(value));
}

// clock_settime(2): the machine's clocks are the host's.
Result<void> sys_clock_settime(Task& task, ClockId clock, GuestIn<abi::Timespec> time) {
  if (clock != abi::kCLOCK_REALTIME) {
    TRY(read_clock(task, clock));
    return Errno::INVAL;
  }
  TRY(from_timespec(TRY(time.read())));
  return Errno::PERM;
}

// clock_nanosleep(2).
Result<void> sys_clock_nanosleep(Task& task, ClockId clock, TimerFlags flags, GuestIn<abi::Timespec> time,
                                 Remaining remaining) {
  if (clock == abi::kCLOCK_THREAD_CPUTIME_ID) return Errno::INVAL;
  u64 value = TRY(from_timespec(TRY(time.read())));
  bool absolute = (flags & abi::kTIMER_ABSTIME) != 0;
  if (clock < 0 || clock == abi::kCLOCK_PROCESS_CPUTIME_ID) {
    u64 now = TRY(read_clock(task, clock));
    return sleep_on_cpu_clock(task, clock, absolute ? value : add_time(now, value));
  }
  if (absolute) {
    u64 deadline = TRY(deadline_on(clock, value));
    if (!sleep_until(deadline).ok()) return Errno::RESTARTNOHAND;
    return {};
  }
  TRY(deadline_on(clock, 0));  // EINVAL, EOPNOTSUPP
  return sleep_relative(task, add_time(gate::monotonic_now(), value), remaining.address());
}

// nanosleep(2).
Result<void> sys_nanosleep(Task& task, GuestIn<abi::Timespec> time, Remaining remaining) {
  u64 value = TRY(from_timespec(TRY(time.read())));
  return sleep_relative(task, add_time(gate::monotonic_now(), value), remaining.address());
}

// gettimeofday(2), time(2).
Result<void> sys_gettimeofday(Task&, GuestOut<abi::Timeval> time, GuestOut<abi::Timezone> zone) {
  if (time) TRY(time.write(to_timeval(gate::realtime_now())));
  if (zone) TRY(zone.write({0, 0}));
  return {};
}

Result<void> sys_settimeofday(Task&, GuestIn<abi::Timeval> time, GuestIn<abi::Timezone>) {
  if (time) TRY(from_timeval(TRY(time.read())));
  return Errno::PERM;
}

Result<s64> sys_time(Task&, GuestOut<s64> time) {
  s64 now = static_cast<s64>(gate::realtime_now() / kSecond);
  if (time) TRY(time.write(now));
  return now;
}

namespace {

// struct timex: only what a reader wants to know; setting anything is refused.
Result<s32> read_timex(GuestInOut<abi::Timex> buffer) {
  abi::Timex value = TRY(buffer.read());
  u32 modes = 0;
  memcpy(&modes, value.bytes, sizeof modes);
  if (modes != 0) return Errno::PERM;
  value = abi::Timex{};
  constexpr s32 kTimeError = 5, kUnsynchronised = 0x40;
  constexpr s64 kMaxError = 16'000'000, kTick = 10'000;
  auto put = [&](size_t offset, s64 number) { memcpy(value.bytes + offset, &number, sizeof number); };
  put(24, kMaxError);
  put(32, kMaxError);
  memcpy(value.bytes + 40, &kUnsynchronised, sizeof kUnsynchronised);
  put(48, 2);                 // constant
  put(64, s64{500} * 65536);  // tolerance
  abi::Timeval now = to_timeval(gate::realtime_now());
  put(72, now.tv_sec);
  put(80, now.tv_usec);
  put(88, kTick);
  TRY(buffer.write(value));
  return kTimeError;
}

}  // namespace

// adjtimex(2).
Result<s32> sys_adjtimex(Task&, GuestInOut<abi::Timex> buffer) {
  return read_timex(buffer);
}
Result<s32> sys_clock_adjtime(Task&, ClockId clock, GuestInOut<abi::Timex> buffer) {
  if (clock != abi::kCLOCK_REALTIME) return Errno::NOTSUP;
  return read_timex(buffer);
}

// alarm(2).
Result<u32> sys_alarm(Task& task, u32 seconds) {
  IntervalSetting setting{seconds * kSecond, 0};
  IntervalSetting old = TRY(set_interval_timer(*task.process, abi::kITIMER_REAL, setting));
  if (old.value == 0) return 0;
  u64 left = (old.value + kSecond / 2) / kSecond;
  return left == 0 ? 1 : static_cast<u32>(left);
}

// getitimer(2), setitimer(2).
Result<void> sys_getitimer(Task& task, ItimerKind which, GuestOut<abi::ITimerval> value) {
  return value.write(to_itimerval(TRY(get_interval_timer(*task.process, which))));
}

Result<void> sys_setitimer(Task& task, ItimerKind which, GuestIn<abi::ITimerval> next,
                           GuestOut<abi::ITimerval> old) {
  abi::ITimerval wanted{};
  if (next) wanted = TRY(next.read());  // null: as Linux has it, disarms
  IntervalSetting setting{TRY(from_timeval(wanted.value)), TRY(from_timeval(wanted.interval))};
  IntervalSetting before = TRY(set_interval_timer(*task.process, which, setting));
  if (old) return old.write(to_itimerval(before));
  return {};
}

// timer_create(2) and its kin.
Result<void> sys_timer_create(Task& task, ClockId clock, GuestIn<TimerEvent> event, TimerIdOut id) {
  TimerEvent wanted;
  if (event) wanted = TRY(event.read());
  s32 made = TRY(create_posix_timer(task, clock, event ? &wanted : nullptr));
  Result<void> written = id.write(made);
  if (!written.ok()) (void)delete_posix_timer(*task.process, made);
  return written;
}

Result<void> sys_timer_settime(Task& task, s32 id, TimerFlags flags, GuestIn<abi::ITimerspec> next,
                               GuestOut<abi::ITimerspec> old) {
  if (!next) return Errno::INVAL;
  abi::ITimerspec wanted = TRY(next.read());
  IntervalSetting setting{TRY(from_timespec(wanted.value)), TRY(from_timespec(wanted.interval))};
  bool absolute = (flags & abi::kTIMER_ABSTIME) != 0;
  IntervalSetting before = TRY(set_posix_timer(*task.process, id, setting, absolute));
  if (old) return old.write(to_itimerspec(before));
  return {};
}

Result<void> sys_timer_gettime(Task& task, s32 id, GuestOut<abi::ITimerspec> value) {
  return value.write(to_itimerspec(TRY(get_posix_timer(*task.process, id))));
}
Result<s32> sys_timer_getoverrun(Task& task, s32 id) {
  return posix_timer_overrun(*task.process, id);
}
Result<void> sys_timer_delete(Task& task, s32 id) {
  return delete_posix_timer(*task.process, id);
}

}  // namespace teacup
