// The machine's end.
#pragma once

#include "kernel/base/types.h"

namespace teacup {

// Ends the machine with pid 1's wait status: the broker drains the output, kills every host process and
// exits. Returns; the caller goes on to end its own host process.
void machine_end(u32 wait_status);

// A start-up error: printed as "teacup: <text>", and the machine ends with `exit_code` (125, 126, 127).
[[noreturn]] void machine_refuse(u32 exit_code, const char* text);

// A line (without '\n') for the broker to print where --trace goes, or on stderr.
void machine_message(const char* text, u64 length);

}  // namespace teacup
