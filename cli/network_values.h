// The values of `teacup run`'s options about the network, each parsed from its text.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/error.h"
#include "host/launch/machine_options.h"

namespace teacup::cli {

// -p: "[[ADDR:][HOST]:]GUEST[/tcp|/udp]", as docker has it; HOST and GUEST may be ranges of the same length,
// "8000-8009". Adds to `ports`.
std::optional<CliError> parse_publish(const std::string& text, std::vector<host::MachinePort>& ports);

}  // namespace teacup::cli
