// Runs a machine from start to end: checks the host, opens the image, makes the arena, starts the template
// and serves it.
#pragma once

#include "host/launch/machine_options.h"

namespace teacup::host {

// The exit status for the shell: the guest's, 128+N for a signal, 125–127 as docker has them. Errors of
// teacup's own are printed on stderr as "teacup run: …". Call it once, from the main thread, before any other
// thread exists.
int run_machine(const MachineOptions& options);

}  // namespace teacup::host
