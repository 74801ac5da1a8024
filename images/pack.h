// Packing: from sources of any kind to one image. What `teacup pack` does, without its command line.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernel/base/types.h"

namespace teacup::images {

enum class Format { kErofs, kSquashfs, kExt4 };

struct PackOptions {
  // Images (EROFS, squashfs, ext2/3/4, OCI layouts), host directories, tar archives (compressed or not, "-"
  // for standard input) and Debian packages, told apart by content; a later one is laid over those before it,
  // an image as `teacup run --layer` lays it. Images may have @sha256:DIGEST behind them.
  std::vector<std::string> sources;
  std::string output;
  Format format = Format::kErofs;
  std::string compression;  // of squashfs; empty: kDefaultCompression
  std::vector<std::string>
      used;                 // lists of `teacup run --trace-files`: only what is in one of them; empty: all
  bool root_owned = false;  // everything belongs to 0:0
  std::optional<s64> latest_time;  // no file's time is later than this, and it is the image's own
  std::string label;
  bool progress = true;  // shown on a terminal
};

// Same sources, same bytes. Error says what was wrong and what to do.
void pack(const PackOptions& options);

}  // namespace teacup::images
