// The system-call table. A handler's C++ signature is its declaration: how registers become arguments, what
// --trace prints and what the support table in docs says are derived from it.
//
// To add a call: write `Result<R> sys_name(Task&, args…)` in the family's file (file_calls.cc,
// process_calls.cc, …), declare it in the family's header, and list it in the family's .def:
//     IMPLEMENTED(name)             the number is abi::kNR_name
//     DENIED(name, PERM)            refused on purpose, with that errno
// Argument types: integers and enums (by value), Fd, GuestAddress, GuestIn/GuestOut/GuestInOut<T>,
// GuestString. Results: Result<void>, Result<integer>, Result<Fd>, Result<GuestAddress>, Result<Control>.
#pragma once

#include <array>

#include "kernel/base/result.h"
#include "kernel/task/frame.h"

namespace teacup {

class Task;
class TextBuffer;

// Returned by the calls that leave the frame as it shall be loaded (rt_sigreturn, execve): rax is not
// written.
struct Control {};

struct SyscallEntry {
  const char* name = nullptr;
  s64 (*handler)(Task& task, const Frame& frame) = nullptr;  // the value for rax, -errno included
  void (*print)(TextBuffer& text, const std::array<u64, 6>& registers) = nullptr;  // arguments, for --trace
  bool is_control = false;
  bool is_listed = false;
};

inline constexpr u32 kSyscallCount = 512;
const SyscallEntry& syscall_entry_of(u64 number);  // for unknown numbers one that answers ENOSYS

}  // namespace teacup
