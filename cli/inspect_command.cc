// `teacup inspect`: what an image is, and how it wants to be run.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/error.h"
#include "cli/image_text.h"
#include "cli/parse.h"
#include "images/error.h"
#include "images/file.h"
#include "images/inspect.h"
#include "images/probe.h"
#include "images/sha256.h"

namespace teacup::cli {

namespace {

using Json = nlohmann::json;

// Only what the image says; names as in `teacup inspect --json`.
Json as_json(const std::string& image, const images::ImageFacts& facts, const std::string& digest) {
  Json json = {{"image", image}, {"format", facts.format}, {"compression", facts.compression}};
  const auto add = [&json](const char* name, const auto& value, bool there) {
    if (there) json[name] = value;
  };
  add("size", facts.size, facts.size != 0);
  add("digest", "sha256:" + digest, !digest.empty());
  add("converted", facts.converted, !facts.converted.empty());
  add("block_size", facts.block_size, facts.block_size != 0);
  add("inodes", facts.inodes, facts.inodes != 0);
  add("time", facts.time, facts.time != 0);
  add("label", facts.label, !facts.label.empty());
  add("uuid", facts.uuid, !facts.uuid.empty());
  add("features", facts.features, !facts.features.empty());
  const images::RunConfig& config = facts.config;
  add("Env", config.environment, !config.environment.empty());
  add("Entrypoint", config.entrypoint, !config.entrypoint.empty());
  add("Cmd", config.command, !config.command.empty());
  add("WorkingDir", config.working_directory, !config.working_directory.empty());
  add("User", config.user, !config.user.empty());
  return json;
}

void print(const Json& json) {
  static constexpr const char* kRows[][2] = {{"image", "Image"},
                                             {"format", "Format"},
                                             {"size", "Size"},
                                             {"digest", "Digest"},
                                             {"label", "Label"},
                                             {"uuid", "UUID"},
                                             {"block_size", "Blocks of"},
                                             {"compression", "Compression"},
                                             {"inodes", "Inodes"},
                                             {"features", "Features"},
                                             {"time", "Time"},
                                             {"converted", "Converted"},
                                             {"Env", "Env"},
                                             {"Entrypoint", "Entrypoint"},
                                             {"Cmd", "Cmd"},
                                             {"WorkingDir", "WorkingDir"},
                                             {"User", "User"}};
  for (const auto& [key, title] : kRows) {
    if (!json.contains(key)) continue;
    const Json& value = json[key];
    std::string text = value.is_string() ? value.get<std::string>()
                                         : value.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (std::string_view(key) == "time") text = time_text(value.get<s64>(), 0, true);
    std::printf("%-12s %s\n", title, text.c_str());
  }
}

}  // namespace

int inspect_command(const Arguments& arguments) {
  std::string image;
  bool want_json = false, want_digest = false;
  CommandLine line("inspect", "Shows what an image is: its format, size and age, and how it wants to be run.",
                   "teacup inspect [OPTIONS] IMAGE", "Exits with 125 if the image cannot be used.");
  line.argument("IMAGE", image);
  line.flag("--digest", want_digest, "the sha256 of the file, as IMAGE@sha256:DIGEST wants it");
  line.flag("--json", want_json, "print JSON instead of text");
  if (const auto status = line.parse(arguments)) return *status;
  try {
    const images::ImageFacts facts = images::inspect(image);
    std::string digest;
    if (want_digest && facts.size != 0) {
      const std::string path = images::split_pin(image).path;
      digest = images::sha256_of(images::File::open_read(path), path);
    }
    const Json json = as_json(image, facts, digest);
    if (want_json) {
      std::printf("%s\n", json.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
    } else {
      print(json);
    }
    return 0;
  } catch (const images::Error& error) {
    return fail("inspect", {error.what()});
  }
}

}  // namespace teacup::cli
