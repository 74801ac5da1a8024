#include "cli/colour.h"

#include <unistd.h>

#include <cstdlib>

namespace teacup::cli {

namespace {

const char* escape_of(Colour colour) {
  switch (colour) {
    case Colour::RED:
      return "\033[31m";
    case Colour::GREEN:
      return "\033[32m";
    case Colour::YELLOW:
      return "\033[33m";
    case Colour::BLUE:
      return "\033[34m";
    case Colour::CYAN:
      return "\033[36m";
    case Colour::BOLD:
      return "\033[1m";
  }
  return "";
}

}  // namespace

bool takes_colour(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  if (no_color != nullptr && *no_color != '\0') return false;
  const char* term = std::getenv("TERM");
  if (term == nullptr || std::string_view(term) == "dumb") return false;
  return isatty(fd) == 1;
}

std::string paint(int fd, Colour colour, std::string_view text) {
  if (!takes_colour(fd)) return std::string(text);
  return std::string(escape_of(colour)) + std::string(text) + "\033[0m";
}

}  // namespace teacup::cli
