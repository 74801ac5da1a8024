// A tree out of a host directory.
#pragma once

#include <string>

#include "images/tree.h"

namespace teacup::images {

struct DirectoryOptions {
  bool root_owned = false;  // everything belongs to 0:0, whoever owns it on the host
};

// Adds everything below `path`: hard links, holes, devices and extended attributes kept, other file systems
// mounted below it left out (their mount points are empty directories). File data is read when the tree is
// written: a file that shrinks before that is an Error then.
void add_directory(Tree& tree, const std::string& path, const DirectoryOptions& options);

}  // namespace teacup::images
