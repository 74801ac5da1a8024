// `teacup pack`: makes an image of directories and archives.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>

#include "cli/commands.h"
#include "cli/error.h"
#include "cli/help.h"
#include "images/error.h"
#include "images/pack.h"

namespace teacup::cli {

namespace {

const char* const kFooter =
    "SOURCE is a directory, a tar archive (plain, gz, xz or zstd; '-' for standard input) or a Debian "
    "package; a "
    "later one is\n"
    "laid over those before it. The same sources give the same bytes. Owners, devices and hard links are "
    "recorded "
    "without\n"
    "root. No file's time is later than SOURCE_DATE_EPOCH, if that is set.";

// Whole seconds, as SOURCE_DATE_EPOCH has them (reproducible-builds.org).
std::optional<s64> parse_seconds(const std::string& text) {
  char* end = nullptr;
  errno = 0;
  const long long value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || errno != 0 || value < 0) return std::nullopt;
  return value;
}

bool has_suffix(const std::string& name, std::string_view suffix) {
  return name.ends_with(suffix);
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
  if (format == "ext4" || (format.empty() && has_suffix(options.output, ".ext4"))) {
    options.format = images::Format::kExt4;
  } else if (!format.empty() && format != "erofs") {
    return CliError{"--format '" + format + "' is not known", "Give erofs (the default) or ext4."};
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
  bool quiet = false;
  CLI::App app("Makes an image of directories and archives.");
  app.formatter(std::make_shared<HelpFormatter>("teacup pack [OPTIONS] SOURCE... IMAGE", kFooter));
  app.add_option("SOURCE", words);
  app.add_option("-f,--format", format, "erofs (default) or ext4; by IMAGE's name if that ends in .ext4")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
      ->option_text("FORMAT");
  app.add_flag("--root-owned", options.root_owned, "everything in the image belongs to 0:0");
  app.add_option("--label", options.label, "the file system's name, at most 16 bytes")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
      ->option_text("NAME");
  app.add_flag("-q,--quiet", quiet, "show no progress; it is shown on terminals only");
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return 0;
  } catch (const CLI::ParseError& error) {
    return fail("pack", {error.what(), "See 'teacup pack --help'."});
  }
  options.progress = !quiet;
  if (const auto error = resolve(std::move(words), format, options)) return fail("pack", *error);
  try {
    images::pack(options);
  } catch (const images::Error& error) {
    return fail("pack", {error.what()});
  }
  return 0;
}

}  // namespace teacup::cli
