// Reads ext2, ext3 and ext4 images by libext2fs.
#include <ext2fs/ext2fs.h>

#include <algorithm>
#include <set>

#include "images/error.h"
#include "images/image_reader.h"

namespace teacup::images {

namespace {

class Ext4Reader final : public ImageReader {
 public:
  explicit Ext4Reader(const std::string& path) : name_(path) {
    check(ext2fs_open(path.c_str(), EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs_), "cannot read");
  }
  ~Ext4Reader() override { ext2fs_free(fs_); }
  Ext4Reader(const Ext4Reader&) = delete;

  std::vector<ImageFile> files() override {
    std::vector<ImageFile> found;
    std::set<ext2_ino_t> seen;
    walk(EXT2_ROOT_INO, "", seen, found);
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
    return found;
  }

  std::vector<std::byte> read(const ImageFile& file, u64 size) override {
    ext2_file_t open = nullptr;
    check(ext2fs_file_open(fs_, static_cast<ext2_ino_t>(file.number), 0, &open),
          "cannot open " + file.path + " in");
    std::vector<std::byte> bytes(std::min(size, file.size));
    errcode_t error = 0;
    for (u64 at = 0; at < bytes.size() && error == 0;) {
      unsigned wanted = static_cast<unsigned>(std::min<u64>(bytes.size() - at, 1 << 20)), got = 0;
      error = ext2fs_file_read(open, bytes.data() + at, wanted, &got);
      if (got == 0 && error == 0) break;
      at += got;
    }
    ext2fs_file_close(open);
    check(error, "cannot read " + file.path + " in");
    return bytes;
  }

 private:
  struct Entry {
    std::string name;
    ext2_ino_t number;
  };

  void check(errcode_t error, const std::string& what) const {
    if (error != 0)
      throw Error(what + " " + name_ + ": is it damaged? (libext2fs error " + std::to_string(error) + ")");
  }

  static int collect(ext2_dir_entry* entry, int, int, char*, void* entries) {
    std::string name(entry->name, static_cast<size_t>(ext2fs_dirent_name_len(entry)));
    if (name != "." && name != "..")
      static_cast<std::vector<Entry>*>(entries)->push_back({name, entry->inode});
    return 0;
  }

  void walk(ext2_ino_t directory, const std::string& path, std::set<ext2_ino_t>& seen,
            std::vector<ImageFile>& found) {
    if (!seen.insert(directory).second || path.size() > 65536) return;
    std::vector<Entry> entries;
    check(ext2fs_dir_iterate(fs_, directory, 0, nullptr, &collect, &entries), "cannot list " + path + "/ in");
    for (const Entry& entry : entries) {
      ext2_inode inode{};
      check(ext2fs_read_inode(fs_, entry.number, &inode), "cannot read an inode of");
      if (LINUX_S_ISDIR(inode.i_mode)) {
        walk(entry.number, path + "/" + entry.name, seen, found);
      } else if (LINUX_S_ISREG(inode.i_mode) && seen.insert(entry.number).second) {
        found.push_back({path + "/" + entry.name, entry.number, EXT2_I_SIZE(&inode)});
      }
    }
  }

  std::string name_;
  ext2_filsys fs_ = nullptr;
};

}  // namespace

std::unique_ptr<ImageReader> open_ext4(const std::string& path) {
  return std::make_unique<Ext4Reader>(path);
}

}  // namespace teacup::images
