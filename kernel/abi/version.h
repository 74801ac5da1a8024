// What the machine says it is (uname(2), /proc/version, /proc/sys/kernel).
#pragma once

namespace teacup::abi {

inline constexpr char kSystemName[] = "Linux";
inline constexpr char kSystemRelease[] = "6.1.0-teacup";
inline constexpr char kSystemVersion[] = "#1 SMP PREEMPT_DYNAMIC teacup";
inline constexpr char kSystemMachine[] = "x86_64";

}  // namespace teacup::abi
