#include "images/probe.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>

#include "images/error.h"
#include "images/file.h"
#include "images/sha256.h"

namespace teacup::images {

namespace {

struct Magic {
  Kind kind;
  size_t offset;
  std::string_view bytes;
};

constexpr Magic kMagics[] = {{Kind::kErofs, 1024, "\xe2\xe1\xf5\xe0"},
                             {Kind::kExt, 1024 + 56, "\x53\xef"},
                             {Kind::kSquashfs, 0, "hsqs"},
                             {Kind::kArchive, 257, "ustar"},
                             {Kind::kArchive, 0, "\x1f\x8b"},
                             {Kind::kArchive, 0,
                              "\xfd"
                              "7zXZ"},
                             {Kind::kArchive, 0, "\x28\xb5\x2f\xfd"},
                             {Kind::kArchive, 0, "BZh"}};

bool has(std::string_view head, const Magic& magic) {
  return head.size() >= magic.offset && head.substr(magic.offset).starts_with(magic.bytes);
}

}  // namespace

Kind probe(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return Kind::kOther;
  if (S_ISDIR(status.st_mode)) {
    const bool oci = ::stat((path + "/oci-layout").c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
                     ::stat((path + "/index.json").c_str(), &status) == 0 && S_ISREG(status.st_mode);
    return oci ? Kind::kOciLayout : Kind::kDirectory;
  }
  if (!S_ISREG(status.st_mode)) return Kind::kOther;
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string head(2048, '\0');
  const ssize_t count = file ? ::pread(file.fd(), head.data(), head.size(), 0) : 0;
  head.resize(count > 0 ? static_cast<size_t>(count) : 0);
  for (const Magic& magic : kMagics) {
    if (has(head, magic)) return magic.kind;
  }
  return Kind::kOther;
}

void refuse_other(const std::string& path) {
  if (::access(path.c_str(), R_OK) != 0) throw_errno("cannot open " + path);
  throw Error(path +
              " is no image: neither EROFS, squashfs, ext2/3/4, a tar archive nor an OCI layout; make one "
              "with `teacup pack`");
}

PinnedName split_pin(const std::string& image) {
  constexpr std::string_view kMark = "@sha256:";
  struct stat status;
  const size_t at = image.rfind(kMark);
  if (at == image.npos || !is_sha256(std::string_view(image).substr(at + kMark.size())) ||
      ::stat(image.c_str(), &status) == 0) {
    return {image, ""};
  }
  return {image.substr(0, at), image.substr(at + kMark.size())};
}

}  // namespace teacup::images
