#include "cli/help.h"

#include <algorithm>

namespace teacup::cli {

namespace {

// "-e, --env K=V"; long names line up under each other when there is no short one.
std::string option_column(const CLI::Option& option) {
  std::string column = "  ";
  for (const std::string& name : option.get_snames()) column += "-" + name + ", ";
  if (option.get_snames().empty()) column += "    ";
  for (const std::string& name : option.get_lnames()) column += "--" + name;
  const std::string& value = option.get_option_text();
  if (!value.empty() && value[0] != '[') column += ' ';
  return column + value;
}

}  // namespace

std::string HelpFormatter::make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const {
  std::string text = "Usage: " + usage_ + "\n\n" + app->get_description() + "\n\nOptions:\n";
  // Positional arguments stand in the usage line.
  const auto options = app->get_options([](const CLI::Option* option) { return !option->get_positional(); });
  size_t width = 0;
  for (const CLI::Option* option : options) width = std::max(width, option_column(*option).size());
  for (const CLI::Option* option : options) {
    std::string column = option_column(*option);
    column.resize(width + 2, ' ');
    text += column + option->get_description() + '\n';
  }
  return footer_.empty() ? text : text + '\n' + footer_ + '\n';
}

}  // namespace teacup::cli
