// --crash-report: what a dying guest process was doing, as text.
#pragma once

#include <string>
#include <vector>

#include "host/debug/program.h"

namespace teacup::host {

struct CallFrame {
  u64 pc = 0;
  bool is_return = false;  // pc is behind the call
};

// The calls that led to the crash, the innermost first.
std::vector<CallFrame> call_stack(const Program& program);

std::string crash_report(const Program& program);

}  // namespace teacup::host
