// Fills a tree from an image.
#pragma once

#include <memory>
#include <string>

#include "images/image_reader.h"
#include "images/tree.h"

namespace teacup::images {

// Lays the image over what is in the tree, as `teacup run --layer` would: a name replaces a name, directories
// are merged, a whiteout (a character device 0:0) takes its name away, an opaque directory all below it.
// Where the tree is empty, whiteouts and opaque directories stay what they are. Content that lies in the
// image as it is is read from there when it is needed; what has to be decoded goes to `spool`, large zeros as
// holes.
void add_image(Tree& tree, ImageReader& reader, const std::shared_ptr<Spool>& spool);

}  // namespace teacup::images
