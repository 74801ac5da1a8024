// Writes a Tree as a squashfs 4.0 image through libsquashfs: blocks of 128 KiB, an export table, the same
// bytes for the same tree and the same version of the library.
#pragma once

#include <string>

#include "images/erofs_writer.h"
#include "images/tree.h"

namespace teacup::images {

inline constexpr const char* kDefaultCompression = "zstd";

// `compression`: gzip, lz4, xz or zstd. Times lose their nanoseconds and end in 2106, labels and UUIDs are
// lost: squashfs has none. Error: on host errors, on what the format or this libsquashfs does not have.
void write_squashfs(const Tree& tree, const std::string& path, const WriteOptions& options,
                    const std::string& compression = kDefaultCompression);

}  // namespace teacup::images
