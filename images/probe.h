// What a host path is, told by its content, for those who choose what to do with it.
#pragma once

#include <string>

namespace teacup::images {

enum class Kind {
  kErofs,  // packaged file systems, that a machine reads as they are
  kExt,
  kSquashfs,
  kDirectory,
  kOciLayout,  // a directory that is one
  kArchive,    // tar, plain or compressed; perhaps an OCI layout in one
  kOther,      // all else, and what cannot be read
};

Kind probe(const std::string& path);
// Error: why what is kOther cannot be used.
[[noreturn]] void refuse_other(const std::string& path);

// Splits IMAGE@sha256:HEX; `digest` is empty where there is none. A file of the whole name goes before.
struct PinnedName {
  std::string path;
  std::string digest;
};
PinnedName split_pin(const std::string& image);

}  // namespace teacup::images
