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

// --network: none, loopback or host-proxy.
std::optional<CliError> parse_network(const std::string& text, host::MachineNetwork& network);

// --allow-net: "HOST[:PORT]", HOST a name, an address or ADDRESS/BITS.
std::optional<CliError> parse_destination(const std::string& text, host::MachineNetwork& network);

// --hosts: "NAME=ADDR".
std::optional<CliError> parse_host(const std::string& text, host::MachineNetwork& network);

// --connect: "NAME:PORT=TARGET", TARGET "HOST:PORT" or "unix:/PATH".
std::optional<CliError> parse_service(const std::string& text, host::MachineNetwork& network);

}  // namespace teacup::cli
