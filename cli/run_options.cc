#include "cli/run_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <tuple>

#include "cli/help.h"
#include "cli/network_values.h"
#include "cli/run_values.h"

namespace teacup::cli {

namespace {

const char* const kSeeHelp = "See 'teacup run --help'.";

const char* const kFooter =
    "IMAGE is an EROFS, squashfs or ext2/3/4 file, a directory, a tar archive or an OCI image layout; the "
    "last\n"
    "two are converted when they are first used. IMAGE@sha256:DIGEST runs no other. It is never written to:\n"
    "changes go to memory and end with the machine. Options stand before IMAGE; all that follows it belongs "
    "to\n"
    "CMD. An OCI image may say itself what to run, where, and as whom.\n"
    "\n"
    "The exit status is CMD's, 128+N if signal N ended it, 127 if there is no CMD, 126 if it cannot be "
    "executed,\n"
    "125 if teacup itself failed.";

// The value of --trace and --stats without "=FILE". CLI11's flags take a value only behind '=', which is what
// keeps
// `--trace IMAGE CMD` from swallowing IMAGE.
const char* const kStandardError = "-";

// The options' texts, before they are looked at.
struct RawOptions {
  std::vector<std::string> environment;
  std::vector<std::string> environment_files;
  std::vector<std::string> layers;
  std::vector<std::string> volumes;
  std::vector<std::string> published;
  std::string network = "loopback";
  std::vector<std::string> allowed;
  std::vector<std::string> hosts;
  std::vector<std::string> services;
  std::vector<std::string> tmpfs;
  std::vector<std::string> exports;
  std::optional<std::string> user;
  std::optional<std::string> hostname;
  std::optional<std::string> memory;
  std::string mode = "rewrite";
  std::string patch = "cpuid";
  std::string cpu = "host";
  std::string trace;
  std::string trace_files;
  std::string stats;
  std::string crash_report;
  std::string gdb;
  bool print_host_surface = false;
};

// An option that takes one value and may be repeated; CLI11's default would swallow every word up to the next
// option.
void add_list(CLI::App& app, const std::string& names, std::vector<std::string>& values,
              const char* value_name, const char* help) {
  app.add_option(names, values, help)
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->option_text(value_name)
      ->type_name(value_name);
}

// The last one wins, as in most Unix tools.
template <typename T>
void add_single(CLI::App& app, const std::string& names, T& value, const char* value_name, const char* help) {
  app.add_option(names, value, help)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
      ->option_text(value_name)
      ->type_name(value_name);
}

void declare(CLI::App& app, RawOptions& raw, RunOptions& options) {
  app.prefix_command();
  app.set_help_flag("-h,--help", "show this help");
  app.formatter(std::make_shared<HelpFormatter>("teacup run [OPTIONS] IMAGE [--] CMD [ARG...]", kFooter));
  add_list(app, "-e,--env", raw.environment, "K=V", "set a variable in the guest; -e K passes on your own K");
  add_list(app, "--env-file", raw.environment_files, "FILE", "set the variables of FILE, one K=V a line");
  add_single(app, "-w,--workdir", options.workdir, "DIR", "start CMD in DIR (default: the image's, or /)");
  add_single(app, "-u,--user", raw.user, "UID[:GID]",
             "run CMD as this user, by number or name (default: the image's, or 0:0)");
  add_single(app, "--entrypoint", options.entrypoint, "CMD",
             "run this with CMD as its arguments, instead of what an OCI image says; '' for neither");
  add_single(app, "--hostname", raw.hostname, "NAME", "the machine's host name");
  add_list(app, "--layer", raw.layers, "IMAGE", "lay another image over IMAGE; the last one given is on top");
  add_list(
      app, "-v,--volume", raw.volumes, "HOST:GUEST[:ro|rw|cow]",
      "show a host directory or file in the guest (default ro; rw writes through; cow keeps what is written "
      "in the machine)");
  add_list(app, "--tmpfs", raw.tmpfs, "GUEST[:OPTIONS]",
           "an empty directory in memory, as --tmpfs /run:size=64m,exec (docker's options)");
  add_single(app, "--upper", options.upper, "FILE",
             "keep what is written in FILE, which a later run of the same images goes on from");
  add_list(app, "--export", raw.exports, "GUEST:HOST",
           "at the end write the guest's directory or file to HOST, complete or not at all");
  app.add_flag("--read-only", options.read_only, "nothing can be written but volumes, --tmpfs and /dev/shm");
  add_list(app, "-p,--publish", raw.published, "[ADDR:]HOST:GUEST[/udp]",
           "let the host reach a port of the machine; -p GUEST takes any free port and prints it");
  add_single(app, "--network", raw.network, "none|loopback|host-proxy",
             "loopback (default): the machine has only itself; host-proxy lets it connect to anything");
  add_list(app, "--allow-net", raw.allowed, "HOST[:PORT]",
           "let the machine connect to a name, an address or a range as 10.0.0.0/8");
  add_list(app, "--hosts", raw.hosts, "NAME=ADDR", "what a name stands for in the machine");
  add_list(app, "--connect", raw.services, "NAME:PORT=TARGET",
           "in the machine NAME:PORT is TARGET: HOST:PORT as the host sees it, or unix:/PATH");
  add_single(app, "-m,--memory", raw.memory, "SIZE", "limit the machine's memory, as 512m or 2g");
  app.add_flag("-i,--interactive", options.interactive, "accepted: standard input is always connected");
  app.add_flag("-t,--tty", options.terminal, "accepted: a terminal is used where there is one");
  app.add_flag("--rm", options.remove, "accepted: nothing of a machine is ever left behind");
  add_single(app, "--mode", raw.mode, "rewrite|trap",
             "rewrite (default) patches system-call sites; trap patches none and is slower");
  add_single(app, "--patch", raw.patch, "LIST",
             "patch these instructions too: cpuid (default), rdtsc, none; several with commas");
  add_single(app, "--cpu", raw.cpu, "MODEL",
             "the processor that cpuid describes: host (default), x86-64, or x86-64-v2 to -v4");
  app.add_flag("--trace{-}", raw.trace, "print each system call, on standard error or to FILE")
      ->option_text("[=FILE]");
  app.add_flag("--trace-files{-}", raw.trace_files,
               "list the image's files that are used, for 'teacup pack --slim', on standard error or to FILE")
      ->option_text("[=FILE]");
  app.add_flag("--stats{-}", raw.stats, "print counts as JSON at exit, on standard error or to FILE")
      ->option_text("[=FILE]");
  app.add_flag("--crash-report{-}", raw.crash_report,
               "when a guest process crashes, print where and why, on standard error or to FILE")
      ->option_text("[=FILE]");
  app.add_flag("--gdb{-}", raw.gdb,
               "print how to attach gdb to each guest process; its scripts and symbols go to DIR")
      ->option_text("[=DIR]");
  app.add_flag("--perf-map", options.perf_map, "write /tmp/perf-PID.map for each guest process");
  app.add_flag("--print-host-surface", raw.print_host_surface,
               "print every host system call a guest process may make, and why");
}

// "-", what a bare --trace leaves and what means standard error to many tools, becomes "".
std::optional<std::string> optional_file(const std::string& value) {
  if (value.empty()) return std::nullopt;
  return value == kStandardError ? "" : value;
}

// Fills in what RawOptions holds only as text. Each part returns what was wrong with it, if anything.
std::optional<CliError> resolve_environment(const RawOptions& raw, const EnvironmentLookup& caller,
                                            RunOptions& options) {
  for (const std::string& path : raw.environment_files) {
    auto changes = read_environment_file(path, caller);
    if (auto* error = std::get_if<CliError>(&changes)) return *error;
    const auto& list = std::get<std::vector<EnvironmentChange>>(changes);
    options.environment.insert(options.environment.end(), list.begin(), list.end());
  }
  for (const std::string& text : raw.environment) {
    auto change = parse_environment(text, caller);
    if (auto* error = std::get_if<CliError>(&change)) return *error;
    options.environment.push_back(std::get<EnvironmentChange>(change));
  }
  return std::nullopt;
}

std::optional<CliError> resolve_volumes(const RawOptions& raw, RunOptions& options) {
  for (const std::string& text : raw.volumes) {
    auto parsed = parse_volume(text);
    if (auto* error = std::get_if<CliError>(&parsed)) return *error;
    const auto& volume = std::get<Volume>(parsed);
    const bool taken = std::any_of(options.volumes.begin(), options.volumes.end(),
                                   [&](const Volume& other) { return other.guest == volume.guest; });
    if (taken) {
      return CliError{"-v '" + text + "': another -v already stands at " + volume.guest,
                      "Give each volume a guest path of its own."};
    }
    options.volumes.push_back(volume);
  }
  for (const std::string& text : raw.tmpfs) {
    auto parsed = parse_tmpfs(text);
    if (auto* error = std::get_if<CliError>(&parsed)) return *error;
    const auto& tmpfs = std::get<Tmpfs>(parsed);
    const auto same = [&](const auto& other) { return other.guest == tmpfs.guest; };
    if (std::any_of(options.volumes.begin(), options.volumes.end(), same) ||
        std::any_of(options.tmpfs.begin(), options.tmpfs.end(), same)) {
      return CliError{"--tmpfs '" + text + "': a volume or another --tmpfs already stands at " + tmpfs.guest,
                      "Give each a guest path of its own."};
    }
    options.tmpfs.push_back(tmpfs);
  }
  return std::nullopt;
}

std::optional<CliError> resolve_exports(const RawOptions& raw, RunOptions& options) {
  for (const std::string& text : raw.exports) {
    auto parsed = parse_export(text);
    if (auto* error = std::get_if<CliError>(&parsed)) return *error;
    options.exports.push_back(std::get<Export>(parsed));
  }
  return std::nullopt;
}

std::optional<CliError> resolve_layers(const RawOptions& raw, RunOptions& options) {
  for (const std::string& text : raw.layers) {
    NamedImage layer;
    std::tie(layer.path, layer.digest) = split_image(text);
    if (auto problem = image_problem(layer.path)) {
      return CliError{"--layer: " + problem->what, problem->to_do};
    }
    options.layers.push_back(std::move(layer));
  }
  return std::nullopt;
}

std::optional<CliError> resolve_network(const RawOptions& raw, RunOptions& options) {
  for (const std::string& text : raw.published) {
    if (auto problem = parse_publish(text, options.network.published)) return problem;
  }
  if (auto problem = parse_network(raw.network, options.network)) return problem;
  const std::pair<const std::vector<std::string>&, decltype(&parse_host)> lists[] = {
      {raw.allowed, &parse_destination}, {raw.hosts, &parse_host}, {raw.services, &parse_service}};
  for (const auto& [texts, parse] : lists) {
    for (const std::string& text : texts) {
      if (auto problem = parse(text, options.network)) return problem;
    }
  }
  const bool leads_out = !options.network.allowed.empty() || !options.network.services.empty();
  if (raw.network == "none" && (leads_out || !raw.published.empty() || !raw.hosts.empty())) {
    return CliError{"--network none leaves nothing for -p, --allow-net, --hosts and --connect",
                    "Leave one or the other out; the default is --network loopback."};
  }
  return std::nullopt;
}

std::optional<CliError> resolve_machine(const RawOptions& raw, RunOptions& options) {
  if (options.workdir && !options.workdir->starts_with('/')) {
    return CliError{"-w '" + *options.workdir + "' is not an absolute path",
                    "Give the directory as the guest sees it, from /."};
  }
  if (raw.user) {
    auto user = parse_user(*raw.user);
    if (auto* error = std::get_if<CliError>(&user)) return *error;
    std::tie(options.user, options.group) = std::get<0>(user);
  }
  if (raw.hostname) {
    const std::string problem = hostname_problem(*raw.hostname);
    if (!problem.empty()) {
      return CliError{"--hostname '" + *raw.hostname + "' is no host name: " + problem,
                      "Give a name such as 'build' or 'web-1.example'."};
    }
    options.hostname = *raw.hostname;
  }
  if (raw.memory) {
    auto memory = parse_memory(*raw.memory);
    if (auto* error = std::get_if<CliError>(&memory)) return *error;
    options.memory = std::get<std::uint64_t>(memory);
  }
  if (raw.mode == "trap") {
    options.mode = Mode::TRAP;
  } else if (raw.mode != "rewrite") {
    return CliError{"--mode '" + raw.mode + "' is not known", "Give rewrite (the default) or trap."};
  }
  if (auto problem = parse_patch_list(raw.patch, options.patch_cpuid, options.patch_rdtsc)) return problem;
  if (auto problem = parse_cpu(raw.cpu, options.cpu)) return problem;
  if (options.cpu != abi::CpuModel::kHost && (options.mode == Mode::TRAP || !options.patch_cpuid)) {
    return CliError{"--cpu " + raw.cpu + " needs cpuid to be patched",
                    "Leave out --mode trap, and give --patch with cpuid or not at all."};
  }
  options.trace = optional_file(raw.trace);
  options.trace_files = optional_file(raw.trace_files);
  options.stats = optional_file(raw.stats);
  options.crash_report = optional_file(raw.crash_report);
  options.gdb_folder = optional_file(raw.gdb);
  return std::nullopt;
}

// IMAGE [--] CMD [ARG…], which is what CLI11's prefix mode leaves over.
std::optional<CliError> resolve_command(std::vector<std::string> words, RunOptions& options) {
  if (!words.empty() && words[0] == "--") words.erase(words.begin());
  if (words.empty()) return CliError{"no image given", "Write: teacup run IMAGE CMD [ARG...]."};
  std::tie(options.image, options.digest) = split_image(words[0]);
  words.erase(words.begin());
  if (auto problem = image_problem(options.image)) return problem;
  if (!words.empty() && words[0] == "--") words.erase(words.begin());
  const bool may_be_left_out = words.empty() && (options.entrypoint || image_may_say_command(options.image));
  if (!may_be_left_out && (words.empty() || words[0].empty())) {
    return CliError{"no command given", "Write: teacup run " + options.image +
                                            " CMD [ARG...], for example 'teacup run " + options.image +
                                            " sh'."};
  }
  options.command = std::move(words);
  return std::nullopt;
}

}  // namespace

RunRequest parse_run_options(const std::vector<std::string>& arguments, const EnvironmentLookup& caller) {
  RawOptions raw;
  RunOptions options;
  CLI::App app("Runs CMD from IMAGE in a machine of its own.", "teacup run");
  declare(app, raw, options);
  try {
    // CLI11 takes the words last one first.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    return PrintHelp{app.help()};
  } catch (const CLI::ArgumentMismatch& error) {
    return CliError{std::string("an option is not complete: ") + error.what(), kSeeHelp};
  } catch (const CLI::ParseError& error) {
    return CliError{error.what(), kSeeHelp};
  }

  // An option that CLI11 does not know is the first word left over.
  const std::vector<std::string> words = app.remaining();
  if (!words.empty() && words[0].size() > 1 && words[0][0] == '-' && words[0] != "--") {
    return CliError{"there is no option " + words[0], kSeeHelp};
  }
  if (raw.print_host_surface) return PrintHostSurface{};
  if (auto error = resolve_environment(raw, caller, options)) return *error;
  if (auto error = resolve_volumes(raw, options)) return *error;
  if (auto error = resolve_network(raw, options)) return *error;
  if (auto error = resolve_layers(raw, options)) return *error;
  if (auto error = resolve_exports(raw, options)) return *error;
  if (auto error = resolve_machine(raw, options)) return *error;
  if (auto error = resolve_command(words, options)) return *error;
  return options;
}

}  // namespace teacup::cli
