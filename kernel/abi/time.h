// Clocks and times (linux/time.h, linux/time_types.h).
#pragma once

#include "kernel/base/types.h"

namespace teacup::abi {

inline constexpr int kCLOCK_REALTIME = 0;
inline constexpr int kITIMER_REAL = 0;
inline constexpr int kCLOCK_MONOTONIC = 1;
inline constexpr int kITIMER_VIRTUAL = 1;
inline constexpr int kTFD_TIMER_ABSTIME = 1;
inline constexpr int kTIMER_ABSTIME = 1;
inline constexpr int kCLOCK_PROCESS_CPUTIME_ID = 2;
inline constexpr int kITIMER_PROF = 2;
inline constexpr int kTFD_TIMER_CANCEL_ON_SET = 2;
inline constexpr int kCLOCK_THREAD_CPUTIME_ID = 3;
inline constexpr int kCLOCK_MONOTONIC_RAW = 4;
inline constexpr int kCLOCK_REALTIME_COARSE = 5;
inline constexpr int kCLOCK_MONOTONIC_COARSE = 6;
inline constexpr int kCLOCK_BOOTTIME = 7;
inline constexpr int kCLOCK_REALTIME_ALARM = 8;
inline constexpr int kCLOCK_BOOTTIME_ALARM = 9;
inline constexpr int kCLOCK_SGI_CYCLE = 10;
inline constexpr int kCLOCK_TAI = 11;
inline constexpr int kTFD_NONBLOCK = 2048;
inline constexpr int kTFD_CLOEXEC = 524288;
inline constexpr int kTFD_IOC_SET_TICKS = 1074287616;

struct Timespec {
  s64 tv_sec;
  s64 tv_nsec;
};
struct Timeval {
  s64 tv_sec;
  s64 tv_usec;
};
struct ITimerspec {
  Timespec interval;
  Timespec value;
};
struct ITimerval {
  Timeval interval;
  Timeval value;
};

}  // namespace teacup::abi
