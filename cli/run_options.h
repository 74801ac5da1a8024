// `teacup run`'s command line as a plain struct. Parsing decides nothing about running: a name in `user` is
// looked up in the image's passwd by whoever starts the machine, IMAGE is probed there too.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cli/error.h"
#include "host/launch/machine_options.h"
#include "kernel/abi/boot.h"
#include "kernel/abi/cpu_model.h"

namespace teacup::cli {

// One change to the guest's environment, applied in order on top of the defaults.
struct EnvironmentChange {
  std::string name;                  // never empty, without '='
  std::optional<std::string> value;  // nullopt: remove it (`-e K` where the caller has no K)
  bool operator==(const EnvironmentChange&) const = default;
};

// -v HOST:GUEST[:ro|rw|cow]
struct Volume {
  std::string host;   // absolute; existed when it was parsed
  std::string guest;  // absolute, normalised, without a trailing slash, never "/"
  abi::VolumeMode mode = abi::VolumeMode::kReadOnly;
  bool operator==(const Volume&) const = default;
};

// --tmpfs GUEST[:OPTION,…]
struct Tmpfs {
  std::string guest;        // as a volume's
  std::string data;         // size=, mode= and the like, for the file system
  std::uint32_t flags = 0;  // MS_* of mount(2)
  bool operator==(const Tmpfs&) const = default;
};

// --export GUEST:HOST
struct Export {
  std::string guest;  // absolute, normalised
  std::string host;   // as typed; not a directory that is there
  bool operator==(const Export&) const = default;
};

// IMAGE[@sha256:…]
struct NamedImage {
  std::string path;    // a file or a directory, which exists
  std::string digest;  // in hex; empty: any
  bool operator==(const NamedImage&) const = default;
};

// REWRITE patches system-call sites as objects are mapped; TRAP patches none and serves every call through
// the SIGSYS net.
enum class Mode { REWRITE, TRAP };

struct RunOptions {
  std::string image;                 // IMAGE as typed, without its pin: a file or a directory, which exists
  std::string digest;                // of IMAGE@sha256:…, in hex; empty: any
  std::vector<NamedImage> layers;    // over IMAGE, the lowest first
  std::vector<std::string> command;  // CMD ARG…; empty only where IMAGE may say itself what to run
  std::optional<std::string> entrypoint;  // --entrypoint, instead of the image's; "": none

  std::vector<EnvironmentChange> environment;  // --env-file's, then -e's
  std::optional<std::string> workdir;          // absolute; nullopt: the image's, or /
  std::optional<std::string> user;  // UID or a name of the image's passwd; nullopt: the image's, or 0
  std::string group;                // GID or a name of the image's group file; empty: the user's primary
  std::string hostname;             // empty: the machine's default
  std::vector<Volume> volumes;      // in the order given; guest paths differ, also from those of tmpfs
  std::vector<Tmpfs> tmpfs;
  bool read_only = false;
  std::optional<std::string> upper;  // --upper FILE
  std::vector<Export> exports;
  host::MachineNetwork network;
  std::uint64_t memory = 0;  // bytes; 0: no limit given

  // Accepted because people type them. The machine looks at its standard files itself.
  bool interactive = false;
  bool terminal = false;
  bool remove = false;

  Mode mode = Mode::REWRITE;
  bool patch_cpuid = true;                  // what is patched besides system calls, in mode REWRITE
  bool patch_rdtsc = false;                 // and rdtscp
  std::optional<std::string> trace;         // --trace[=FILE]: FILE, "" for standard error
  std::optional<std::string> trace_files;   // --trace-files[=FILE]: the same
  std::optional<std::string> stats;         // --stats[=FILE]: FILE, "" for standard error
  std::optional<std::string> crash_report;  // --crash-report[=FILE]: the same
  std::optional<std::string> gdb_folder;    // --gdb[=DIR]: DIR, "" for a new one
  bool perf_map = false;
  abi::CpuModel cpu = abi::CpuModel::kHost;
};

struct PrintHostSurface {};
struct PrintHelp {
  std::string text;
};

// The caller's environment, as getenv: nullptr for a variable that is not set.
using EnvironmentLookup = std::function<const char*(const char*)>;

using RunRequest = std::variant<RunOptions, PrintHostSurface, PrintHelp, CliError>;

// Parses what follows `teacup run`. Options end at IMAGE: all that follows it is the command's, but for one
// "--" right after it. Reads the files of --env-file; looks whether IMAGE and the volumes' host paths exist.
RunRequest parse_run_options(const std::vector<std::string>& arguments, const EnvironmentLookup& caller);

// "512m" → bytes, in docker's notation: a number, possibly with a fraction, and b, k, m, g, t or p (also kb,
// KiB), all powers of 1024. nullopt if `text` is no such size, is zero or does not fit.
std::optional<std::uint64_t> parse_size(std::string_view text);

}  // namespace teacup::cli
