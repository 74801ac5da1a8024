// `teacup pack`: makes an image of directories and archives.
#include <cstdio>
#include <cstdlib>

#include "cli/commands.h"
#include "cli/error.h"
#include "cli/parse.h"
#include "images/error.h"
#include "images/pack.h"

namespace teacup::cli {

namespace {

const char* const kFooter =
    "SOURCE is a directory, a tar archive (plain, gz, xz or zstd; '-' for standard input), an OCI layout, an "
    "image "
    "of\n"
    "any format or a Debian package; a later one is laid over those before it, images as 'teacup run "
    "--layer' does.\n"
    "The same sources give the same bytes. Owners, devices and hard links are recorded without root. No "
    "file's time\n"
    "is later than SOURCE_DATE_EPOCH, if that is set.";

// Whole seconds, as SOURCE_DATE_EPOCH has them (reproducible-builds.org).
std::optional<s64> parse_seconds(const std::string& text) {
  char* end = nullptr;
  errno = 0;
  const long long value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || errno != 0 || value < 0) return std::nullopt;
  return value;
}

std::optional<images::Format> format_of(const std::string& given, const std::string& output) {
  if (given == "erofs") return images::Format::kErofs;
  if (given == "squashfs") return images::Format::kSquashfs;
  if (given == "ext4") return images::Format::kExt4;
  if (!given.empty()) return std::nullopt;
  if (output.ends_with(".ext4")) return images::Format::kExt4;
  if (output.ends_with(".squashfs") || output.ends_with(".sqfs")) return images::Format::kSquashfs;
  return images::Format::kErofs;
}

std::optional<CliError> resolve(std::vector<std::string> words, const std::string& format,
                                images::PackOptions& options) {
  if (words.size() < 2) {
    return CliError{words.empty() ? "no source given" : "no image to write given",
                    "Write: teacup pack SOURCE IMAGE, for example 'teacup pack rootfs/ app.erofs'."};
  }
  options.output = words.back();
  words.pop_back();
  options.sources = std::move(words);
  for (const char* ending : {".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst"}) {
    if (!format.empty() || !options.output.ends_with(ending)) continue;
    return CliError{"'" + options.output + "' is an archive by its name, and pack makes images",
                    "Write archives with teacup export, or give --format for an image of this name."};
  }
  const auto known = format_of(format, options.output);
  if (!known)
    return CliError{"--format '" + format + "' is not known", "Give erofs (the default), squashfs or ext4."};
  options.format = *known;
  if (!options.compression.empty() && options.format != images::Format::kSquashfs) {
    return CliError{"--compression is for squashfs images", "Leave it out, or give --format squashfs."};
  }
  if (!options.label.empty() && options.format == images::Format::kSquashfs) {
    return CliError{"--label '" + options.label + "' cannot be kept: squashfs has no labels",
                    "Leave it out."};
  }
  if (options.label.size() > 16) {
    return CliError{"--label '" + options.label + "' is longer than 16 bytes", "Give a shorter one."};
  }
  if (const char* epoch = std::getenv("SOURCE_DATE_EPOCH"); epoch != nullptr && *epoch != '\0') {
    options.latest_time = parse_seconds(epoch);
    if (!options.latest_time) {
      return CliError{std::string("SOURCE_DATE_EPOCH '") + epoch + "' is not a number of seconds",
                      "Set it as 'date +%s' prints it, or unset it."};
    }
  }
  return std::nullopt;
}

}  // namespace

int pack_command(const Arguments& arguments) {
  images::PackOptions options;
  std::vector<std::string> words;
  std::string format;
  bool quiet = false, slim = false;
  CommandLine line("pack", "Makes an image of directories, archives and images.",
                   "teacup pack [OPTIONS] SOURCE... IMAGE", kFooter);
  line.arguments("SOURCE", words);
  line.option("-f,--format", format, "FORMAT",
              "erofs, squashfs or ext4; by default as IMAGE's name ends, else erofs", {.last_wins = true});
  line.option("--compression", options.compression, "NAME", "of squashfs: gzip, lz4, xz or zstd (default)",
              {.last_wins = true});
  line.flag("--slim", slim, "only what a run used, as --trace tells");
  line.list("--trace", options.used, "RUN",
            "what 'teacup run --trace-files=RUN' wrote; more than once: of several runs");
  line.flag("--root-owned", options.root_owned, "everything in the image belongs to 0:0");
  line.option("--label", options.label, "NAME", "the file system's name, at most 16 bytes",
              {.last_wins = true});
  line.flag("-q,--quiet", quiet, "show no progress; it is shown on terminals only");
  if (const auto status = line.parse(arguments)) return *status;
  options.progress = !quiet;
  if (slim != !options.used.empty()) {
    return fail(
        "pack",
        {"--slim and --trace go together",
         "Write: teacup run --trace-files=RUN IMAGE CMD; teacup pack --slim --trace RUN IMAGE slim.erofs"});
  }
  if (const auto error = resolve(std::move(words), format, options)) return fail("pack", *error);
  try {
    images::pack(options);
  } catch (const images::Error& error) {
    return fail("pack", {error.what()});
  }
  return 0;
}

}  // namespace teacup::cli
