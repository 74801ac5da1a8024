// One step up a call stack by call frame information (DWARF 5, 6.4; LSB 5 "Exception Frames"), for crash
// reports. The tables come from the guest's files and the stack from its memory: whatever they hold, a step
// ends.
#pragma once

#include <array>
#include <functional>
#include <optional>

#include "rewrite/unwind.h"

namespace teacup::host {

// By DWARF's numbers for x86-64: rax rdx rcx rbx rsi rdi rbp rsp r8…r15, and the return address.
inline constexpr size_t kRegisterRsp = 7, kRegisterRbp = 6, kRegisterPc = 16;
using Registers = std::array<u64, 17>;

// Eight bytes of the process's memory; nothing where they are not known.
using ReadMemory = std::function<std::optional<u64>(u64 address)>;

// The caller's registers, from those of a function that is at `pc`, a file's address that `frame` covers.
// `registers` and what is returned hold run-time addresses.
std::optional<Registers> caller_registers(const rewrite::ElfObject& object, const rewrite::Frame& frame,
                                          u64 pc, const Registers& registers, const ReadMemory& read);

}  // namespace teacup::host
