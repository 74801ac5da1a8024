// The importer's processes, after the fork.
#pragma once

#include <vector>

#include "host/importer/channel.h"

namespace teacup::importer {

// Forks workers as long as the broker holds the other end of `socket`. Never returns.
[[noreturn]] void supervise(int socket, Channel* channel, const std::vector<int>& images);

// Installs the worker's filter: from here on, read(2) and write(2) on `socket`, pread(2), anonymous memory,
// and the process's end are all that is left. False when the host does not let us.
bool enter_sandbox(int socket);

}  // namespace teacup::importer
