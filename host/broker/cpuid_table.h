// What the processor says of itself, for the machines of one boot of the host (abi::StoreHeader).
#pragma once

#include <span>

#include "kernel/abi/stored_text.h"

namespace teacup::host {

// Asks all leaves and subleaves that programs ask for, as many as there is room for: some 80, 1 ms in a
// virtual machine. How many there are.
u32 read_cpuid(std::span<abi::CpuidEntry> table);

}  // namespace teacup::host
