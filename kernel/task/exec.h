// execve(2): another program in a process. In place where the address space is the process's alone; in a
// zygote where it has borrowers or the caller is one.
#pragma once

#include "fs/path.h"
#include "kernel/task/task.h"
#include "loader/program.h"

namespace teacup {

// What execveat(2) is given: `start` for relative paths (null: the working directory), and with kEmptyPath
// in `resolve` the file itself.
struct ExecArguments {
  const fs::Path* start = nullptr;
  std::string_view path;
  std::string_view shown_path;  // AT_EXECFN, and what a script's interpreter is given
  u32 resolve = 0;
  StringSource arguments;
  StringSource environment;
  // The caller's own objects, which exec() lets go of when it does not return to it. May be null.
  HeapArray<char>* path_storage = nullptr;
  HeapArray<char>* more_storage = nullptr;
  fs::Path* start_storage = nullptr;
};

// On success the task's frame is that of the new program; or the call does not return, because the task has
// moved and this host thread has another, or none. Errors as in execve(2); a failure past the point of no
// return ends the process by SIGKILL.
Result<void> exec(Task& task, const ExecArguments& arguments);

// A task's first steps in a zygote: loads its program and goes to guest code.
[[noreturn]] void run_program(Task& task, Ref<ProgramRequest> program);

// Fills in the frame of a task that starts `program`.
void set_start_frame(Task& task, const LoadedProgram& program);

// What a program start changes in identity: set-user-ID and capabilities (credentials(7), capabilities(7)).
// Returns whether the program runs with raised privileges (AT_SECURE).
bool exec_credentials(Credentials& credentials, const fs::Inode* executable, bool no_new_privileges);

}  // namespace teacup
