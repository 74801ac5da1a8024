// Any image as a tree to look at, for commands that run nothing: EROFS, squashfs, ext2/3/4, a host directory,
// and tar archives and OCI layouts (converted and kept, as `teacup run` does). Read by fs/, as in a machine
// (host/hosted).
//
// Nodes are known by a number, the same for all names of a file. All functions throw Error: what is damaged
// or cannot be read, with the image's name.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/base/types.h"

namespace teacup::images {

class OpenedImage;

struct ImageFile {
  std::string path;  // from the root, one of its names if it has several
  u64 number = 0;    // node
  u64 size = 0;
};

struct ImageStat {
  u64 number = 0;
  u32 mode = 0;  // type and permissions, as st_mode
  u32 uid = 0;
  u32 gid = 0;
  u32 links = 1;
  u32 device_major = 0;
  u32 device_minor = 0;
  u64 size = 0;
  s64 mtime = 0;
  u32 mtime_nsec = 0;
};

struct ImageEntry {
  std::string name;
  u64 number = 0;
};

// Content that is data. What lies between pieces is hole.
struct ImagePiece {
  u64 offset = 0;
  u64 length = 0;
  std::optional<u64> image_offset;  // where it lies as it is in the image file; nothing: it has to be decoded
};

class ImageReader {
 public:
  // `image` as on a command line: a path, perhaps with @sha256:DIGEST behind it.
  static std::unique_ptr<ImageReader> open(const std::string& image);
  ~ImageReader();
  ImageReader(const ImageReader&) = delete;
  ImageReader& operator=(const ImageReader&) = delete;

  // What is read: the image itself, or what it was converted into.
  const std::string& file() const;

  u64 root();
  ImageStat stat(u64 node);
  std::vector<ImageEntry> list(u64 directory);  // in byte order of names
  std::string link_target(u64 symlink);
  std::map<std::string, std::string> xattrs(u64 node);
  std::vector<ImagePiece> pieces(u64 file);
  // The range must lie inside the size. Holes are zeros.
  void read_at(u64 file, u64 offset, std::span<std::byte> bytes);

  // The node at `path`, relative to the root however it begins. Links in the middle are followed, inside the
  // image; one at the end with `follow`. Error says why not: there is no such name, a component is no
  // directory, links go in circles.
  u64 find(std::string_view path, bool follow);

  // Every regular file once, in byte order of paths.
  std::vector<ImageFile> files();
  // A file's first `size` bytes, or all of a smaller one.
  std::vector<std::byte> read(const ImageFile& file, u64 size);

 private:
  ImageReader(std::string name, std::unique_ptr<OpenedImage> image);
  [[noreturn]] void fail(int error, const std::string& what) const;

  std::string name_;
  std::unique_ptr<OpenedImage> image_;
};

}  // namespace teacup::images
