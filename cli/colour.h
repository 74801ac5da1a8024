// Colour in what the command prints: only on terminals, and never when the user sets NO_COLOR (no-color.org).
#pragma once

#include <string>
#include <string_view>

namespace teacup::cli {

enum class Colour { RED, GREEN, YELLOW, BLUE, CYAN, BOLD };

// True if text written to `fd` may carry colour: a terminal that is not "dumb", with NO_COLOR unset or empty.
bool takes_colour(int fd);

// `text` in `colour` if `fd` takes colour, else `text` as it is.
std::string paint(int fd, Colour colour, std::string_view text);

}  // namespace teacup::cli
