// `teacup run`: parses, then hands over to host/launch.
#include <cstdio>
#include <cstdlib>
#include <variant>

#include "cli/commands.h"
#include "cli/error.h"
#include "cli/run_options.h"
#include "host/filter/filter.h"

namespace teacup::cli {

int run_command(const Arguments& arguments) {
  const RunRequest request = parse_run_options(arguments, [](const char* name) { return std::getenv(name); });
  if (const auto* error = std::get_if<CliError>(&request)) return fail("run", *error);
  if (const auto* help = std::get_if<PrintHelp>(&request)) {
    std::fputs(help->text.c_str(), stdout);
    return 0;
  }
  if (std::holds_alternative<PrintHostSurface>(request)) {
    std::fputs(host::describe_host_surface().c_str(), stdout);
    return 0;
  }
  return fail("run", {"not built yet"});
}

}  // namespace teacup::cli
