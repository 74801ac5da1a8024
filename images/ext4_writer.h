// Writes a Tree as an ext4 image through libext2fs: 4 KiB blocks, no journal (the image is read-only), the
// same bytes for the same tree.
#pragma once

#include <string>

#include "images/erofs_writer.h"
#include "images/tree.h"

namespace teacup::images {

void write_ext4(const Tree& tree, const std::string& path, const WriteOptions& options);

}  // namespace teacup::images
