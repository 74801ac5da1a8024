// The table of teacup's subcommands. To add one: write cli/NAME_command.cc, declare its function here, add
// its row to kCommands in cli/main.cc and its name to cli/completion.bash.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace teacup::cli {

// What follows the subcommand's name on the command line.
using Arguments = std::vector<std::string>;

struct Command {
  std::string_view name;
  std::string_view usage;    // after "teacup NAME "
  std::string_view summary;  // one line
  int (*run)(const Arguments&);
};

// The rows, in the order help lists them.
std::span<const Command> commands();

int run_command(const Arguments& arguments);
int pack_command(const Arguments& arguments);
int mount_command(const Arguments& arguments);
int ls_command(const Arguments& arguments);
int cat_command(const Arguments& arguments);
int stat_command(const Arguments& arguments);
int inspect_command(const Arguments& arguments);
int diff_command(const Arguments& arguments);
int commit_command(const Arguments& arguments);
int export_command(const Arguments& arguments);
int rewrite_command(const Arguments& arguments);
int help_command(const Arguments& arguments);
int version_command(const Arguments& arguments);

}  // namespace teacup::cli
