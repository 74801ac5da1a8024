// The two sets of clone flags that the gate uses, and the only ones that the filter lets through.
#pragma once

#include "kernel/abi/process.h"
#include "kernel/abi/signal.h"

namespace teacup::gate {

// A thread of this address space. Its tid word is cleared and woken when it is gone.
inline constexpr u64 kThreadFlags = abi::kCLONE_VM | abi::kCLONE_FS | abi::kCLONE_FILES |
                                    abi::kCLONE_SIGHAND | abi::kCLONE_THREAD | abi::kCLONE_SYSVSEM |
                                    abi::kCLONE_PARENT_SETTID | abi::kCLONE_CHILD_CLEARTID;
// A copy of this address space, as a child of the broker.
inline constexpr u64 kForkFlags = abi::kCLONE_PARENT | abi::kCLONE_PARENT_SETTID | abi::kSIGCHLD;

}  // namespace teacup::gate
