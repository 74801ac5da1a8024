#include "cli/machine_options.h"

namespace teacup::cli {

host::MachineOptions machine_options(const RunOptions& options, bool terminal,
                                     const EnvironmentLookup& caller) {
  host::MachineOptions machine;
  machine.image = options.image;
  machine.command = options.command;
  if (const char* term = caller("TERM"); terminal && term != nullptr) {
    machine.environment.push_back(std::string("TERM=") + term);
  }
  for (const EnvironmentChange& change : options.environment) {
    machine.environment.push_back(change.value ? change.name + "=" + *change.value : change.name);
  }
  machine.working_directory = options.workdir;
  machine.user = options.group.empty() ? options.user : options.user + ":" + options.group;
  machine.hostname = options.hostname;
  for (const Volume& volume : options.volumes) {
    machine.volumes.push_back({volume.host, volume.guest, volume.writable});
  }
  machine.memory = options.memory;
  machine.trap = options.mode == Mode::TRAP;
  machine.patch_cpuid = options.patch_cpuid;
  machine.patch_rdtsc = options.patch_rdtsc;
  machine.trace = options.trace;
  machine.stats = options.stats;
  machine.crash_report = options.crash_report;
  machine.gdb_folder = options.gdb_folder;
  machine.perf_map = options.perf_map;
  machine.cpu = options.cpu;
  return machine;
}

}  // namespace teacup::cli
