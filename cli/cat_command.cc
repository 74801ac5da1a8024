// `teacup cat`: writes files of an image to standard output.
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>

#include "cli/commands.h"
#include "cli/error.h"
#include "cli/parse.h"
#include "images/error.h"
#include "images/image_reader.h"

namespace teacup::cli {

namespace {

// False: standard output takes no more; run_main() says so.
bool write_file(images::ImageReader& reader, const std::string& path) {
  const u64 number = reader.find(path, true);
  const images::ImageStat status = reader.stat(number);
  if (S_ISDIR(status.mode)) throw images::Error("'" + path + "' is a directory");
  if (!S_ISREG(status.mode))
    throw images::Error("'" + path + "' is no regular file: there is nothing in the image to show");
  std::vector<std::byte> buffer(std::min<u64>(status.size, 1 * MiB));
  for (u64 at = 0; at < status.size; at += buffer.size()) {
    const std::span<std::byte> part(buffer.data(), std::min<u64>(buffer.size(), status.size - at));
    reader.read_at(number, at, part);
    if (std::fwrite(part.data(), 1, part.size(), stdout) != part.size()) return false;
  }
  return true;
}

}  // namespace

int cat_command(const Arguments& arguments) {
  std::string image;
  std::vector<std::string> paths;
  CommandLine line("cat", "Writes files of an image to standard output.", "teacup cat IMAGE PATH...",
                   "Symbolic links are followed inside the image. Exits with 1 "
                   "if a path is not in the image or cannot be\nread, 125 "
                   "if the image cannot be used.");
  line.argument("IMAGE", image);
  line.arguments("PATH", paths, {.required = true});
  if (const auto status = line.parse(arguments)) return *status;
  try {
    const auto reader = images::ImageReader::open(image);
    int status = 0;
    for (const std::string& path : paths) {
      try {
        if (!write_file(*reader, path)) break;
      } catch (const images::Error& error) {
        fail("cat", {error.what()});
        status = 1;
      }
    }
    return status;
  } catch (const images::Error& error) {
    return fail("cat", {error.what()});
  }
}

}  // namespace teacup::cli
