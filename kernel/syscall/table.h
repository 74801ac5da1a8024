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

#include "kernel/base/result.h"
#include "kernel/task/frame.h"

namespace teacup {

class Task;

// Returned by the calls that leave the frame as it shall be loaded (rt_sigreturn, execve): rax is not
// written.
struct Control {};

struct SyscallEntry {
  const char* name;
  s64 (*handler)(Task& task,
                 const Frame& frame);  // the value for rax, -errno included; null: not implemented
  bool is_control;
};

inline constexpr u32 kSyscallCount = 512;
const SyscallEntry& syscall_entry(u64 number);  // an entry with a null handler for unknown numbers

}  // namespace teacup
