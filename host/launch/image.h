// Images, probed by content.
#pragma once

#include <cstdint>
#include <string>

#include "kernel/abi/boot.h"

namespace teacup::host {

struct Image {
  int fd = -1;
  std::uint64_t size = 0;
  abi::ImageKind kind = abi::ImageKind::kErofs;
};

// Throws LaunchError: what it is instead, and what to do.
Image open_image(const std::string& path);

}  // namespace teacup::host
