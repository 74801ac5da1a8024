// The vDSO's bytes: loader/vdso, built as an ELF of its own and embedded.
#pragma once

#include "kernel/base/types.h"

namespace teacup {

extern const u8 kVdsoImage[];
extern const u64 kVdsoSize;

}  // namespace teacup
