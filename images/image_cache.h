// Images that have to be converted before a machine can run them (tar archives, OCI layouts), kept converted.
// Essay in image_cache.cc.
#pragma once

#include <string>

#include "images/oci.h"

namespace teacup::images {

struct PreparedImage {
  std::string path;  // of what a machine reads: the image itself, or the EROFS file made of it
  RunConfig config;  // of an OCI image
};

// What IMAGE on a command line stands for. `digest` (hex, may be empty) is what it must have: the sha256 of a
// file, the manifest's of an OCI layout. Conversion shows its progress on a terminal. Error says what was
// wrong and what to do.
PreparedImage prepare_image(const std::string& image, const std::string& digest);

// The sha256 of an image file, in hex, remembered as those of archives are. Error for a directory.
std::string file_digest(const std::string& path);

// The same for an image that is laid over others: an archive's whiteouts (".wh.NAME", ".wh..wh..opq") become
// what the kernel knows them by, a character device 0:0 and the attribute trusted.overlay.opaque.
std::string prepare_layer(const std::string& image, const std::string& digest);

}  // namespace teacup::images
