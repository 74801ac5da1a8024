#include "cli/run_values.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "images/error.h"
#include "images/file.h"
#include "images/probe.h"

namespace teacup::cli {

namespace {

// A path as the user is to read it in a message.
std::string quoted(const std::string& text) {
  return "'" + text + "'";
}

// Without "." and "..", and without a slash at the end.
std::string normal_path(const std::string& path) {
  std::string normal = std::filesystem::path(path).lexically_normal();
  while (normal.size() > 1 && normal.back() == '/') normal.pop_back();
  return normal;
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) {
  size_t digits = 0;
  while (digits < text.size() &&
         (std::isdigit(static_cast<unsigned char>(text[digits])) || text[digits] == '.')) {
    digits++;
  }
  const std::string_view number = text.substr(0, digits);
  std::string unit(text.substr(digits));
  for (char& c : unit) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));

  int power = 0;
  if (!unit.empty() && unit != "b") {
    const size_t index = std::string_view("kmgtp").find(unit[0]);
    if (index == std::string_view::npos) return std::nullopt;
    if (unit.size() > 1 && unit.substr(1) != "b" && unit.substr(1) != "ib") return std::nullopt;
    power = static_cast<int>(index) + 1;
  }
  const int shift = 10 * power;

  // Not by from_chars() of a double, for which the command would need the library of mathematics at each
  // start.
  const size_t point = number.find('.');
  std::uint64_t whole = 0;
  double part = 0;
  for (size_t i = number.size(); point != std::string_view::npos && --i > point;) {
    if (number[i] == '.') return std::nullopt;
    part = (part + (number[i] - '0')) / 10;
  }
  const char* const whole_end = number.data() + std::min(point, number.size());
  const auto [end, error] = std::from_chars(number.data(), whole_end, whole);
  const bool has_digits = error == std::errc{} || (point == 0 && number.size() > 1);
  if (!has_digits || end != whole_end || whole > (UINT64_MAX >> shift)) return std::nullopt;
  const std::uint64_t bytes =
      (whole << shift) + static_cast<std::uint64_t>(part * static_cast<double>(std::uint64_t{1} << shift));
  return bytes == 0 ? std::nullopt : std::optional(bytes);
}

Parsed<EnvironmentChange> parse_environment(const std::string& text, const EnvironmentLookup& caller) {
  const size_t equals = text.find('=');
  const std::string name = text.substr(0, equals);
  if (name.empty()) {
    return CliError{"-e " + quoted(text) + " names no variable",
                    "Write -e NAME=VALUE, or -e NAME to pass on your own NAME."};
  }
  if (equals != std::string::npos) return EnvironmentChange{name, text.substr(equals + 1)};
  const char* value = caller(name.c_str());
  if (value == nullptr) return EnvironmentChange{name, std::nullopt};
  return EnvironmentChange{name, value};
}

Parsed<std::vector<EnvironmentChange>> read_environment_file(const std::string& path,
                                                             const EnvironmentLookup& caller) {
  std::ifstream file(path);
  if (!file) {
    return CliError{"--env-file " + quoted(path) + " cannot be read: " + std::strerror(errno),
                    "Give a text file with one NAME=VALUE a line."};
  }
  std::vector<EnvironmentChange> changes;
  std::string line;
  for (int number = 1; std::getline(file, line); number++) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const size_t start = line.find_first_not_of(" \t");
    if (start == std::string::npos || line[start] == '#') continue;
    line.erase(0, start);
    const std::string name = line.substr(0, line.find('='));
    if (name.empty() || name.find_first_of(" \t") != std::string::npos) {
      return CliError{"--env-file " + quoted(path) + ", line " + std::to_string(number) + ": " +
                          quoted(name) + " is not a variable's name",
                      "Each line is NAME=VALUE, or NAME to pass on your own NAME; # starts a comment line."};
    }
    changes.push_back(std::get<EnvironmentChange>(parse_environment(line, caller)));
  }
  if (file.bad()) {
    return CliError{"--env-file " + quoted(path) + " cannot be read to its end: " + std::strerror(errno)};
  }
  return changes;
}

Parsed<std::uint64_t> parse_memory(const std::string& text) {
  constexpr std::uint64_t kLeast = 6 << 20;  // docker's; a machine begins with 2 MiB
  const auto size = parse_size(text);
  if (!size) {
    return CliError{"--memory '" + text + "' is not a size",
                    "Give a number above 0 with b, k, m or g behind it, as 512m or 1.5g."};
  }
  if (*size < kLeast)
    return CliError{"--memory '" + text + "' is too little to run anything", "Give at least 6m."};
  return *size;
}

Parsed<Volume> parse_volume(const std::string& text) {
  const std::string flag = "-v " + quoted(text);
  const char* const form =
      "Write -v HOST:GUEST for read-only, -v HOST:GUEST:rw to write through to the host, -v HOST:GUEST:cow "
      "to "
      "keep what is written in the machine.";
  const size_t first = text.find(':');
  if (first == std::string::npos) return CliError{flag + " has no guest path", form};
  const size_t second = text.find(':', first + 1);
  const std::string host = text.substr(0, first);
  const std::string guest = text.substr(first + 1, second == std::string::npos ? second : second - first - 1);
  const std::string mode = second == std::string::npos ? "ro" : text.substr(second + 1);

  if (mode != "ro" && mode != "rw" && mode != "cow")
    return CliError{flag + ": " + quoted(mode) + " is none of ro, rw and cow", form};
  if (host.empty()) return CliError{flag + " has no host path", form};
  if (guest.empty() || guest[0] != '/') {
    return CliError{flag + ": the guest path " + quoted(guest) + " is not absolute", form};
  }
  const std::string normal = normal_path(guest);
  if (normal == "/") {
    return CliError{flag + " would replace the guest's whole tree",
                    "To run on a host directory, give it as IMAGE: teacup run " + host + " CMD."};
  }

  std::error_code error;
  const std::string absolute = std::filesystem::canonical(host, error);
  if (error) {
    return CliError{flag + ": the host path " + quoted(host) + " cannot be used: " + error.message(),
                    "Create it first; teacup makes nothing on the host by itself."};
  }
  return Volume{absolute, normal,
                mode == "rw"    ? abi::VolumeMode::kWritable
                : mode == "cow" ? abi::VolumeMode::kCopyOnWrite
                                : abi::VolumeMode::kReadOnly};
}

// docker's: flags of the mount by name, the file system's own options with a value.
Parsed<Tmpfs> parse_tmpfs(const std::string& text) {
  const std::string flag = "--tmpfs " + quoted(text);
  const char* const form =
      "Write --tmpfs PATH or --tmpfs PATH:OPTION,..., for example /run:size=64m,mode=755,exec.";
  const size_t colon = text.find(':');
  const std::string guest = text.substr(0, colon);
  if (guest.empty() || guest[0] != '/') {
    return CliError{flag + ": the guest path " + quoted(guest) + " is not absolute", form};
  }
  Tmpfs tmpfs;
  tmpfs.guest = normal_path(guest);
  if (tmpfs.guest == "/") return CliError{flag + " would replace the guest's whole tree", form};
  constexpr std::uint32_t kReadOnly = 1, kNoSuid = 2, kNoDev = 4, kNoExec = 8, kNoAtime = 1024;
  static const std::map<std::string, std::pair<std::uint32_t, bool>> kFlags = {
      {"ro", {kReadOnly, true}},    {"rw", {kReadOnly, false}},     {"nosuid", {kNoSuid, true}},
      {"suid", {kNoSuid, false}},   {"nodev", {kNoDev, true}},      {"dev", {kNoDev, false}},
      {"noexec", {kNoExec, true}},  {"exec", {kNoExec, false}},     {"noatime", {kNoAtime, true}},
      {"atime", {kNoAtime, false}}, {"relatime", {kNoAtime, false}}};
  tmpfs.flags = kNoSuid | kNoDev | kNoExec;
  std::istringstream words(colon == std::string::npos ? "" : text.substr(colon + 1));
  for (std::string word; std::getline(words, word, ',');) {
    const std::string key = word.substr(0, word.find('='));
    const std::string value = word.size() > key.size() ? word.substr(key.size() + 1) : "";
    if (const auto known = kFlags.find(word); known != kFlags.end()) {
      const auto [bit, set] = known->second;
      tmpfs.flags = set ? tmpfs.flags | bit : tmpfs.flags & ~bit;
      continue;
    }
    const bool percent = value.size() > 1 && value.back() == '%' &&
                         value.find_first_not_of("0123456789") == value.size() - 1 && value.size() < 5;
    if (key == "size" && (percent || parse_size(value))) {
      tmpfs.data += (tmpfs.data.empty() ? "" : ",") + key + "=" +
                    (percent ? value : std::to_string(*parse_size(value)));
    } else if ((key == "mode" && !value.empty() && value.size() <= 5 &&
                value.find_first_not_of("01234567") == std::string::npos) ||
               ((key == "uid" || key == "gid" || key == "nr_inodes") && !value.empty() && value.size() < 10 &&
                value.find_first_not_of("0123456789") == std::string::npos)) {
      tmpfs.data += (tmpfs.data.empty() ? "" : ",") + word;
    } else {
      return CliError{
          flag + ": the option " + quoted(std::as_const(word)) + " is not known, or its value is none",
          "Known: size=64m (or 50%), mode=1777, uid=, gid=, nr_inodes=, and ro, exec, suid, dev, noatime "
          "and their opposites."};
    }
  }
  return tmpfs;
}

// What could not be written in the end is better known before.
Parsed<Export> parse_export(const std::string& text) {
  const std::string flag = "--export " + quoted(text);
  const char* const form = "Write --export GUEST:HOST, for example --export /src/build:out.";
  const size_t colon = text.find(':');
  if (colon == std::string::npos || colon + 1 == text.size())
    return CliError{flag + " has no host path", form};
  Export result{text.substr(0, colon), text.substr(colon + 1)};
  if (!result.guest.starts_with('/')) {
    return CliError{flag + ": the guest path " + cli::quoted(result.guest) + " is not absolute", form};
  }
  result.guest = normal_path(result.guest);
  result.host = normal_path(result.host);
  struct stat status;
  if (stat(result.host.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    return CliError{
        flag + ": " + cli::quoted(result.host) + " is there already",
        "Name a directory that is not, in one that is; nothing on the host is merged or replaced."};
  }
  try {
    images::check_replaceable(result.host);
  } catch (const images::Error& error) {
    return CliError{flag + ": " + error.what(), "Name a directory or file that is not there, or a file."};
  }
  const std::filesystem::path parent = std::filesystem::path(result.host).parent_path();
  if (stat(parent.empty() ? "." : parent.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    return CliError{flag + ": there is no directory " + cli::quoted(parent.string()), "Make it first."};
  }
  return result;
}

Parsed<std::pair<std::string, std::string>> parse_user(const std::string& text) {
  const size_t colon = text.find(':');
  const std::string user = text.substr(0, colon);
  const std::string group = colon == std::string::npos ? "" : text.substr(colon + 1);
  const bool too_many = group.find(':') != std::string::npos;
  if (user.empty() || too_many || (colon != std::string::npos && group.empty())) {
    return CliError{"-u " + quoted(text) + " is not a user",
                    "Write -u UID or -u UID:GID; names of the image's passwd and group files work too."};
  }
  return std::pair{user, group};
}

std::string hostname_problem(const std::string& name) {
  if (name.empty()) return "it is empty";
  if (name.size() > 64) return "it is longer than 64 bytes";
  if (!std::all_of(name.begin(), name.end(), is_name_character)) {
    return "only letters, digits, '-' and '.' may be in it";
  }
  if (name.front() == '-' || name.front() == '.') return "it starts with '" + name.substr(0, 1) + "'";
  return "";
}

std::pair<std::string, std::string> split_image(const std::string& image) {
  const images::PinnedName name = images::split_pin(image);
  return {name.path, name.digest};
}

bool image_may_say_command(const std::string& image) {
  const images::Kind kind = images::probe(image);
  return kind == images::Kind::kArchive || kind == images::Kind::kOciLayout;
}

std::optional<CliError> image_problem(const std::string& image) {
  const char* const what_it_is =
      "IMAGE is an EROFS, squashfs or ext2/3/4 file, a tar archive, an OCI layout, or a directory with a "
      "file tree in it.";
  struct stat status;
  if (stat(image.c_str(), &status) == 0) {
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) return std::nullopt;
    return CliError{"image " + quoted(image) + " is neither a file nor a directory", what_it_is};
  }
  const int error = errno;
  // "debian", "debian:12", "library/debian:12", "ghcr.io/a/b": what one types to docker. A path says so by
  // how it begins or by its ending.
  const bool looks_like_path = image.empty() || image[0] == '/' || image[0] == '.' || image[0] == '~' ||
                               image.ends_with(".erofs") || image.ends_with(".ext4") ||
                               image.ends_with(".img");
  if (error == ENOENT && !looks_like_path) {
    return CliError{"there is no file or directory " + quoted(image) + ", and teacup pulls from no registry",
                    std::string(what_it_is) +
                        "\n  To make one of Debian packages: scripts/images base, then 'teacup run "
                        "build/images/base.erofs CMD'."
                        "\n  To make one of docker's: docker export $(docker create " +
                        image + ") | teacup pack - NAME.erofs"};
  }
  return CliError{"image " + quoted(image) + " cannot be opened: " + std::strerror(error), what_it_is};
}

std::optional<CliError> parse_patch_list(const std::string& list, bool& cpuid, bool& rdtsc) {
  cpuid = rdtsc = false;
  std::istringstream words(list);
  for (std::string word; std::getline(words, word, ',');) {
    if (word == "cpuid") {
      cpuid = true;
    } else if (word == "rdtsc") {
      rdtsc = true;
    } else if (word != "none") {
      return CliError{"--patch '" + word + "' is not known",
                      "Give cpuid, rdtsc or none, or both as cpuid,rdtsc."};
    }
  }
  return std::nullopt;
}

std::optional<CliError> parse_cpu(const std::string& name, abi::CpuModel& model) {
  using abi::CpuModel;
  for (CpuModel known : {CpuModel::kHost, CpuModel::kV1, CpuModel::kV2, CpuModel::kV3, CpuModel::kV4}) {
    if (name != abi::cpu_model_name(known) && !(known == CpuModel::kV1 && name == "x86-64-v1")) continue;
    model = known;
    return std::nullopt;
  }
  return CliError{"--cpu '" + name + "' is not known",
                  "Give host (the default), x86-64, x86-64-v2, x86-64-v3 or x86-64-v4."};
}

}  // namespace teacup::cli
