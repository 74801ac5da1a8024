// The values of `teacup run`'s options, each parsed from its text. Used by parse_run_options.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "cli/run_options.h"

namespace teacup::cli {

template <typename T>
using Parsed = std::variant<T, CliError>;

// "K=V", or "K" for the caller's value of K.
Parsed<EnvironmentChange> parse_environment(const std::string& text, const EnvironmentLookup& caller);

// The lines of an --env-file: K=V or K; blank lines and lines that start with # are skipped, values are
// verbatim.
Parsed<std::vector<EnvironmentChange>> read_environment_file(const std::string& path,
                                                             const EnvironmentLookup& caller);

Parsed<Volume> parse_volume(const std::string& text);
Parsed<Tmpfs> parse_tmpfs(const std::string& text);
Parsed<Export> parse_export(const std::string& text);

// "USER[:GROUP]" → the two names; GROUP is empty if not given.
Parsed<std::pair<std::string, std::string>> parse_user(const std::string& text);

// --memory: bytes; at least what a machine needs to begin.
Parsed<std::uint64_t> parse_memory(const std::string& text);

// Errors: nothing wrong → "".
std::string hostname_problem(const std::string& name);

// What is wrong with IMAGE, if something is: it does not exist, or is neither a file nor a directory. A name
// of the kind a registry would know ("debian:12") gets told that there is none and where images come from.
std::optional<CliError> image_problem(const std::string& image);

// IMAGE[@sha256:DIGEST] → the image and the digest in hex, which is empty if not given.
std::pair<std::string, std::string> split_image(const std::string& image);

// Whether IMAGE is of a kind that can hold the command to run: an OCI image, perhaps in an archive.
bool image_may_say_command(const std::string& image);

// --patch: "cpuid", "rdtsc" or "none", several with commas between. What is not named is false.
std::optional<CliError> parse_patch_list(const std::string& list, bool& cpuid, bool& rdtsc);

// --cpu: "host" or a level of the x86-64 psABI.
std::optional<CliError> parse_cpu(const std::string& name, abi::CpuModel& model);

}  // namespace teacup::cli
