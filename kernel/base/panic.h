// A fault of the kernel's own: says what, and ends the machine with exit code 125. Never returns, never
// hangs.
#pragma once

namespace teacup {

[[noreturn]] void panic(const char* message);
[[noreturn]] void panic_at(const char* message, const char* file, int line);

}  // namespace teacup

// An invariant of the kernel. Not for anything that a guest, an image or the host can bring about.
#define KERNEL_ASSERT(condition)      \
  ((condition) ? static_cast<void>(0) \
               : ::teacup::panic_at("assertion failed: " #condition, __FILE__, __LINE__))
