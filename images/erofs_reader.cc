// Reads what erofs_writer.cc and mkfs.erofs without compression write. Offsets are checked by the reads
// themselves: what lies beyond the image's end is an error.
#include <algorithm>
#include <set>

#include "images/error.h"
#include "images/file.h"
#include "images/image_reader.h"
#include "kernel/abi/erofs.h"

namespace teacup::images {

namespace {

using namespace erofs;

constexpr u16 kTypeMask = 0170000, kRegular = 0100000, kDirectory = 040000;
constexpr u64 kMostBytes = u64{1} << 32;  // of a file or a directory read whole

class ErofsReader final : public ImageReader {
 public:
  explicit ErofsReader(const std::string& path) : name_(path), file_(File::open_read(path)) {
    super_ = load<SuperBlock>(kSuperOffset);
    if ((super_.feature_incompat & ~(kIncompatZeroPadding | kIncompatChunkedFile)) != 0)
      throw Error(name_ + " uses EROFS features that are not read here (compression, extra devices)");
    if (super_.block_bits < 9 || super_.block_bits > 16 || super_.directory_block_bits != 0) damaged();
  }

  std::vector<ImageFile> files() override {
    std::vector<ImageFile> found;
    std::set<u64> seen;
    walk(super_.root_nid, "", seen, found);
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
    return found;
  }

  std::vector<std::byte> read(const ImageFile& file, u64 size) override {
    return content(inode(file.number), size);
  }

 private:
  struct Inode {
    u16 mode;
    Layout layout;
    u64 size;
    u32 data;
    u64 end;  // image offset behind inode and attributes
  };

  [[noreturn]] void damaged() const { throw Error(name_ + " is damaged: check it with fsck.erofs"); }

  template <typename T>
  T load(u64 offset) const {
    T value;
    file_.read_at(std::as_writable_bytes(std::span(&value, 1)), offset, name_);
    return value;
  }

  Inode inode(u64 nid) const {
    if (nid >> 40 != 0) damaged();
    u64 at = (u64{super_.meta_block} << super_.block_bits) + nid * kSlotSize;
    auto compact = load<CompactInode>(at);
    Inode inode{compact.mode, static_cast<Layout>(compact.format >> 1 & 7), compact.size, compact.data,
                at + sizeof compact};
    if ((compact.format & 1) != 0) {
      auto extended = load<ExtendedInode>(at);
      inode.size = extended.size;
      inode.data = extended.data;
      inode.end = at + sizeof extended;
    }
    if (compact.xattr_count != 0) inode.end += sizeof(XattrHeader) + (compact.xattr_count - 1u) * 4;
    return inode;
  }

  std::vector<std::byte> content(const Inode& inode, u64 size) const {
    size = std::min(size, inode.size);
    if (size > kMostBytes) damaged();
    std::vector<std::byte> bytes(size);
    if (inode.layout == Layout::kChunked) {
      read_chunks(inode, bytes);
      return bytes;
    }
    if (inode.layout != Layout::kFlatPlain && inode.layout != Layout::kFlatInline) damaged();
    u64 blocks_end = size;
    if (inode.layout == Layout::kFlatInline && inode.size > 0)
      blocks_end = std::min(size, (inode.size - 1) >> super_.block_bits << super_.block_bits);
    std::span<std::byte> all(bytes);
    file_.read_at(all.first(blocks_end), u64{inode.data} << super_.block_bits, name_);
    file_.read_at(all.subspan(blocks_end), inode.end, name_);
    return bytes;
  }

  void read_chunks(const Inode& inode, std::span<std::byte> bytes) const {
    u32 chunk_bits = super_.block_bits + (inode.data & kChunkBits);
    bool indexes = (inode.data & kChunkIndexes) != 0;
    u64 unit = indexes ? 8 : 4;
    u64 table = (inode.end + unit - 1) / unit * unit;
    for (u64 at = 0, chunk = 0; at < bytes.size(); chunk++) {
      u64 length = std::min<u64>(u64{1} << chunk_bits, bytes.size() - at);
      u32 block = load<u32>(table + chunk * unit + (indexes ? 4 : 0));
      if (block != kNullBlock)
        file_.read_at(bytes.subspan(at, length), u64{block} << super_.block_bits, name_);
      at += length;
    }
  }

  void walk(u64 nid, const std::string& path, std::set<u64>& seen, std::vector<ImageFile>& found) const {
    if (!seen.insert(nid).second || path.size() > 65536) return;
    Inode directory = inode(nid);
    if ((directory.mode & kTypeMask) != kDirectory) damaged();
    std::vector<std::byte> bytes = content(directory, kMostBytes);
    u64 block_size = u64{1} << super_.block_bits;
    for (u64 at = 0; at < bytes.size(); at += block_size) {
      walk_block(std::span(bytes).subspan(at, std::min<u64>(block_size, bytes.size() - at)), path, seen,
                 found);
    }
  }

  // Entries come first, then their names, each up to the next one's or to a zero byte or the block's end.
  void walk_block(std::span<const std::byte> block, const std::string& path, std::set<u64>& seen,
                  std::vector<ImageFile>& found) const {
    auto entry_at = [&](u64 index) {
      DirectoryEntry entry;
      if ((index + 1) * sizeof entry > block.size()) damaged();
      memcpy(&entry, block.data() + index * sizeof entry, sizeof entry);
      return entry;
    };
    u64 count = entry_at(0).name_offset / sizeof(DirectoryEntry);
    for (u64 i = 0; i < count; i++) {
      DirectoryEntry entry = entry_at(i);
      u64 end = i + 1 < count ? u64{entry_at(i + 1).name_offset} : block.size();
      if (entry.name_offset > end || end > block.size()) damaged();
      std::string name(reinterpret_cast<const char*>(block.data()) + entry.name_offset,
                       end - entry.name_offset);
      name = name.substr(0, name.find('\0'));
      if (name == "." || name == "..") continue;
      Inode node = inode(entry.nid);
      if ((node.mode & kTypeMask) == kDirectory) {
        walk(entry.nid, path + "/" + name, seen, found);
      } else if ((node.mode & kTypeMask) == kRegular && seen.insert(entry.nid).second) {
        found.push_back({path + "/" + name, entry.nid, node.size});
      }
    }
  }

  std::string name_;
  File file_;
  SuperBlock super_;
};

}  // namespace

std::unique_ptr<ImageReader> open_erofs(const std::string& path) {
  return std::make_unique<ErofsReader>(path);
}

}  // namespace teacup::images
