// What the fuzzers share. Each is a libFuzzer target when it is built with clang (scripts/fuzz), and a test
// that takes its seeds and what was found before (replay.cc) in the ordinary build.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <span>

#include "kernel/base/types.h"

extern "C" int LLVMFuzzerTestOneInput(const teacup::u8* data, size_t size);

namespace teacup::fuzz {

// The input as a file, the same one each time.
class InputFile {
 public:
  InputFile() : fd_(::memfd_create("input", MFD_CLOEXEC)) {
    if (fd_ < 0) std::abort();
  }
  int put(std::span<const u8> data) {
    if (::ftruncate(fd_, 0) != 0 || ::ftruncate(fd_, static_cast<off_t>(data.size())) != 0 ||
        ::pwrite(fd_, data.data(), data.size(), 0) != static_cast<ssize_t>(data.size()) ||
        ::lseek(fd_, 0, SEEK_SET) != 0) {
      std::abort();
    }
    return fd_;
  }

 private:
  int fd_;
};

}  // namespace teacup::fuzz
