#include "cli/error.h"

#include <unistd.h>

#include <cstdio>

#include "cli/colour.h"

namespace teacup::cli {

int fail(std::string_view command, const CliError& error) {
  std::string text = paint(STDERR_FILENO, Colour::RED, "teacup");
  if (!command.empty()) {
    text += ' ';
    text += command;
  }
  text += ": " + error.what + '\n';
  if (!error.to_do.empty()) text += "  " + error.to_do + '\n';
  std::fputs(text.c_str(), stderr);
  return kExitTeacupFailed;
}

}  // namespace teacup::cli
