// What an image is, told by its head and, of an OCI layout, by its configuration.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "images/oci.h"

namespace teacup::images {

struct ImageFacts {
  std::string format;     // "erofs", "squashfs", "ext4", "oci", "tar", "directory"
  std::string converted;  // the EROFS file that a tar archive or OCI layout is run from
  u64 size = 0;           // of the file; 0 of a directory
  u64 block_size = 0;     // of the file system, as are those below; 0 or empty where it does not say
  u64 inodes = 0;
  s64 time = 0;  // made, or of its newest file; seconds since 1970
  std::string label;
  std::string uuid;
  std::string compression;            // "lz4", "zstd", …; "none"
  std::vector<std::string> features;  // of EROFS
  RunConfig config;
};

// `image` as on a command line, with or without its digest. Archives and layouts are converted if they have
// not been. Error: there is none, or it is of no format that is known.
ImageFacts inspect(const std::string& image);

}  // namespace teacup::images
