// The system-call table. A handler's C++ signature is its declaration: how registers become arguments, what
// --trace prints and what the support table in docs says are derived from it.
//
// To add a call: write `Result<R> sys_name(Task&, args…)` in the family's file (file_calls.cc,
// process_calls.cc, …), declare it in the family's header, and list it in the family's .def:
//     IMPLEMENTED(name)             the number is abi::kNR_name
//     DENIED(name, PERM)            refused on purpose, with that errno
// Argument types: integers and enums (by value), Fd, GuestAddress, GuestIn/GuestOut/GuestInOut<T>,
// GuestString, and those of argument_types.h, which --trace shows by name. Results: Result<void>,
// Result<integer>, Result<Fd>, Result<GuestAddress>, Result<Control>.
#pragma once

#include <array>

#include "kernel/base/result.h"
#include "kernel/task/frame.h"

namespace teacup {

class Task;
struct Printer;

// Returned by the calls that leave the frame as it shall be loaded (rt_sigreturn, execve): rax is not
// written.
struct Control {};

using ArgumentPrinters = std::array<const Printer*, 6>;    // up to a null
enum class ResultForm : u8 { kDecimal, kAddress, kMode };  // as --trace shows it

struct SyscallEntry {  // two to a cache line
  const char* name = nullptr;
  s64 (*handler)(Task& task, const Frame& frame) = nullptr;  // the value for rax, -errno included
  const ArgumentPrinters* printers = nullptr;                // for --trace
  ResultForm form = ResultForm::kDecimal;
  bool is_control = false;
  bool is_listed = false;
};

static_assert(sizeof(SyscallEntry) == 32);

inline constexpr u32 kSyscallCount = 512;
const SyscallEntry& syscall_entry_of(u64 number);  // for unknown numbers one that answers ENOSYS

}  // namespace teacup
