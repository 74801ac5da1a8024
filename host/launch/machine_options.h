// What a machine is started with: the command line, already checked for form.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernel/abi/cpu_model.h"

namespace teacup::host {

struct MachineVolume {
  std::string host;   // absolute
  std::string guest;  // absolute
  bool writable = false;
};

// -p: a port of the machine that the host can reach.
struct MachinePort {
  std::string address;     // of the host, in digits; empty: all
  std::uint16_t host = 0;  // 0: any that is free
  std::uint16_t guest = 0;
  bool is_udp = false;
  std::string text;  // as it was typed
};

struct MachineNetwork {
  std::vector<MachinePort> published;
};

struct MachineOptions {
  std::string image;
  std::vector<std::string> command;      // never empty
  std::vector<std::string> environment;  // "K=V" sets, "K" removes, in order, on top of the kernel's defaults
  std::string working_directory;         // absolute
  std::string user;                      // UID[:GID] or names of the image's passwd and group
  std::string hostname;                  // empty: the default
  std::vector<MachineVolume> volumes;
  MachineNetwork network;
  std::uint64_t memory = 0;                 // bytes; 0: the host's
  bool trap = false;                        // patch nothing
  bool patch_cpuid = true;                  // if anything is patched: cpuid too
  bool patch_rdtsc = false;                 // and rdtsc and rdtscp
  std::optional<std::string> trace;         // file, "" for stderr
  std::optional<std::string> trace_files;   // file, "" for stderr
  std::optional<std::string> stats;         // file, "" for stderr
  std::optional<std::string> crash_report;  // file, "" for stderr
  std::optional<std::string> gdb_folder;    // "" for a new one
  bool perf_map = false;
  abi::CpuModel cpu = abi::CpuModel::kHost;
};

}  // namespace teacup::host
