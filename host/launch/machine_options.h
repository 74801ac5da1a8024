// What a machine is started with: the command line, already checked for form.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "host/broker/upper_file.h"
#include "kernel/abi/boot.h"
#include "kernel/abi/cpu_model.h"

namespace teacup::host {

struct MachineVolume {
  std::string host;   // absolute
  std::string guest;  // absolute
  abi::VolumeMode mode = abi::VolumeMode::kReadOnly;
};

// Of the guest's tree, written to the host at the end.
struct MachineExport {
  std::string guest;
  std::string host;
};

struct MachineTmpfs {
  std::string guest;        // absolute
  std::string data;         // as mount(2)'s
  std::uint32_t flags = 0;  // MS_* of mount(2)
};

// -p: a port of the machine that the host can reach.
struct MachinePort {
  std::string address;     // of the host, in digits; empty: all
  std::uint16_t host = 0;  // 0: any that is free
  std::uint16_t guest = 0;
  bool is_udp = false;
  std::string text;  // as it was typed
};

// --allow-net: where the machine may connect to.
struct MachineDestination {
  std::string host;        // a name, in lower case; "*.example.com" for all under it; or an address in digits
  int prefix = -1;         // of an address: so many bits of it count; -1: it is a name
  std::uint16_t port = 0;  // 0: all
};

// --hosts: what a name stands for in the machine.
struct MachineHost {
  std::string name;     // in lower case
  std::string address;  // in digits
};

// --connect: a name of the machine's whose port is something on the host.
struct MachineService {
  std::string name;
  std::uint16_t port = 0;
  std::string unix_path;  // else:
  std::string host;       // address or name, as the host knows it
  std::uint16_t host_port = 0;
  std::string text;  // as it was typed
};

struct MachineNetwork {
  bool has_loopback = true;
  bool allow_all = false;  // --network host-proxy
  std::vector<MachinePort> published;
  std::vector<MachineDestination> allowed;
  std::vector<MachineHost> hosts;
  std::vector<MachineService> services;
};

struct MachineOptions {
  std::vector<std::string> images;       // the lowest layer first; never empty
  std::vector<std::string> command;      // never empty
  std::vector<std::string> environment;  // "K=V" sets, "K" removes, in order, on top of the kernel's defaults
  std::string working_directory;         // absolute
  std::string user;                      // UID[:GID] or names of the image's passwd and group
  std::string hostname;                  // empty: the default
  std::vector<MachineVolume> volumes;
  MachineNetwork network;
  std::vector<MachineTmpfs> tmpfs;
  std::vector<MachineExport> exports;       // needs `upper`
  bool upper_is_temporary = false;          // `upper` is a directory, for a file without a name
  std::string upper;                        // file that keeps the root's memory layer; empty: none
  std::vector<UpperLayer> upper_layers;     // with it: what `images` are
  bool read_only = false;                   // the root file system
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
