// Reading and checking ELF headers (elf(5)). The file may be hostile: what is accepted here can be mapped
// without a further look.
#pragma once

#include "loader/program.h"

namespace teacup {

// Fills `image` from a program or an interpreter. NOEXEC: not an ELF file for this machine, or cut off;
// INVAL: segments that contradict each other or the rules of mapping; NOMEM: addresses the guest cannot have.
// `interpreter_path`, unless null, gets PT_INTERP's path (empty: none), NUL-terminated.
inline constexpr size_t kMaxInterpreterPath = 4096;
Result<void> read_elf(fs::File& file, ElfImage& image, std::span<char> interpreter_path);

}  // namespace teacup
