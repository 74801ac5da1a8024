// `teacup mount`: shows images, stacked, at a directory of the host's, through FUSE.
#include <cstdio>
#include <optional>

#include "cli/commands.h"
#include "cli/error.h"
#include "cli/parse.h"
#include "cli/run_values.h"
#include "host/mount/fuse_mount.h"
#include "images/error.h"

namespace teacup::cli {

int mount_command(const Arguments& arguments) {
  mount::MountOptions options;
  std::string memory;
  std::vector<std::string> words;
  CommandLine line(
      "mount",
      "Shows images of any format at a directory of the host's, without root, until they are unmounted.",
      "teacup mount [OPTIONS] IMAGE... DIR",
      "Several images are laid one over another, the last one on top, as 'teacup run --layer' does. Unmount "
      "with\n'fusermount3 -u DIR' ('umount DIR' as root). Exits with 0 when the images are mounted, with 125 "
      "if they cannot be.");
  line.arguments("IMAGE", words);
  line.flag("-w,--rw", options.writable, "let it be written to; changes go to memory and end with the mount");
  line.option("-m,--memory", memory, "SIZE", "limit the memory that changes take, as 512m or 2g",
              {.last_wins = true});
  line.flag("-f,--foreground", options.foreground, "stay until it is unmounted; INT and TERM unmount it");
  line.flag("--allow-other", options.allow_other,
            "let other users in, with the rights that the image gives them");
  if (const auto status = line.parse(arguments)) return *status;
  if (words.size() < 2) {
    return fail("mount", {words.empty() ? "no image given" : "no directory to mount at given",
                          "Name the image, then the directory: teacup mount IMAGE DIR."});
  }
  options.directory = words.back();
  words.pop_back();
  options.images = std::move(words);
  if (!memory.empty()) {
    const auto size = parse_memory(memory);
    if (const auto* error = std::get_if<CliError>(&size)) return fail("mount", *error);
    options.memory = std::get<std::uint64_t>(size);
  }
  try {
    return mount::run_mount(options);
  } catch (const images::Error& error) {
    return fail("mount", {error.what()});
  }
}

}  // namespace teacup::cli
