// `teacup run`: parses, then hands over to host/launch.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <variant>

#include "cli/commands.h"
#include "cli/error.h"
#include "cli/machine_options.h"
#include "cli/run_options.h"
#include "host/filter/filter.h"
#include "host/launch/run_machine.h"

namespace teacup::cli {

int run_command(const Arguments& arguments) {
  const EnvironmentLookup lookup = [](const char* name) { return std::getenv(name); };
  const RunRequest request = parse_run_options(arguments, lookup);
  if (const auto* error = std::get_if<CliError>(&request)) return fail("run", *error);
  if (const auto* help = std::get_if<PrintHelp>(&request)) {
    std::fputs(help->text.c_str(), stdout);
    return 0;
  }
  if (std::holds_alternative<PrintHostSurface>(request)) {
    std::fputs(host::describe_host_surface().c_str(), stdout);
    return 0;
  }
  bool terminal = isatty(STDIN_FILENO) || isatty(STDOUT_FILENO) || isatty(STDERR_FILENO);
  return host::run_machine(machine_options(std::get<RunOptions>(request), terminal, lookup));
}

}  // namespace teacup::cli
