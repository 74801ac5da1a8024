#include "images/image_reader.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>

#include "images/error.h"
#include "images/file.h"
#include "kernel/abi/erofs.h"

namespace teacup::images {

namespace {

class DirectoryReader final : public ImageReader {
 public:
  explicit DirectoryReader(std::string path) : path_(std::move(path)) {}

  std::vector<ImageFile> files() override {
    namespace fs = std::filesystem;
    std::vector<ImageFile> found;
    std::set<std::pair<dev_t, ino_t>> seen;
    std::error_code error;
    fs::recursive_directory_iterator entry(path_, fs::directory_options::skip_permission_denied, error);
    for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
      struct stat status {};
      if (lstat(entry->path().c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
      if (!seen.insert({status.st_dev, status.st_ino}).second) continue;
      found.push_back(
          {entry->path().string().substr(path_.size()), status.st_ino, static_cast<u64>(status.st_size)});
    }
    if (error) throw Error("cannot list " + path_ + ": " + error.message());
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
    return found;
  }

  std::vector<std::byte> read(const ImageFile& file, u64 size) override {
    File from = File::open_read(path_ + file.path);
    std::vector<std::byte> bytes(std::min(size, file.size));
    from.read_at(bytes, 0, path_ + file.path);
    return bytes;
  }

 private:
  std::string path_;
};

}  // namespace

std::unique_ptr<ImageReader> open_directory(const std::string& path) {
  std::string name = path;
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  return std::make_unique<DirectoryReader>(name);
}

std::unique_ptr<ImageReader> ImageReader::open(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) throw_errno("cannot open " + path);
  if (S_ISDIR(status.st_mode)) return open_directory(path);
  if (!S_ISREG(status.st_mode)) throw Error(path + " is neither a file nor a directory");
  std::array<std::byte, 2048> head{};
  if (status.st_size < static_cast<off_t>(head.size())) throw Error(path + " is too short to be an image");
  File::open_read(path).read_at(head, 0, path);
  u32 erofs_magic;
  u16 ext_magic;
  memcpy(&erofs_magic, &head[erofs::kSuperOffset], sizeof erofs_magic);
  memcpy(&ext_magic, &head[1024 + 56], sizeof ext_magic);
  if (erofs_magic == erofs::kMagic) return open_erofs(path);
  if (ext_magic == 0xef53) return open_ext4(path);
  throw Error(path + " is no EROFS or ext2/3/4 image: make one with `teacup pack`");
}

}  // namespace teacup::images
