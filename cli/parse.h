// How commands with few options read their command line: the help, and what is wrong with it, are answered
// here.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string_view>

#include "cli/commands.h"

namespace teacup::cli {

// Nothing: go on. Else the exit status: help was printed, or why `arguments` cannot be understood.
std::optional<int> parse(CLI::App& app, std::string_view command, const Arguments& arguments);

}  // namespace teacup::cli
