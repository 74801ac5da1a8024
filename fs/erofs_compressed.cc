// Compressed EROFS files (Linux: fs/erofs/zmap.c, erofs_fs.h).
//
// A file is cut into logical clusters of a block each, and has an index with one entry for each of them. An
// entry either says that an extent starts in its cluster, at which byte, and in which block what it is made
// of is stored; or it belongs to an extent that starts before, and says how many clusters back. So the extent
// at an offset is found by at most a few steps back, its end by steps forward to the next start. The index is
// either "full", 8 bytes an entry, or "compact": packs of 2 entries in 8 bytes or of 16 in 32, each with one
// block number, from which those of the pack's extents are counted.
//
// An extent is stored as it is ("plain", in one cluster), or as an LZ4 block, which fills its blocks to the
// end: with zeros before it where the image has the feature zero_padding. Big clusters: the entry behind that
// of the start says how many blocks. Tail packing: the last extent is stored behind the index.
//
// Alternatives for who decodes: the broker, into arena pages (a trip of 30 us and more for what takes 10 to
// decode, and one process decodes for all); or here, where the read is. LZ4 needs no library (fs/lz4.cc), so:
// here; what follows for who reads on, by the decoder too (fs/decoder.cc). Figures in docs/files.md.
//
// Trust: as in erofs.cc. Steps back go down to 0 and steps forward up to kMaxExtent; an index lies in the
// image.
#include <algorithm>

#include "fs/erofs.h"
#include "fs/lz4.h"
#include "fs/trip.h"
#include "host/gate/gate.h"
#include "kernel/abi/mm.h"
#include "kernel/base/memory.h"
#include "kernel/frame/pages.h"

namespace teacup::fs {

using namespace erofs;

namespace {

constexpr u64 kMany = 64 * KiB;
constexpr u64 kScratch = 256 * KiB;
constexpr u64 kMaxExtent = 12 * MiB;  // the host's kernel has the same limit
constexpr u32 kCountBit = 1 << 11;    // an entry holds a number of blocks
constexpr u16 kKnownAdvice =
    kAdviseCompacted2B | kAdviseBigCluster1 | kAdviseBigCluster2 | kAdviseInlineCluster;

}  // namespace

Result<ErofsImage::Index> ErofsImage::index_of(const Inode& inode) const {
  if ((inode.node.mode & abi::kS_IFMT) != abi::kS_IFREG) return Errno::UCLEAN;
  Index index{};
  index.size = inode.node.size;
  index.compact = inode.layout == Layout::kCompressedCompact;
  index.cluster_bits = block_bits_;
  u64 header_at = align_up(inode.end + inode.xattr_size, 8);
  index.table = header_at + sizeof(MapHeader);
  if (!index.compact) index.table += 8;  // padding
  // Images older than the header have none in front of a full index.
  if (index.compact || has_map_headers_) {
    auto header = TRY(load<MapHeader>(header_at));
    if ((header.advise & ~kKnownAdvice) != 0 || (header.cluster_bits & 0x80) != 0) return Errno::UCLEAN;
    index.advise = header.advise;
    index.algorithms[0] = header.algorithms & 15;
    index.algorithms[1] = header.algorithms >> 4;
    index.cluster_bits += header.cluster_bits & 7;
    index.tail_size = header.tail_size;
  }
  bool two_bytes = (index.advise & kAdviseCompacted2B) != 0;
  if (index.cluster_bits > (index.compact ? two_bytes ? 12U : 14U : 16U)) return Errno::UCLEAN;
  index.count = (index.size + (u64{1} << index.cluster_bits) - 1) >> index.cluster_bits;
  if ((index.advise & kAdviseInlineCluster) != 0 && index.size > 0) {
    // Stored behind the entry of the file's last cluster (behind its pack, in a compact index).
    Entry last = TRY(index_entry(index, index.count - 1));
    index.tail_at = last.pack_end;
    index.tail_start = TRY(extent_head(index, index.size - 1, last)).number;
    index.has_tail = true;
  }
  return index;
}

Result<ErofsImage::Entry> ErofsImage::full_entry(const Index& index, u64 number) const {
  u64 at = index.table + number * sizeof(ClusterEntry);
  auto raw = TRY(load<ClusterEntry>(at));
  Entry entry{};
  entry.number = number;
  entry.type = static_cast<ClusterType>(raw.advise & 3);
  entry.pack_end = at + sizeof raw;
  if (entry.type == ClusterType::kBelongs) {
    u32 back = raw.block & 0xffff;
    if ((back & kCountBit) != 0) {
      entry.blocks = back & ~kCountBit;
      back = 1;
    }
    entry.back = back;
    return entry;
  }
  entry.start = raw.start;
  entry.block = raw.block;
  if (entry.start >= u64{1} << index.cluster_bits) return Errno::UCLEAN;
  return entry;
}

// One entry of a pack: some bits of a value, then two of the type.
void ErofsImage::unpack(const Pack& pack, u32 number, u32& value, ClusterType& type) {
  u32 bit = pack.entry_bits * number;
  u64 word = 0;
  memcpy(&word, pack.bytes + bit / 8, std::min<size_t>(sizeof(u32), sizeof pack.bytes - bit / 8));
  word >>= bit % 8;
  value = static_cast<u32>(word) & ((u32{1} << pack.value_bits) - 1);
  type = static_cast<ClusterType>(word >> pack.value_bits & 3);
}

// How many blocks lie between the pack's block number and that of its entry `number`, which starts an extent.
Result<u32> ErofsImage::blocks_before(const Pack& pack, u32 number, bool big) {
  u32 value;
  ClusterType type;
  u32 blocks = big ? 0 : 1;
  for (s64 i = s64{number} - 1; i >= 0; i--) {
    unpack(pack, static_cast<u32>(i), value, type);
    if (type != ClusterType::kBelongs) {
      blocks++;
    } else if (!big) {
      i -= value;
      if (i >= 0) blocks++;
    } else if ((value & kCountBit) != 0) {
      i--;  // its start
      blocks += value & ~kCountBit;
    } else {
      if (value <= 1) return Errno::UCLEAN;
      i -= s64{value} - 2;
    }
  }
  return blocks;
}

// Packs of 2 up to a multiple of 32 bytes, then, if the file says so, packs of 16 as long as they are full,
// then packs of 2 again.
Result<ErofsImage::Entry> ErofsImage::compact_entry(const Index& index, u64 number) const {
  u64 initial = (32 - index.table % 32) / 4 % 8;
  u64 in_large = 0;
  if ((index.advise & kAdviseCompacted2B) != 0 && initial < index.count) {
    in_large = (index.count - initial) / 16 * 16;
  }
  u64 at = index.table;
  u64 left = number;
  u32 entry_size = 4;
  if (left >= initial) {
    at += initial * 4;
    left -= initial;
    if (left < in_large) {
      entry_size = 2;
    } else {
      at += in_large * 2;
      left -= in_large;
    }
  }
  at += left * entry_size;
  Pack pack{};
  u32 entries = entry_size == 2 ? 16 : 2;
  u32 pack_size = entries * entry_size;
  pack.entry_bits = (pack_size - sizeof(u32)) * 8 / entries;
  pack.value_bits = std::max<u32>(index.cluster_bits, 12);
  u64 pack_at = at & ~u64{pack_size - 1};
  auto stored = TRY(present(pack_at, pack_size));
  memcpy(pack.bytes, stored.data(), pack_size);
  u32 place = static_cast<u32>((at - pack_at) / entry_size);
  bool big = (index.advise & kAdviseBigCluster1) != 0;

  Entry entry{};
  entry.number = number;
  entry.pack_end = pack_at + pack_size;
  u32 value;
  unpack(pack, place, value, entry.type);
  if (entry.type != ClusterType::kBelongs) {
    u32 base;
    memcpy(&base, pack.bytes + pack_size - sizeof base, sizeof base);
    entry.start = value;
    if (entry.start >= u64{1} << index.cluster_bits) return Errno::UCLEAN;
    entry.block = base + TRY(blocks_before(pack, place, big));
    return entry;
  }
  if ((value & kCountBit) != 0) {
    if (!big) return Errno::UCLEAN;
    entry.blocks = value & ~kCountBit;
    entry.back = 1;
  } else if (place + 1 < entries) {
    entry.back = value;
  } else {
    // The last of a pack says how far it is to the next start; one more than the entry before is back from
    // one.
    ClusterType type;
    unpack(pack, place - 1, value, type);
    if (type != ClusterType::kBelongs) value = 0;
    if ((value & kCountBit) != 0) value = 1;
    entry.back = value + 1;
  }
  return entry;
}

Result<ErofsImage::Entry> ErofsImage::index_entry(const Index& index, u64 number) const {
  if (number >= index.count) return Errno::UCLEAN;
  return index.compact ? compact_entry(index, number) : full_entry(index, number);
}

// The entry of the start of the extent that holds `offset`; `entry`: that of the cluster there.
Result<ErofsImage::Entry> ErofsImage::extent_head(const Index& index, u64 offset, Entry entry) const {
  u64 inside = offset & ((u64{1} << index.cluster_bits) - 1);
  if (entry.type != ClusterType::kBelongs && inside >= entry.start) return entry;
  u64 back = entry.type == ClusterType::kBelongs ? entry.back : 1;
  for (;;) {
    if (back == 0 || back > entry.number) return Errno::UCLEAN;
    entry = TRY(index_entry(index, entry.number - back));
    if (entry.type != ClusterType::kBelongs) return entry;
    back = entry.back;
  }
}

Result<ErofsImage::Extent> ErofsImage::extent_at(const Index& index, u64 offset) const {
  Entry here = TRY(index_entry(index, offset >> index.cluster_bits));
  Entry head = TRY(extent_head(index, offset, here));
  Extent extent{};
  extent.plain = head.type == ClusterType::kPlain;
  if (!extent.plain && index.algorithms[head.type == ClusterType::kHead2 ? 1 : 0] != 0) return Errno::NOTSUP;
  extent.start = (head.number << index.cluster_bits) + head.start;
  u64 end = index.size;
  u32 blocks = 0;
  for (u64 next = head.number + 1; next < index.count; next++) {
    Entry entry = TRY(index_entry(index, next));
    if (entry.type != ClusterType::kBelongs) {
      end = std::min(end, (next << index.cluster_bits) + entry.start);
      break;
    }
    if (next == head.number + 1) blocks = entry.blocks;
    if ((next << index.cluster_bits) - extent.start > kMaxExtent) return Errno::UCLEAN;
  }
  if (end <= offset || end - extent.start > kMaxExtent) return Errno::UCLEAN;
  extent.length = end - extent.start;
  if (index.has_tail && head.number == index.tail_start) {
    extent.at = index.tail_at;
    extent.stored = index.tail_size;
    // It lies in one block.
    if ((extent.at & (block_size() - 1)) + extent.stored > block_size()) return Errno::UCLEAN;
  } else {
    bool big =
        (index.advise & (head.type == ClusterType::kHead ? kAdviseBigCluster1 : kAdviseBigCluster2)) != 0;
    extent.at = u64{head.block} << block_bits_;
    extent.stored = big && blocks != 0 ? u64{blocks} << block_bits_ : u64{1} << index.cluster_bits;
  }
  TRY(bytes(extent.at, extent.stored));
  return extent;
}

ErofsImage::~ErofsImage() {
  for (auto& scratch : scratch_) {
    if (u64 kept = scratch.load(); kept != 0) release_run(PageRun{kept, kScratch >> kPageShift});
  }
}

// The part of an extent before what is wanted of it is decoded to nowhere: into a run that is kept, as its
// first touch costs as much as decoding; who finds both taken, or too small, has one of his own.
Result<PageRun> ErofsImage::take_scratch(u64 size) const {
  if (size <= kScratch) {
    for (auto& scratch : scratch_) {
      if (u64 kept = scratch.exchange(0, std::memory_order_acquire); kept != 0) {
        return PageRun{kept, kScratch >> kPageShift};
      }
    }
    size = kScratch;
  }
  return allocate_run(page_up(size) >> kPageShift);
}

void ErofsImage::give_scratch(PageRun run) const {
  for (auto& scratch : scratch_) {
    u64 none = 0;
    if (run.bytes() == kScratch &&
        scratch.compare_exchange_strong(none, run.offset, std::memory_order_release))
      return;
  }
  release_run(run);
}

// Bytes [inside, inside + into.size()) of an extent.
Result<void> ErofsImage::decode(const Extent& extent, u64 inside, std::span<std::byte> into) const {
  auto stored = TRY(bytes(extent.at, extent.stored));
  if (extent.plain) {
    if (inside > stored.size() || into.size() > stored.size() - inside) return Errno::UCLEAN;
    memcpy(into.data(), stored.data() + inside, into.size());
  } else {
    size_t padding = 0;
    if (zero_padding_) {
      size_t limit = std::min<size_t>(stored.size(), block_size());
      while (padding < limit && stored[padding] == std::byte{0}) padding++;
    }
    stored = stored.subspan(padding);
    if (inside == 0) {
      if (lz4_decode(stored, into) != into.size() && !is_lost(extent.at, extent.stored)) return Errno::UCLEAN;
    } else {
      PageRun scratch = TRY(take_scratch(inside + kLz4History + kPageSize));
      std::span<std::byte> room(reinterpret_cast<std::byte*>(scratch.address()), scratch.bytes());
      size_t made = lz4_decode_behind(stored, inside, room, into);
      give_scratch(scratch);
      if (made != into.size() && !is_lost(extent.at, extent.stored)) return Errno::UCLEAN;
    }
  }
  if (is_lost(extent.at, extent.stored)) return Errno::IO;
  return {};
}

Result<size_t> ErofsImage::fetch(u64 node, u64 offset, std::span<std::byte> into) {
  Inode inode = TRY(this->inode(node));
  if (!is_compressed(inode)) return Errno::UCLEAN;
  Index index = TRY(index_of(inode));
  if (into.size() >= kMany) {
    // One host call for a fault a page; what it cannot do, the faults do.
    u64 start = page_down(reinterpret_cast<u64>(into.data()));
    u64 end = page_up(reinterpret_cast<u64>(into.data()) + into.size());
    static_cast<void>(gate::advise(start, end - start, abi::kMADV_POPULATE_WRITE));
  }
  size_t done = 0;
  while (done < into.size() && offset + done < index.size) {
    u64 at = offset + done;
    Extent extent = TRY(extent_at(index, at));
    u64 inside = at - extent.start;
    auto length = static_cast<size_t>(std::min<u64>(extent.length - inside, into.size() - done));
    TRY(decode(extent, inside, into.subspan(done, length)));
    done += length;
  }
  return done;
}

// Small enough for a core's own cache.
u64 ErofsImage::window_ahead(u64) {
  Decoder* helper = decoder();
  return helper != nullptr && helper->is_useful() ? 512 * KiB : 0;
}

bool ErofsImage::start_fetch(u64 node, u64 offset, std::span<std::byte> into, Trip& trip) {
  return trip.start_decoding(*this, node, offset, into);
}

Result<ErofsImage::Extent> ErofsImage::extent_of(u64 node, u64 offset) const {
  Inode inode = TRY(this->inode(node));
  if (!is_compressed(inode)) return Errno::INVAL;
  Index index = TRY(index_of(inode));
  if (offset >= index.size) return Errno::INVAL;
  return extent_at(index, offset);
}

u64 ErofsImage::fetch_start(u64 node, u64 offset) {
  auto extent = extent_of(node, offset);
  return extent.ok() ? extent.value().start : offset;
}

u64 ErofsImage::fetch_end(u64 node, u64 end) {
  auto extent = end > 0 ? extent_of(node, end - 1) : Errno::INVAL;
  return extent.ok() ? extent.value().start + extent.value().length : end;
}

}  // namespace teacup::fs
