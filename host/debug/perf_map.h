// --perf-map: /tmp/perf-PID.map, by which perf and others name the functions of code that they have no file
// for.
#pragma once

#include <string>

#include "host/debug/program.h"

namespace teacup::host {

// "START SIZE NAME" lines, in hexadecimal: the functions of all mapped files, by their names or else by file
// and address, and trampolines by the function whose system call they make.
std::string perf_map(const Program& program, u32 prepare_flags);

}  // namespace teacup::host
