// --gdb: a script with which gdb on the host understands a guest process.
//
// Why a script, and not gdb's interface for JITs: that wants the symbols as ELF files in the process's own
// memory, relocated to where they are, and a list of them that the process keeps. It would cost every machine
// memory and time for files that only a person with a debugger reads, or would have to be asked for at the
// start just as a script is; and it cannot teach gdb to walk from the kernel's stack to the guest's, which is
// half of a right backtrace. A script is read once, by whoever wants it, from ordinary files.
#pragma once

#include <functional>
#include <string>

#include "host/debug/program.h"

namespace teacup::host {

// `file_path` gives the host's copy of a guest's file.
std::string gdb_script(const Program& program, u32 prepare_flags,
                       const std::function<std::string(const ProgramFile&)>& file_path);

}  // namespace teacup::host
