// The panic report with the registers of a fault.
#pragma once

#include "kernel/abi/signal.h"

namespace teacup {

// The signal that the broker sends to make a task enter the kernel. Any number would do: the guest never sees
// it.
inline constexpr int kKickSignal = 40;

[[noreturn]] void panic_context(const char* what, const abi::SigContext& context, u64 detail);

}  // namespace teacup
