// EROFS images, read in place from where every process has them mapped. Essay in erofs.cc.
#pragma once

#include <atomic>

#include "fs/image.h"
#include "kernel/abi/erofs.h"
#include "kernel/base/arena_header.h"
#include "kernel/base/memory.h"
#include "kernel/frame/pages.h"

namespace teacup::fs {

class ErofsImage final : public Image {
 public:
  // `slot`'s mapping must live as long as the machine. UCLEAN: not EROFS, or damaged. NOTSUP: uses a feature
  // that is not read here; `feature` then names it.
  static Result<Ref<ErofsImage>> open(const ImageSlot& slot, const char*& feature);
  ErofsImage(const std::byte* base, u64 size, int fd) : base_(base), size_(size), fd_(fd) {}
  ~ErofsImage() override;

  bool answers_at_once() const override { return true; }
  Result<ImageNode> root() override { return node(root_nid_); }
  Result<ImageNode> node(u64 id) override;
  Result<u64> lookup(u64 directory, std::string_view name) override;
  Result<void> read_directory(u64 directory, ImageDirSink& sink, u64& cursor) override;
  Result<ImageSpan> data(u64 node, u64 offset) override;
  Result<size_t> fetch(u64 node, u64 offset, std::span<std::byte> into) override;
  u64 window_ahead(u64 node) override;
  bool start_fetch(u64 node, u64 offset, std::span<std::byte> into, Trip& trip) override;
  u64 fetch_start(u64 node, u64 offset) override;
  u64 fetch_end(u64 node, u64 end) override;
  bool needs_fetch() const override { return has_compressed_.load(std::memory_order_relaxed); }
  Result<size_t> readlink(u64 node, std::span<char> into) override;
  Result<size_t> get_xattr(u64 node, std::string_view name, std::span<std::byte> value) override;
  Result<size_t> list_xattrs(u64 node, std::span<char> names) override;
  u64 node_limit() const override { return size_ / erofs::kSlotSize + 1; }
  u64 total_bytes() const override { return size_; }

 private:
  struct Inode {
    ImageNode node;
    erofs::Layout layout;
    u32 union_field;
    u64 end;         // image offset behind the inode proper
    u64 xattr_size;  // bytes of attributes that follow
  };
  struct Block {  // of a directory
    const std::byte* data;
    u32 size;
    u32 entries;
  };
  struct Xattr {
    std::string_view prefix;
    std::string_view name;
    std::span<const std::byte> value;
  };

  // Of a compressed file, as erofs_compressed.cc has them.
  struct Index {
    u64 size;   // of the file
    u64 table;  // image offset of the entries
    u64 count;
    u32 cluster_bits;
    u16 advise;
    u8 algorithms[2];
    bool compact;
    bool has_tail;  // the last extent, which starts in cluster tail_start, is stored at tail_at
    u16 tail_size;
    u64 tail_at;
    u64 tail_start;
  };
  struct Entry {
    u64 number;
    erofs::ClusterType type;
    u32 start;     // byte of the cluster
    u32 block;     // where the extent that starts here is stored
    u64 back;      // clusters to the extent's start, or to an entry that says more
    u32 blocks;    // that the extent has, 0: not said here
    u64 pack_end;  // image offset behind this entry, or its pack
  };
  struct Pack {
    u8 bytes[32];
    u32 entry_bits;
    u32 value_bits;
  };
  struct Extent {
    u64 start;
    u64 length;
    u64 at;  // in the image
    u64 stored;
    bool plain;
  };
  static bool is_compressed(const Inode& inode) {
    return inode.layout == erofs::Layout::kCompressedFull ||
           inode.layout == erofs::Layout::kCompressedCompact;
  }
  Result<Index> index_of(const Inode& inode) const;
  Result<Entry> index_entry(const Index& index, u64 number) const;
  Result<Entry> full_entry(const Index& index, u64 number) const;
  Result<Entry> compact_entry(const Index& index, u64 number) const;
  static void unpack(const Pack& pack, u32 number, u32& value, erofs::ClusterType& type);
  static Result<u32> blocks_before(const Pack& pack, u32 number, bool big);
  Result<Entry> extent_head(const Index& index, u64 offset, Entry entry) const;
  Result<Extent> extent_at(const Index& index, u64 offset) const;
  Result<Extent> extent_of(u64 node, u64 offset) const;
  Result<void> decode(const Extent& extent, u64 inside, std::span<std::byte> into) const;
  Result<PageRun> take_scratch(u64 size) const;
  void give_scratch(PageRun run) const;

  template <typename T>
  Result<T> load(u64 offset) const;
  Result<std::span<const std::byte>> bytes(u64 offset, u64 size) const;
  // The same, looked at: IO where the file has been cut off.
  Result<std::span<const std::byte>> present(u64 offset, u64 size) const;
  bool is_lost(u64 offset, u64 size) const {
    return arena().images_lost[static_cast<u32>(fd_ - kFirstImageFd) % kMaxImages].covers(offset, size);
  }
  u64 block_size() const { return u64{1} << block_bits_; }
  Result<Inode> inode(u64 nid) const;
  Result<ImageSpan> span_at(const Inode& inode, u64 offset) const;
  Result<ImageSpan> chunk_span(const Inode& inode, u64 offset) const;
  ImageSpan mapped(u64 offset, u64 length) const;
  Result<Block> directory_block(const Inode& inode, u64 index) const;
  Result<erofs::DirectoryEntry> entry(const Block& block, u32 index) const;
  Result<std::string_view> entry_name(const Block& block, u32 index) const;
  Result<Xattr> xattr_at(u64 offset, u64 limit, u64& next) const;
  void remember(u64 directory, u64 behind);
  Result<u64> lookup_near(const Inode& inode, u64 directory, std::string_view name);
  template <typename Visit>
  Result<bool> each_xattr(u64 node, Visit visit) const;

  const std::byte* base_;
  u64 size_;
  int fd_;
  u32 block_bits_ = 12;
  u64 meta_offset_ = 0;
  u64 xattr_offset_ = 0;
  u64 root_nid_ = 0;
  s64 build_time_ = 0;
  u32 build_time_nsec_ = 0;
  bool zero_padding_ = false;
  bool has_map_headers_ = false;
  // Arena offsets of the runs that are kept, for two who decode; 0: taken, or not made yet.
  mutable std::atomic<u64> scratch_[2] = {};
  std::atomic<bool> has_compressed_{false};  // a compressed file was seen
  // Where the last name was found: its directory's number, and below it (32 bits) the place behind the name.
  // Who looks at all files of a directory does so in the order of names mostly.
  std::atomic<u64> last_found_{0};
};

template <typename T>
Result<T> ErofsImage::load(u64 offset) const {
  auto from = TRY(bytes(offset, sizeof(T)));
  T value;
  memcpy(&value, from.data(), sizeof(T));
  if (is_lost(offset, sizeof(T))) return Errno::IO;
  return value;
}

}  // namespace teacup::fs
