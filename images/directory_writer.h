// Writes a Tree as files of a host directory: to run its programs there, or to compare with.
#pragma once

#include <string>

#include "images/tree.h"

namespace teacup::images {

struct DirectoryWriteOptions {
  bool owners = true;  // owners, devices and trusted attributes, which need root; otherwise left out
};

// `path` must not exist, or be an empty directory.
void write_directory(const Tree& tree, const std::string& path, const DirectoryWriteOptions& options);

}  // namespace teacup::images
