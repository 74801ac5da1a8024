// Writes a Tree as an EROFS image: uncompressed, 4 KiB blocks, the same bytes for the same tree.
#pragma once

#include <array>
#include <functional>
#include <string>

#include "images/tree.h"

namespace teacup::images {

struct WriteOptions {
  // Reported as done/total bytes of file data, now and then. May be empty.
  std::function<void(u64 done, u64 total)> progress;
  // Identity of the file system. The default is fixed, since same input must give same bytes.
  std::array<u8, 16> uuid = {0x7e, 0xac, 0x0f, 0xf0, 0x11, 0x1c, 0x4e, 0x61,
                             0x9a, 0x5b, 0x1d, 0x2f, 0x33, 0x44, 0x55, 0x66};
  // Time of the file system itself, in seconds since the epoch.
  s64 time = 0;
  std::string label;  // at most 16 bytes
};

// The file appears at `path` when it is complete. Error: on host errors, and on what EROFS cannot say
// (extended attributes of unknown namespaces or more than 64 KiB of them, names over 255 bytes).
void write_erofs(const Tree& tree, const std::string& path, const WriteOptions& options);

}  // namespace teacup::images
