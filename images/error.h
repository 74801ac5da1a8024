// How images/ reports failure: by throwing Error, whose text says what was wrong and what to do. It crosses
// every layer of the library unchanged and is caught once, by the command that called it.
#pragma once

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace teacup::images {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// "<what>: <strerror(errno)>".
[[noreturn]] inline void throw_errno(const std::string& what) {
  const int error = errno;
  throw Error(what + ": " + std::strerror(error));
}

}  // namespace teacup::images
