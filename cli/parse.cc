#include "cli/parse.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/error.h"
#include "cli/help.h"

namespace teacup::cli {

struct CommandLine::App : CLI::App {
  using CLI::App::App;
};

CommandLine::CommandLine(std::string_view command, const std::string& summary, const std::string& usage,
                         const std::string& footer)
    : command_(command), app_(std::make_unique<App>(summary)) {
  app_->formatter(std::make_shared<HelpFormatter>(usage, footer));
}

CommandLine::~CommandLine() = default;

void CommandLine::argument(const std::string& name, std::string& value) {
  app_->add_option(name, value)->required();
}

void CommandLine::arguments(const std::string& name, std::vector<std::string>& values, OptionRule rule) {
  app_->add_option(name, values)->required(rule.required);
}

void CommandLine::flag(const std::string& names, bool& value, const std::string& help) {
  app_->add_flag(names, value, help);
}

void CommandLine::option(const std::string& names, std::string& value, const std::string& value_name,
                         const std::string& help, OptionRule rule) {
  CLI::Option* option = app_->add_option(names, value, help);
  option->required(rule.required)->option_text(value_name);
  if (rule.last_wins) option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

void CommandLine::list(const std::string& names, std::vector<std::string>& values,
                       const std::string& value_name, const std::string& help) {
  app_->add_option(names, values, help)->option_text(value_name)->allow_extra_args(false);
}

std::optional<int> CommandLine::parse(const Arguments& arguments) {
  try {
    // CLI11 takes the words last one first.
    app_->parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    std::fputs(app_->help().c_str(), stdout);
    return 0;
  } catch (const CLI::ParseError& error) {
    return fail(command_, {error.what(), "See 'teacup " + command_ + " --help'."});
  }
}

}  // namespace teacup::cli
