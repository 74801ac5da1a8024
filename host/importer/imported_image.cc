#include "host/importer/imported_image.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "host/importer/ext4_image.h"
#include "host/importer/response.h"
#include "host/importer/squash_image.h"

namespace teacup::importer {

namespace {

bool is_squashfs(int fd) {
  std::array<char, 4> magic{};
  return ::pread(fd, magic.data(), magic.size(), 0) == 4 && std::memcmp(magic.data(), "hsqs", 4) == 0;
}

}  // namespace

u64 file_size(int fd) {
  u64 low = 0;
  u64 high = u64{1} << 62;
  while (low < high) {
    const u64 middle = low + (high - low) / 2;
    char byte;
    if (::pread(fd, &byte, 1, static_cast<off_t>(middle)) == 1) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

bool ImportedImage::load_library(int fd, std::string& error) {
  return !is_squashfs(fd) || load_libsquashfs(error);
}

bool ImportedImage::wants_crew(int fd) {
  return is_squashfs(fd);
}

std::unique_ptr<ImportedImage> ImportedImage::open(int fd, std::string& error, Crew* crew) {
  if (is_squashfs(fd)) return SquashImage::open(fd, error, crew);
  return Ext4Image::open(fd, error);
}

s64 ImportedImage::serve(const abi::ImporterRequest& request, std::string_view name,
                         std::span<std::byte> response) {
  ResponseWriter out(response);
  if (!out.has_header_room()) return -ERANGE;
  switch (request.op) {
    case abi::ImporterOp::kInfo:
      return info(out);
    case abi::ImporterOp::kReadDirectory:
      return read_directory(request, out);
    case abi::ImporterOp::kLookup:
      return lookup(request, name, out);
    case abi::ImporterOp::kInode:
      return inode(request, out);
    case abi::ImporterOp::kExtents:
      return extents(request, out);
    case abi::ImporterOp::kRead:
      return read(request, out);
    case abi::ImporterOp::kReadLink:
      return read_link(request, out);
    case abi::ImporterOp::kXattrs:
      return xattrs(request, out);
  }
  return -EINVAL;
}

}  // namespace teacup::importer
