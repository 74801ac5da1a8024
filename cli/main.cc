// The teacup command: finds the subcommand in a table and runs it.
#include <fcntl.h>

#include <cerrno>
#include <cstdio>
#include <exception>

#include "cli/colour.h"
#include "cli/commands.h"
#include "cli/error.h"

namespace teacup::cli {

namespace {

constexpr std::string_view kVersion = "0.1";

constexpr Command kCommands[] = {
    {"run", "[OPTIONS] IMAGE [--] CMD [ARG...]", "run a program from an image", run_command},
    {"pack", "[OPTIONS] SOURCE... IMAGE", "make an image of directories, archives and images", pack_command},
    {"ls", "[OPTIONS] IMAGE [PATH...]", "list files of an image", ls_command},
    {"cat", "IMAGE PATH...", "print files of an image", cat_command},
    {"stat", "[OPTIONS] IMAGE [PATH...]", "show the attributes of files of an image", stat_command},
    {"inspect", "[OPTIONS] IMAGE", "show what an image is", inspect_command},
    {"mount", "[OPTIONS] IMAGE... DIR", "show images at a directory of the host's", mount_command},
    {"diff", "[OPTIONS] [IMAGE...] UPPER", "list what runs with --upper have changed", diff_command},
    {"commit", "[OPTIONS] --upper UPPER [IMAGE...] OUT", "make an image, or a layer, of what they have left",
     commit_command},
    {"export", "[OPTIONS] [IMAGE...] OUT", "write a tree as a tar archive or a directory", export_command},
    {"rewrite", "[OPTIONS] FILE...|--image IMAGE", "show how a program's system calls are patched",
     rewrite_command},
    {"help", "[COMMAND]", "show this, or the help of COMMAND", help_command},
    {"version", "", "print teacup's version", version_command},
};

const Command* find_command(std::string_view name) {
  for (const Command& command : kCommands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

std::string overview() {
  std::string text =
      "Usage: teacup COMMAND [ARG...]\n\nRuns Linux programs out of packaged images, without root.\n\n";
  text += "Commands:\n";
  for (const Command& command : kCommands) {
    std::string line = "  " + std::string(command.name);
    line.resize(12, ' ');
    text += line + std::string(command.summary) + '\n';
  }
  return text + "\n'teacup COMMAND --help' tells more of each. Start with: teacup run IMAGE CMD\n";
}

int unknown_command(const std::string& name) {
  return fail("", {"there is no command '" + name + "'", "See 'teacup help' for those there are."});
}

}  // namespace

std::span<const Command> commands() {
  return kCommands;
}

int help_command(const Arguments& arguments) {
  if (arguments.empty() || arguments[0] == "help" || arguments[0] == "-h" || arguments[0] == "--help") {
    std::fputs(overview().c_str(), stdout);
    return 0;
  }
  const Command* command = find_command(arguments[0]);
  if (command == nullptr) return unknown_command(arguments[0]);
  if (command->run != version_command) return command->run({"--help"});
  std::printf("Usage: teacup %s\n\n%s\n", std::string(command->name).c_str(),
              std::string(command->summary).c_str());
  return 0;
}

int version_command(const Arguments&) {
  std::printf("teacup %s\n", std::string(kVersion).c_str());
  return 0;
}

// What was printed must have arrived: a full disk or a closed pipe is an error like any other.
int flushed(int status) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  return fail("", {"standard output cannot be written", "Free space where it goes, or send it elsewhere."});
}

// A standard descriptor that the caller closed would be the next file opened: the guest's standard output
// could be its own image. Something that can be neither read nor written takes its place; host/launch knows
// it by O_PATH.
void hold_standard_descriptors() {
  for (int fd = 0; fd < 3; fd++) {
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) open("/", O_PATH);
  }
}

int run_main(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    std::fputs(overview().c_str(), stderr);
    return kExitTeacupFailed;
  }
  std::string name = arguments[0];
  if (name == "-h" || name == "--help") name = "help";
  if (name == "-V" || name == "--version") name = "version";
  const Command* command = find_command(name);
  if (command == nullptr) return unknown_command(name);
  return flushed(command->run({arguments.begin() + 1, arguments.end()}));
}

}  // namespace teacup::cli

int main(int argc, char** argv) {
  try {
    teacup::cli::hold_standard_descriptors();
    return teacup::cli::run_main({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    return teacup::cli::fail("", {std::string("internal error: ") + error.what(), "Please report this."});
  }
}
