// The regular files of an image, for tools that look at what is in one: EROFS (uncompressed), ext2/3/4, or a
// host directory. Not for running from: the kernel reads images itself.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernel/base/types.h"

namespace teacup::images {

struct ImageFile {
  std::string path;  // from the root, one of its names if it has several
  u64 number = 0;    // inode
  u64 size = 0;
};

class ImageReader {
 public:
  // Probed by content. Error: what it is instead, or what cannot be read of it.
  static std::unique_ptr<ImageReader> open(const std::string& path);
  virtual ~ImageReader() = default;

  // Every regular file once, in byte order of paths. Error when the image is damaged.
  virtual std::vector<ImageFile> files() = 0;
  // A file's first `size` bytes, or all of a smaller one. Error when they cannot be read.
  virtual std::vector<std::byte> read(const ImageFile& file, u64 size) = 0;
};

// What open() chooses from.
std::unique_ptr<ImageReader> open_erofs(const std::string& path);
std::unique_ptr<ImageReader> open_ext4(const std::string& path);
std::unique_ptr<ImageReader> open_directory(const std::string& path);

}  // namespace teacup::images
