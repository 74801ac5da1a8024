// Runs a machine from start to end: checks the host, opens the image, makes the arena, starts the template
// and serves it.
#pragma once

#include "host/launch/machine_options.h"

namespace teacup::host {

// Does not return once the machine runs: this process ends with the guest's exit status, 128+N for a signal,
// 125–127 as docker has them. Before that, errors of teacup's own are printed on stderr as "teacup run: …"
// and the status for the shell is returned. Call it once, from the main thread, before any other thread
// exists.
int run_machine(const MachineOptions& options);

}  // namespace teacup::host
