// A new program's stack: strings, auxiliary vector, environment and argument pointers, argc (System V ABI for
// x86-64, "Process Initialization"; getauxval(3)).
#pragma once

#include "loader/program.h"

namespace teacup {

struct AuxValues {
  u64 program_headers = 0;
  u64 interpreter_base = 0;  // 0: static
  u64 entry = 0;             // of the program, not of its interpreter
  u64 vdso = 0;
  u32 hwcap = 0;
};

// Writes the stack that ends at `top` and fills the layout's part. Returns the stack pointer.
Result<u64> build_stack(u64 top, const ProgramRequest& request, const AuxValues& values,
                        mm::ProgramLayout& layout);

}  // namespace teacup
