#include "images/probe.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>

#include "images/file.h"
#include "images/sha256.h"

namespace teacup::images {

namespace {

struct Magic {
  size_t offset;
  std::string_view bytes;
};

constexpr Magic kFileSystems[] = {{1024, "\xe2\xe1\xf5\xe0"}, {1024 + 56, "\x53\xef"}, {0, "hsqs"}};
constexpr Magic kArchives[] = {{257, "ustar"},
                               {0, "\x1f\x8b"},
                               {0,
                                "\xfd"
                                "7zXZ"},
                               {0, "\x28\xb5\x2f\xfd"},
                               {0, "BZh"}};

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
  for (const Magic& magic : kFileSystems) {
    if (has(head, magic)) return Kind::kFileSystem;
  }
  for (const Magic& magic : kArchives) {
    if (has(head, magic)) return Kind::kArchive;
  }
  return Kind::kOther;
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
