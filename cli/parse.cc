#include "cli/parse.h"

#include <cstdio>

#include "cli/error.h"

namespace teacup::cli {

std::optional<int> parse(CLI::App& app, std::string_view command, const Arguments& arguments) {
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return 0;
  } catch (const CLI::ParseError& error) {
    return fail(command, {error.what(), "See 'teacup " + std::string(command) + " --help'."});
  }
}

}  // namespace teacup::cli
