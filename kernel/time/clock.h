// The clocks of clock_gettime(2), as the guest sees them.
#pragma once

#include "host/gate/gate.h"
#include "kernel/abi/time.h"
#include "kernel/base/result.h"

namespace teacup {

inline constexpr u64 kSecond = 1'000'000'000;

// ns. For the wall clocks and the CPU-time clocks of the calling host thread and process; other CPU-time
// clocks (clockid_t made from a pid) are resolved by the caller. EINVAL: no such clock.
Result<u64> clock_now(int clock);
Result<u64> clock_resolution(int clock);
// A time on `clock` as a deadline on CLOCK_MONOTONIC. Times gone by give a deadline gone by. EINVAL,
// EOPNOTSUPP (a clock that cannot be slept on).
Result<u64> deadline_on(int clock, u64 time);

inline abi::Timespec to_timespec(u64 ns) {
  return {static_cast<s64>(ns / kSecond), static_cast<s64>(ns % kSecond)};
}
inline abi::Timeval to_timeval(u64 ns) {
  return {static_cast<s64>(ns / kSecond), static_cast<s64>(ns % kSecond / 1000)};
}
// EINVAL unless 0 <= tv_sec and 0 <= tv_nsec < 10^9. Saturates.
Result<u64> from_timespec(const abi::Timespec& time);
Result<u64> from_timeval(const abi::Timeval& time);
// now + duration, saturating below "no deadline".
u64 add_time(u64 now, u64 duration);

}  // namespace teacup
