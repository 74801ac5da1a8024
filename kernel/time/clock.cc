#include "kernel/time/clock.h"

namespace teacup {

namespace {

constexpr u64 kLatest = u64{1} << 62;  // what saturated times become: a century and a half

u64 saturate(s64 seconds, u64 ns) {
  if (static_cast<u64>(seconds) >= kLatest / kSecond) return kLatest;
  return static_cast<u64>(seconds) * kSecond + ns;
}

}  // namespace

Result<u64> clock_now(int clock) {
  switch (clock) {
    case abi::kCLOCK_REALTIME:
    case abi::kCLOCK_REALTIME_COARSE:
    case abi::kCLOCK_REALTIME_ALARM:
    case abi::kCLOCK_TAI:  // as on a system where nobody has set the offset
      return gate::realtime_now();
    case abi::kCLOCK_MONOTONIC:
    case abi::kCLOCK_MONOTONIC_RAW:
    case abi::kCLOCK_MONOTONIC_COARSE:
    case abi::kCLOCK_BOOTTIME:
    case abi::kCLOCK_BOOTTIME_ALARM:
      return gate::monotonic_now();
    case abi::kCLOCK_PROCESS_CPUTIME_ID:
    case abi::kCLOCK_THREAD_CPUTIME_ID:
      return gate::clock_now(clock);
    default:
      return Errno::INVAL;
  }
}

Result<u64> clock_resolution(int clock) {
  if (clock == abi::kCLOCK_REALTIME_COARSE || clock == abi::kCLOCK_MONOTONIC_COARSE) return 4'000'000;
  if (clock < 0) return 1;  // a CPU-time clock
  if (clock > abi::kCLOCK_TAI || clock == abi::kCLOCK_SGI_CYCLE) return Errno::INVAL;
  return 1;
}

Result<u64> deadline_on(int clock, u64 time) {
  switch (clock) {
    case abi::kCLOCK_MONOTONIC:
    case abi::kCLOCK_BOOTTIME:
    case abi::kCLOCK_BOOTTIME_ALARM:
      return time;
    case abi::kCLOCK_REALTIME:
    case abi::kCLOCK_REALTIME_ALARM:
    case abi::kCLOCK_TAI: {
      u64 now = gate::realtime_now();
      if (time <= now) return 0;
      return add_time(gate::monotonic_now(), time - now);
    }
    case abi::kCLOCK_MONOTONIC_RAW:
    case abi::kCLOCK_REALTIME_COARSE:
    case abi::kCLOCK_MONOTONIC_COARSE:
      return Errno::NOTSUP;
    default:
      return Errno::INVAL;
  }
}

Result<u64> from_timespec(const abi::Timespec& time) {
  if (time.tv_sec < 0 || time.tv_nsec < 0 || time.tv_nsec >= static_cast<s64>(kSecond)) return Errno::INVAL;
  return saturate(time.tv_sec, static_cast<u64>(time.tv_nsec));
}

Result<u64> from_timeval(const abi::Timeval& time) {
  if (time.tv_sec < 0 || time.tv_usec < 0 || time.tv_usec >= 1'000'000) return Errno::INVAL;
  return saturate(time.tv_sec, static_cast<u64>(time.tv_usec) * 1000);
}

u64 add_time(u64 now, u64 duration) {
  return duration > kLatest - (now < kLatest ? now : kLatest) ? kLatest : now + duration;
}

}  // namespace teacup
