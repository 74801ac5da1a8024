// A start-up failure: what was wrong, and what to do about it.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>

namespace teacup::host {

class LaunchError : public std::runtime_error {
 public:
  explicit LaunchError(const std::string& text) : std::runtime_error(text) {}
};

inline std::string errno_text(int error) {
  return std::strerror(error);
}

}  // namespace teacup::host
