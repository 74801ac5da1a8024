// `teacup run`: parses, then hands over to host/launch.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>
#include <variant>

#include "cli/commands.h"
#include "cli/error.h"
#include "cli/machine_options.h"
#include "cli/run_options.h"
#include "host/filter/filter.h"
#include "host/launch/run_machine.h"
#include "images/error.h"
#include "images/image_cache.h"

namespace teacup::cli {

namespace {

// --upper is of no use over images that changed: inodes are known by their numbers.
std::vector<host::UpperLayer> identify_layers(const std::vector<std::string>& paths) {
  std::vector<host::UpperLayer> layers;
  for (const std::string& path : paths) {
    layers.push_back({images::file_digest(path), std::filesystem::absolute(path)});
  }
  return layers;
}

}  // namespace

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
  RunOptions options = std::get<RunOptions>(request);
  images::PreparedImage prepared;
  try {
    prepared = images::prepare_image(options.image, options.digest);
    for (NamedImage& layer : options.layers) {
      layer.path = images::prepare_layer(layer.path, layer.digest);
    }
  } catch (const images::Error& error) {
    return fail("run", {error.what()});
  }
  const std::string named = std::exchange(options.image, prepared.path);
  host::MachineOptions machine = machine_options(options, prepared.config, terminal, lookup);
  if (machine.command.empty()) {
    return fail("run", {"no command given, and " + named + " does not say what to run",
                        "Write: teacup run " + named + " CMD [ARG...]."});
  }
  if (!options.exports.empty() && !options.upper) {
    // For what --export writes at the end, where nobody asked to keep it.
    const char* place = std::getenv("TMPDIR");
    machine.upper = place != nullptr && *place != '\0' ? place : "/var/tmp";
    machine.upper_is_temporary = true;
  }
  if (!machine.upper.empty()) {
    try {
      machine.upper_layers = identify_layers(machine.images);
    } catch (const images::Error& error) {
      return fail("run", {error.what()});
    }
  }
  return host::run_machine(machine);
}

}  // namespace teacup::cli
