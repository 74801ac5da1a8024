// Problem: the tree of the image must be there the moment the machine starts, with a cold cache, for every
// process, and the image may be hostile. Choice: nothing is built or cached here; each question is answered
// from the mapped image, which is laid out for that: an inode is a shift away from its number, a name a
// binary search in sorted blocks, content a block number. (Inodes and names, once asked for, are cached by
// the VFS.)
//
// Trust: every offset is checked against the image's size before it is followed, with arithmetic that cannot
// wrap (block numbers have 32 bits, sizes are bounded); structures are copied out before they are checked, as
// the file's owner on the host may change it meanwhile; no loop is longer than the data it walks over, and
// none follows a chain. What is wrong is UCLEAN for the file concerned; what is behind the end of a file that
// has been cut off meanwhile is IO.
//
// Compressed files are erofs_compressed.cc's. Images with features that are not read are refused by name at
// start.
#include "fs/erofs.h"

#include <algorithm>

#include "kernel/base/memory.h"

namespace teacup::fs {

using namespace erofs;

namespace {

constexpr u64 kMaxFileSize = u64{1} << 50;

struct Feature {
  u32 bit;
  const char* name;
};
constexpr Feature kRefused[] = {
    {kIncompatFragments,
     "the EROFS image uses fragments or deduplication, which are not supported: make it without "
     "(mkfs.erofs -Efragments, -Ededupe)"},
    {kIncompatXattrPrefixes,
     "the EROFS image uses long attribute prefixes (xattr_prefixes), which are not supported: make it "
     "without "
     "(mkfs.erofs --xattr-prefix)"},
};
constexpr u32 kRead = kIncompatZeroPadding | kIncompatCompressionConfigs | kIncompatChunkedFile |
                      kIncompatDeviceTable | kIncompatTailPacking;

}  // namespace

Result<std::span<const std::byte>> ErofsImage::bytes(u64 offset, u64 size) const {
  if (offset > size_ || size > size_ - offset) return Errno::UCLEAN;
  return std::span<const std::byte>(base_ + offset, size);
}

Result<std::span<const std::byte>> ErofsImage::present(u64 offset, u64 size) const {
  auto found = TRY(bytes(offset, size));
  for (u64 at = 0; at < size; at = page_up(offset + at + 1) - offset) {
    static_cast<void>(*static_cast<const volatile std::byte*>(&found[at]));
  }
  if (is_lost(offset, size)) return Errno::IO;
  return found;
}

Result<Ref<ErofsImage>> ErofsImage::open(const ImageSlot& slot, const char*& feature) {
  feature = nullptr;
  Ref<ErofsImage> image = TRY(make_ref<ErofsImage>(reinterpret_cast<const std::byte*>(slot.address),
                                                   slot.size, static_cast<int>(slot.fd)));
  auto super = TRY(image->load<SuperBlock>(kSuperOffset));
  if (super.magic != kMagic) return Errno::UCLEAN;
  for (const Feature& refused : kRefused) {
    if ((super.feature_incompat & refused.bit) == 0) continue;
    feature = refused.name;
    return Errno::NOTSUP;
  }
  if ((super.feature_incompat & ~kRead) != 0) {
    feature =
        "the EROFS image uses a feature that is unknown here (feature_incompat): it was made by a newer "
        "mkfs.erofs than teacup reads";
    return Errno::NOTSUP;
  }
  // The bit also stands for a second LZ4 cluster type, which is read.
  if ((super.feature_incompat & kIncompatDeviceTable) != 0 && super.extra_devices != 0) {
    feature =
        "the EROFS image uses extra devices (device_table), which are not supported: make it in one file";
    return Errno::NOTSUP;
  }
  image->has_map_headers_ =
      (super.feature_incompat & (kIncompatCompressionConfigs | kIncompatTailPacking)) != 0;
  if ((super.feature_incompat & kIncompatCompressionConfigs) != 0 &&
      (super.compression_algorithms & ~kAlgorithmLz4) != 0) {
    feature =
        "the EROFS image is compressed with LZMA, DEFLATE or zstd, which are not supported: make it with "
        "mkfs.erofs -zlz4hc";
    return Errno::NOTSUP;
  }
  image->zero_padding_ = (super.feature_incompat & kIncompatZeroPadding) != 0;
  if (super.block_bits < 9 || super.block_bits > 16) return Errno::UCLEAN;
  if (super.directory_block_bits != 0) {
    feature = "the EROFS image has directory blocks of their own size (dirblkbits), which are not supported";
    return Errno::NOTSUP;
  }
  image->block_bits_ = super.block_bits;
  image->meta_offset_ = u64{super.meta_block} << super.block_bits;
  image->xattr_offset_ = u64{super.xattr_block} << super.block_bits;
  image->root_nid_ = super.root_nid;
  image->build_time_ = static_cast<s64>(super.build_time);
  image->build_time_nsec_ = std::min<u32>(super.build_time_nsec, 999'999'999);
  return image;
}

Result<ErofsImage::Inode> ErofsImage::inode(u64 nid) const {
  if (nid > size_ / kSlotSize) return Errno::UCLEAN;
  u64 offset = meta_offset_ + nid * kSlotSize;
  u16 format = TRY(load<u16>(offset));
  Inode inode{};
  inode.layout = static_cast<Layout>(format >> 1 & 7);
  if ((format >> 4) != 0) return Errno::UCLEAN;
  ImageNode& node = inode.node;
  u16 xattr_count;
  if ((format & 1) == 0) {
    auto raw = TRY(load<CompactInode>(offset));
    node.mode = raw.mode;
    node.nlink = raw.links;
    node.size = raw.size;
    node.uid = raw.uid;
    node.gid = raw.gid;
    node.mtime = {build_time_, build_time_nsec_};
    inode.union_field = raw.data;
    inode.end = offset + sizeof(raw);
    xattr_count = raw.xattr_count;
  } else {
    auto raw = TRY(load<ExtendedInode>(offset));
    node.mode = raw.mode;
    node.nlink = raw.links;
    node.size = raw.size;
    node.uid = raw.uid;
    node.gid = raw.gid;
    node.mtime = {static_cast<s64>(raw.mtime), std::min<u32>(raw.mtime_nsec, 999'999'999)};
    inode.union_field = raw.data;
    inode.end = offset + sizeof(raw);
    xattr_count = raw.xattr_count;
  }
  node.id = nid;
  if (node.nlink == 0) node.nlink = 1;
  if (node.size > kMaxFileSize) return Errno::UCLEAN;
  inode.xattr_size = xattr_count == 0 ? 0 : sizeof(XattrHeader) + (u64{xattr_count} - 1) * 4;
  u32 type = node.mode & abi::kS_IFMT;
  if (type == abi::kS_IFCHR || type == abi::kS_IFBLK) {
    // As the kernel's new_encode_dev() has it.
    u32 dev = inode.union_field;
    u32 major = dev >> 8 & 0xfff;
    u32 minor = (dev & 0xff) | (dev >> 12 & 0xfff00);
    node.rdev = (u64{minor} & 0xff) | u64{major} << 8 | (u64{minor} & ~u64{0xff}) << 12;
    node.size = 0;
  } else if (type != abi::kS_IFREG && type != abi::kS_IFDIR && type != abi::kS_IFLNK) {
    node.size = 0;
  }
  if (type == abi::kS_IFLNK && node.size >= static_cast<u64>(abi::kPATH_MAX)) return Errno::UCLEAN;
  return inode;
}

Result<ImageNode> ErofsImage::node(u64 id) {
  Inode inode = TRY(this->inode(id));
  if (is_compressed(inode) && !has_compressed_.load(std::memory_order_relaxed)) has_compressed_.store(true);
  return inode.node;
}

ImageSpan ErofsImage::mapped(u64 offset, u64 length) const {
  ImageSpan span;
  span.kind = ImageSpan::kMapped;
  span.length = length;
  span.data = base_ + offset;
  span.fd = fd_;
  span.host_offset = offset;
  return span;
}

Result<ImageSpan> ErofsImage::chunk_span(const Inode& inode, u64 offset) const {
  u32 format = inode.union_field & 0xffff;
  if ((format & ~(kChunkBits | kChunkIndexes)) != 0) return Errno::UCLEAN;
  u32 chunk_bits = block_bits_ + (format & kChunkBits);
  bool indexes = (format & kChunkIndexes) != 0;
  u64 unit = indexes ? sizeof(ChunkIndex) : sizeof(u32);
  u64 table = align_up(inode.end + inode.xattr_size, unit);
  u64 chunk = offset >> chunk_bits;
  u64 inside = offset & ((u64{1} << chunk_bits) - 1);
  u64 length = std::min((u64{1} << chunk_bits) - inside, inode.node.size - offset);
  u32 block;
  if (indexes) {
    auto index = TRY(load<ChunkIndex>(table + chunk * unit));
    if (index.device != 0) return Errno::UCLEAN;
    block = index.block;
  } else {
    block = TRY(load<u32>(table + chunk * unit));
  }
  if (block == kNullBlock) {
    ImageSpan hole;
    hole.length = length;
    return hole;
  }
  u64 at = (u64{block} << block_bits_) + inside;
  TRY(bytes(at, length));
  return mapped(at, length);
}

// Content at `offset`, which is below the size.
Result<ImageSpan> ErofsImage::span_at(const Inode& inode, u64 offset) const {
  u64 size = inode.node.size;
  if (offset >= size) return Errno::INVAL;
  if (inode.layout == Layout::kChunked) return chunk_span(inode, offset);
  if (inode.layout != Layout::kFlatPlain && inode.layout != Layout::kFlatInline) return Errno::UCLEAN;
  u64 tail_start = inode.layout == Layout::kFlatInline ? (size - 1) >> block_bits_ << block_bits_ : size;
  if (offset < tail_start) {
    u64 at = (u64{inode.union_field} << block_bits_) + offset;
    u64 length = tail_start - offset;
    TRY(bytes(at, length));
    return mapped(at, length);
  }
  u64 tail = inode.end + inode.xattr_size;
  u64 length = size - tail_start;
  // The tail lies in the block of its inode.
  if ((tail & (block_size() - 1)) + length > block_size()) return Errno::UCLEAN;
  TRY(bytes(tail, length));
  return mapped(tail + (offset - tail_start), size - offset);
}

Result<ImageSpan> ErofsImage::data(u64 node, u64 offset) {
  Inode inode = TRY(this->inode(node));
  if (!is_compressed(inode) || offset >= inode.node.size) return span_at(inode, offset);
  ImageSpan span;
  span.kind = ImageSpan::kFetch;
  span.length = inode.node.size - offset;
  return span;
}

Result<size_t> ErofsImage::readlink(u64 node, std::span<char> into) {
  Inode inode = TRY(this->inode(node));
  size_t wanted = std::min<size_t>(into.size(), inode.node.size);
  size_t done = 0;
  while (done < wanted) {
    ImageSpan span = TRY(span_at(inode, done));
    if (span.kind != ImageSpan::kMapped) return Errno::UCLEAN;
    size_t length = std::min<size_t>(span.length, wanted - done);
    memcpy(into.data() + done, span.data, length);
    TRY(check_still_there(span, length));
    done += length;
  }
  return done;
}

}  // namespace teacup::fs
