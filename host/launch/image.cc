#include "host/launch/image.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "host/launch/error.h"

namespace teacup::host {

namespace {

struct Magic {
  std::size_t offset;
  std::string bytes;
};

bool has(const std::string& head, const Magic& magic) {
  return head.size() >= magic.offset + magic.bytes.size() &&
         head.compare(magic.offset, magic.bytes.size(), magic.bytes) == 0;
}

const Magic kErofsMagic{1024, "\xe2\xe1\xf5\xe0"};
const Magic kExtMagic{1024 + 56, "\x53\xef"};
const Magic kSquashMagic{0, "hsqs"};

// Formats that are recognised in order to say what to do with them.
std::string advice(const std::string& head) {
  if (has(head, {257, "ustar"}) || has(head, {0, "\x1f\x8b"}) ||
      has(head, {0,
                 "\xfd"
                 "7zXZ"}) ||
      has(head, {0, "\x28\xb5\x2f\xfd"})) {
    return "it looks like an archive; make an image of it first: teacup pack ARCHIVE image.erofs";
  }
  if (has(head, {0,
                 "\x7f"
                 "ELF"}))
    return "it is a program, not an image; the image comes first: teacup run IMAGE PROGRAM";
  return "teacup runs EROFS, squashfs and ext2/3/4 images and host directories";
}

}  // namespace

Image open_image(const std::string& path) {
  Image image;
  image.fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  // Never one of the standard descriptors, should the caller have closed those.
  if (image.fd >= 0 && image.fd < kFirstImageFd) image.fd = fcntl(image.fd, F_DUPFD_CLOEXEC, kFirstImageFd);
  if (image.fd < 0) throw LaunchError("cannot open image " + path + ": " + errno_text(errno));
  struct stat status {};
  fstat(image.fd, &status);
  if (S_ISDIR(status.st_mode)) {
    image.kind = abi::ImageKind::kHostDirectory;
    return image;
  }
  if (!S_ISREG(status.st_mode))
    throw LaunchError(path + " is neither a file nor a directory: copy the image into a file");
  image.size = static_cast<std::uint64_t>(status.st_size);
  std::string head(4096, '\0');
  ssize_t count = pread(image.fd, head.data(), head.size(), 0);
  if (count < 0) throw LaunchError("cannot read image " + path + ": " + errno_text(errno));
  head.resize(static_cast<std::size_t>(count));
  if (has(head, kErofsMagic)) {
    image.kind = abi::ImageKind::kErofs;
  } else if (has(head, kExtMagic) || has(head, kSquashMagic)) {
    image.kind = abi::ImageKind::kImporter;
  } else {
    throw LaunchError(path + " is not an image that teacup knows: " + advice(head));
  }
  return image;
}

}  // namespace teacup::host
