#include "cli/machine_options.h"

namespace teacup::cli {

host::MachineOptions machine_options(const RunOptions& options, const images::RunConfig& config,
                                     bool terminal, const EnvironmentLookup& caller) {
  host::MachineOptions machine;
  machine.images.push_back(options.image);
  for (const NamedImage& layer : options.layers) machine.images.push_back(layer.path);
  // As docker has it: CMD, given or the image's, is the entry point's arguments; an entry point that is given
  // leaves the image's CMD alone.
  if (options.entrypoint) {
    if (!options.entrypoint->empty()) machine.command.push_back(*options.entrypoint);
  } else {
    machine.command = config.entrypoint;
  }
  const bool own = options.command.empty() && !options.entrypoint;
  const std::vector<std::string>& words = own ? config.command : options.command;
  machine.command.insert(machine.command.end(), words.begin(), words.end());
  if (const char* term = caller("TERM"); terminal && term != nullptr) {
    machine.environment.push_back(std::string("TERM=") + term);
  }
  machine.environment.insert(machine.environment.end(), config.environment.begin(), config.environment.end());
  for (const EnvironmentChange& change : options.environment) {
    machine.environment.push_back(change.value ? change.name + "=" + *change.value : change.name);
  }
  const bool has_directory = config.working_directory.starts_with('/');
  machine.working_directory = options.workdir.value_or(has_directory ? config.working_directory : "/");
  if (options.user) {
    machine.user = options.group.empty() ? *options.user : *options.user + ":" + options.group;
  } else {
    machine.user = config.user.empty() ? "0" : config.user;
  }
  machine.hostname = options.hostname;
  for (const Volume& volume : options.volumes) {
    machine.volumes.push_back({volume.host, volume.guest, volume.mode});
  }
  machine.network = options.network;
  for (const Tmpfs& tmpfs : options.tmpfs) machine.tmpfs.push_back({tmpfs.guest, tmpfs.data, tmpfs.flags});
  if (options.upper) machine.upper = *options.upper;
  for (const Export& one : options.exports) machine.exports.push_back({one.guest, one.host});
  machine.read_only = options.read_only;
  machine.memory = options.memory;
  machine.trap = options.mode == Mode::TRAP;
  machine.patch_cpuid = options.patch_cpuid;
  machine.patch_rdtsc = options.patch_rdtsc;
  machine.trace = options.trace;
  machine.trace_files = options.trace_files;
  machine.stats = options.stats;
  machine.crash_report = options.crash_report;
  machine.gdb_folder = options.gdb_folder;
  machine.perf_map = options.perf_map;
  machine.cpu = options.cpu;
  return machine;
}

}  // namespace teacup::cli
