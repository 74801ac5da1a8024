// Starting the guest side: the runtime is exec'd once, as the template.
#pragma once

#include <sys/types.h>

#include <vector>

#include "host/launch/arena.h"

namespace teacup::host {

// Puts the filter into the arena and execs the embedded runtime with the arena and `guest_fds` at their fixed
// descriptors, an empty environment and nothing else open. Returns the template's pid. Throws LaunchError.
pid_t start_template(Arena& arena, const std::vector<int>& guest_fds);

}  // namespace teacup::host
