// Writes a Tree as a tar archive: pax (POSIX.1-2001), the same bytes for the same tree.
#pragma once

#include <string>

#include "images/tree.h"

namespace teacup::images {

// The file appears at `path` when it is complete; "-" is standard output. Sparse files are written whole.
// Error: on host errors, and for sockets no entry.
void write_tar(const Tree& tree, const std::string& path);

}  // namespace teacup::images
