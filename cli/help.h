// How teacup lays out the help of a command that CLI11 parses.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace teacup::cli {

// One line an option: names, value, description; aligned. Headed by "Usage: " and the command's own usage
// line.
class HelpFormatter : public CLI::FormatterBase {
 public:
  // `usage` is the line after "Usage: "; `footer` closes the text, and may be empty.
  HelpFormatter(std::string usage, std::string footer)
      : usage_(std::move(usage)), footer_(std::move(footer)) {}
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;

 private:
  std::string usage_;
  std::string footer_;
};

}  // namespace teacup::cli
