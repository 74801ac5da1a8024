// The arena as the broker makes it: the memfd, its mapping, and what is put into it before the template
// starts.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernel/abi/boot.h"
#include "kernel/base/arena_header.h"

namespace teacup::host {

class Arena {
 public:
  // Throws LaunchError. Maps at kArenaBase, smaller when the host's limits (RLIMIT_AS, RLIMIT_FSIZE) want it.
  static Arena create();
  int fd() const { return fd_; }
  std::uint64_t size() const { return size_; }

  // Room for a T (or for bytes), zeroed, aligned to 64; before the template starts only. Returns the arena
  // offset.
  std::uint64_t reserve(std::uint64_t bytes);
  template <typename T>
  T& reserve_object(std::uint64_t& offset) {
    offset = reserve(sizeof(T));
    return arena_at<T>(offset);
  }
  abi::BootString put(const std::string& text);
  abi::BootStrings put(const std::vector<std::string>& texts);
  std::uint64_t brk() const { return brk_; }

 private:
  int fd_ = -1;
  std::uint64_t size_ = 0;
  std::uint64_t brk_ = kArenaHeaderSize;
};

}  // namespace teacup::host
