// The command lines of all commands but `run`: CLI11 behind the few things they ask of it, since every file
// that includes that takes seconds to compile.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.h"

namespace teacup::cli {

struct OptionRule {
  bool required = false;
  bool last_wins = false;  // when it is given more than once, which is else an error
};

// What is declared is written by parse(), so it must outlive that.
//
//   CommandLine line("cat", "Writes files of an image.", "teacup cat IMAGE PATH...", "Exits with 1 if …");
//   line.argument("IMAGE", image);
//   if (const auto status = line.parse(arguments)) return *status;
class CommandLine {
 public:
  // `usage` is what stands behind "Usage: " in the help; `footer` closes it.
  CommandLine(std::string_view command, const std::string& summary, const std::string& usage,
              const std::string& footer);
  ~CommandLine();

  // A word that must be there; as many words as there are.
  void argument(const std::string& name, std::string& value);
  void arguments(const std::string& name, std::vector<std::string>& values, OptionRule rule = {});

  // `names` as "-q,--quiet". A list's option takes one value each time it is given.
  void flag(const std::string& names, bool& value, const std::string& help);
  void option(const std::string& names, std::string& value, const std::string& value_name,
              const std::string& help, OptionRule rule = {});
  void list(const std::string& names, std::vector<std::string>& values, const std::string& value_name,
            const std::string& help);

  // Nothing: go on. Else the exit status: help was printed, or why `arguments` cannot be understood.
  std::optional<int> parse(const Arguments& arguments);

 private:
  struct App;  // CLI11's

  std::string command_;
  std::unique_ptr<App> app_;
};

}  // namespace teacup::cli
