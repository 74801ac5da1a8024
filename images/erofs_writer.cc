// Where things go in the image.
//
// A reader maps the image and wants three things: to find an inode with one touch of memory, to list a
// directory and stat what it holds without running over the whole image, and to map file data into a
// program's address space.
//
//   block 0        super block
//   inodes         32-byte slots; the inodes of one directory's children lie together, small directories,
//   symlinks
//                  and files right behind their inode (FLAT_INLINE), a sparse file's chunk map too
//   directories    the blocks of big ones, in the order of their inodes
//   file data      each file on a block boundary, contiguous, the last block filled with zeros (FLAT_PLAIN)
//
// File data is inlined only up to 1 KiB and never when the file is executable or an ELF object: what may be
// mapped lies on a page of its own, so that the mapping is of the image and costs no copy. Tails of longer
// files are not inlined for the same reason; that costs half a block a file, 4 % of the `python` image.
//
// Sparse files use the chunk map. Small chunks make a long map (8 MiB for a file of 8 GiB in chunks of 4
// KiB), large ones turn holes into data; the size is taken with which the two together cost least.
//
// Nids are positions, so all sizes are settled first (lay_out), then everything is written in file order.

#include "images/erofs_writer.h"

#include <algorithm>
#include <cstring>

#include "images/error.h"
#include "images/file.h"
#include "images/inode_order.h"
#include "kernel/abi/erofs.h"

namespace teacup::images {

namespace {

using namespace erofs;

constexpr u64 kMaxInlineFile = 1024;
// A directory's or symlink's tail is inlined when it fits behind its inode; above this it would waste more of
// the inode's block than it saves.
constexpr u64 kMaxInlineTail = 3072;

using Bytes = std::vector<std::byte>;

template <typename T>
requires std::is_trivially_copyable_v<T>
void append(Bytes& bytes, const T& value) {
  const auto* raw = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), raw, raw + sizeof(T));
}

void append(Bytes& bytes, std::string_view text) {
  const auto* raw = reinterpret_cast<const std::byte*>(text.data());
  bytes.insert(bytes.end(), raw, raw + text.size());
}

// CRC-32C (Castagnoli), reflected, no final inversion, as the kernel's crc32c().
u32 crc32c(u32 crc, std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) {
    crc ^= static_cast<u32>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0);
  }
  return crc;
}

u8 directory_entry_type(NodeType type) {
  switch (type) {
    case NodeType::kRegular:
      return 1;
    case NodeType::kDirectory:
      return 2;
    case NodeType::kCharDevice:
      return 3;
    case NodeType::kBlockDevice:
      return 4;
    case NodeType::kFifo:
      return 5;
    case NodeType::kSocket:
      return 6;
    case NodeType::kSymlink:
      return 7;
  }
  return 0;
}

// Inline xattrs: the header and the entries, as they stand behind the inode.
Bytes encode_xattrs(const Node& node) {
  struct Prefix {
    std::string_view text;
    u8 index;
    bool whole;  // the name is the prefix
  };
  static constexpr Prefix kPrefixes[] = {
      {"user.", 1, false},
      {"system.posix_acl_access", 2, true},
      {"system.posix_acl_default", 3, true},
      {"trusted.", 4, false},
      {"security.", 6, false},
  };
  Bytes bytes;
  if (node.xattrs.empty()) return bytes;
  append(bytes, XattrHeader{});
  for (const auto& [name, value] : node.xattrs) {
    const auto* prefix = std::find_if(
        std::begin(kPrefixes), std::end(kPrefixes),
        [&name = name](const Prefix& p) { return p.whole ? name == p.text : name.starts_with(p.text); });
    if (prefix == std::end(kPrefixes)) {
      throw Error("extended attribute " + name + " is in a namespace EROFS does not have");
    }
    const std::string_view rest = std::string_view(name).substr(prefix->text.size());
    if (rest.size() > 255 || value.size() > 65535) throw Error("extended attribute " + name + " is too long");
    append(bytes, XattrEntry{static_cast<u8>(rest.size()), prefix->index, static_cast<u16>(value.size())});
    append(bytes, rest);
    append(bytes, value);
    bytes.resize(align_up(bytes.size(), 4));
  }
  if (bytes.size() > 65535 * 4) throw Error("a file has more than 256 KiB of extended attributes");
  return bytes;
}

struct Inode {
  const Node* node = nullptr;
  const Inode* parent = nullptr;  // of a directory
  u32 number = 0;                 // position in the order of inodes, from 1
  u32 links = 0;
  u64 size = 0;
  bool extended = false;
  Layout layout = Layout::kFlatPlain;
  u64 position = 0;     // of the inode in the image, bytes
  u64 inline_size = 0;  // of the tail behind the inode
  u32 chunk_bits = 0;
  u64 first_block = 0;  // of what is not inline
  u64 blocks = 0;       // of it
  Bytes xattrs;

  u64 header_size() const { return extended ? sizeof(ExtendedInode) : sizeof(CompactInode); }
  // Where the inline tail or the chunk map starts.
  u64 body_position() const { return position + header_size() + xattrs.size(); }
  u64 nid() const { return position / kSlotSize; }
};

// A directory's entries with "." and "..", in byte order, cut into blocks.
struct DirectoryEntries {
  struct Entry {
    std::string_view name;
    const Inode* inode;
  };
  std::vector<Entry> entries;
  std::vector<size_t> block_ends;  // index of the first entry of the next block
  u64 size = 0;                    // i_size: whole blocks, and what the last one uses
};

class Writer {
 public:
  Writer(const Tree& tree, const std::string& path, const WriteOptions& options)
      : options_(options),
        output_(path),
        meta_(output_.file(), path),
        data_(output_.file(), path),
        order_(tree) {}

  void write();

 private:
  DirectoryEntries entries_of(const Inode& directory) const;
  void settle_size(Inode& inode);
  void settle_chunks(Inode& inode);
  void place_inode(Inode& inode);
  void lay_out();

  void write_super_block();
  void write_inode(const Inode& inode);
  Bytes encode_inode(const Inode& inode, u32 data) const;
  Bytes encode_directory(const Inode& directory) const;
  void write_file_data(const Inode& inode);
  void write_piece(const File& file, const Content::Piece& piece, const std::string& name, u64 position);
  void append_chunk_map(const Inode& inode, Bytes& bytes) const;
  void report(u64 bytes);

  const WriteOptions& options_;
  OutputFile output_;
  GatheredWrites meta_;  // inodes
  GatheredWrites data_;  // directories and what files have in blocks
  InodeOrder order_;
  std::vector<Inode> inodes_;  // as order_
  u64 meta_end_ = kBlockSize;  // bytes
  u64 blocks_ = 0;
  bool has_chunks_ = false;
  u64 data_total_ = 0;
  u64 data_done_ = 0;
};

DirectoryEntries Writer::entries_of(const Inode& directory) const {
  DirectoryEntries result;
  auto& entries = result.entries;
  entries.reserve(directory.node->children.size() + 2);
  for (const auto& [name, child] : directory.node->children) {
    entries.push_back({name, &inodes_[order_.index_of(*child)]});
  }
  const auto insert_sorted = [&](std::string_view name, const Inode* inode) {
    const auto at = std::lower_bound(entries.begin(), entries.end(), name,
                                     [](const auto& entry, std::string_view n) { return entry.name < n; });
    entries.insert(at, {name, inode});
  };
  insert_sorted(".", &directory);
  insert_sorted("..", directory.parent);
  u64 used = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    const u64 need = sizeof(DirectoryEntry) + entries[i].name.size();
    if (used + need > kBlockSize) {
      result.block_ends.push_back(i);
      used = 0;
    }
    used += need;
  }
  result.size = result.block_ends.size() * kBlockSize + used;
  result.block_ends.push_back(entries.size());
  return result;
}

bool may_be_mapped(const Node& node) {
  if ((node.permissions & 0111) != 0) return true;
  char magic[4];
  if (node.content.size < sizeof(magic) || node.content.store == nullptr) return false;
  node.content.read(*node.content.store->open(), 0, std::as_writable_bytes(std::span(magic)));
  return std::memcmp(magic,
                     "\x7f"
                     "ELF",
                     sizeof(magic)) == 0;
}

u64 chunk_count(u64 size, u32 bits) {
  return size == 0 ? 0 : ((blocks_of(size) - 1) >> bits) + 1;
}

void Writer::settle_chunks(Inode& inode) {
  inode.layout = Layout::kChunked;
  has_chunks_ = true;
  u64 least = ~u64{0};
  for (u32 bits = 0; bits <= kMaxChunkBits; ++bits) {
    const u64 blocks = total_blocks(data_chunks(inode.node->content, bits));
    const u64 cost = blocks * kBlockSize + chunk_count(inode.size, bits) * sizeof(u32);
    if (cost < least) {
      least = cost;
      inode.chunk_bits = bits;
      inode.blocks = blocks;
    }
    if (chunk_count(inode.size, bits) == 1) break;
  }
}

void Writer::settle_size(Inode& inode) {
  const Node& node = *inode.node;
  inode.xattrs = encode_xattrs(node);
  u64 max_inline = kMaxInlineTail;
  switch (node.type) {
    case NodeType::kDirectory:
      inode.size = entries_of(inode).size;
      break;
    case NodeType::kSymlink:
      inode.size = node.target.size();
      break;
    case NodeType::kRegular: {
      inode.size = node.content.size;
      if (total_blocks(data_chunks(node.content, 0)) < blocks_of(inode.size)) {
        settle_chunks(inode);
        max_inline = 0;
      } else {
        const bool small = inode.size <= kMaxInlineFile && !may_be_mapped(node);
        max_inline = small ? kMaxInlineFile : 0;
      }
      break;
    }
    default:
      break;
  }
  inode.extended = node.mtime != options_.time || node.mtime_nsec != 0 || inode.size > ~u32{0} ||
                   node.uid > 0xffff || node.gid > 0xffff || inode.links > 0xffff;
  if (inode.layout == Layout::kChunked) return;
  const u64 tail = inode.size % kBlockSize;
  if (tail != 0 && tail <= max_inline && inode.header_size() + inode.xattrs.size() + tail <= kBlockSize) {
    inode.layout = Layout::kFlatInline;
    inode.inline_size = tail;
    inode.blocks = inode.size / kBlockSize;
  } else {
    inode.blocks = blocks_of(inode.size);
  }
}

// The next place where the inode crosses no block, and, when it has a tail, neither does the tail.
void Writer::place_inode(Inode& inode) {
  u64 position = align_up(meta_end_, kSlotSize);
  const u64 together = inode.header_size() + inode.xattrs.size() + inode.inline_size;
  const u64 keep = together <= kBlockSize ? together : inode.header_size();
  if (position % kBlockSize + keep > kBlockSize) position = align_up(position, kBlockSize);
  inode.position = position;
  meta_end_ = position + together;
  if (inode.layout == Layout::kChunked) {
    const u64 map = chunk_count(inode.size, inode.chunk_bits) * sizeof(u32);
    meta_end_ = align_up(inode.body_position(), sizeof(u32)) + map;
  }
}

void Writer::lay_out() {
  inodes_.resize(order_.entries().size());
  for (size_t i = 0; i < inodes_.size(); ++i) {
    const InodeOrder::Entry& entry = order_.entries()[i];
    inodes_[i].node = entry.node;
    inodes_[i].number = static_cast<u32>(i + 1);
    inodes_[i].links = entry.links;
    if (entry.node->is_directory()) inodes_[i].parent = &inodes_[entry.parent];
  }
  for (Inode& inode : inodes_) {
    settle_size(inode);
    place_inode(inode);
  }
  blocks_ = blocks_of(meta_end_);
  for (const bool directories : {true, false}) {
    for (Inode& inode : inodes_) {
      if ((inode.node->type != NodeType::kRegular) != directories) continue;
      inode.first_block = blocks_;
      blocks_ += inode.blocks;
      if (!directories) data_total_ += inode.blocks * kBlockSize;
    }
  }
  if (blocks_ >= kNullBlock)
    throw Error("the tree is larger than an EROFS image of 4 KiB blocks can be, 16 TiB");
}

void Writer::report(u64 bytes) {
  data_done_ += bytes;
  if (options_.progress) options_.progress(data_done_, data_total_);
}

void Writer::write_super_block() {
  SuperBlock super{};
  super.magic = kMagic;
  super.feature_compat = kCompatSuperChecksum | kCompatMtime;
  super.block_bits = kBlockBits;
  super.root_nid = static_cast<u16>(inodes_[0].nid());
  super.inodes = inodes_.size();
  super.build_time = static_cast<u64>(options_.time);
  super.blocks = static_cast<u32>(blocks_);
  std::copy(options_.uuid.begin(), options_.uuid.end(), super.uuid);
  std::memcpy(super.volume_name, options_.label.data(), std::min<size_t>(options_.label.size(), 16));
  super.feature_incompat = has_chunks_ ? kIncompatChunkedFile : 0;
  Bytes block(kBlockSize - kSuperOffset);
  std::memcpy(block.data(), &super, sizeof(super));
  super.checksum = crc32c(~u32{0}, block);
  std::memcpy(block.data(), &super, sizeof(super));
  meta_.write(block, kSuperOffset);
}

Bytes Writer::encode_inode(const Inode& inode, u32 data) const {
  const Node& node = *inode.node;
  Bytes bytes;
  const auto layout = static_cast<u16>(static_cast<u16>(inode.layout) << 1);
  const auto xattr_count =
      static_cast<u16>(inode.xattrs.empty() ? 0 : (inode.xattrs.size() - sizeof(XattrHeader)) / 4 + 1);
  if (inode.extended) {
    ExtendedInode raw{};
    raw.format = layout | 1;
    raw.xattr_count = xattr_count;
    raw.mode = node.mode();
    raw.size = inode.size;
    raw.data = data;
    raw.number = inode.number;
    raw.uid = node.uid;
    raw.gid = node.gid;
    raw.mtime = static_cast<u64>(node.mtime);
    raw.mtime_nsec = node.mtime_nsec;
    raw.links = inode.links;
    append(bytes, raw);
  } else {
    CompactInode raw{};
    raw.format = layout;
    raw.xattr_count = xattr_count;
    raw.mode = node.mode();
    raw.links = static_cast<u16>(inode.links);
    raw.size = static_cast<u32>(inode.size);
    raw.data = data;
    raw.number = inode.number;
    raw.uid = static_cast<u16>(node.uid);
    raw.gid = static_cast<u16>(node.gid);
    append(bytes, raw);
  }
  bytes.insert(bytes.end(), inode.xattrs.begin(), inode.xattrs.end());
  return bytes;
}

Bytes Writer::encode_directory(const Inode& directory) const {
  const DirectoryEntries entries = entries_of(directory);
  Bytes bytes;
  bytes.reserve(entries.size);
  size_t first = 0;
  for (const size_t end : entries.block_ends) {
    auto name_offset = static_cast<u16>((end - first) * sizeof(DirectoryEntry));
    for (size_t i = first; i < end; ++i) {
      const auto& entry = entries.entries[i];
      append(bytes, DirectoryEntry{entry.inode->nid(), name_offset,
                                   directory_entry_type(entry.inode->node->type), 0});
      name_offset = static_cast<u16>(name_offset + entry.name.size());
    }
    for (size_t i = first; i < end; ++i) append(bytes, entries.entries[i].name);
    if (end != entries.entries.size()) bytes.resize(align_up(bytes.size(), kBlockSize));
    first = end;
  }
  return bytes;
}

void Writer::append_chunk_map(const Inode& inode, Bytes& bytes) const {
  bytes.resize(align_up(bytes.size(), 4));
  u64 at = 0;  // the next chunk, in blocks
  u64 block = inode.first_block;
  const u64 chunk = u64{1} << inode.chunk_bits;
  for (const auto& [first, end] : data_chunks(inode.node->content, inode.chunk_bits)) {
    for (; at < first; at += chunk) append(bytes, kNullBlock);
    for (; at < end; at += chunk) {
      append(bytes, static_cast<u32>(block));
      block += std::min(chunk, end - at);
    }
  }
  for (; at < blocks_of(inode.size); at += chunk) append(bytes, kNullBlock);
}

u32 encode_device(const Node& node) {  // the kernel's new_encode_dev()
  return (node.device_minor & 0xff) | (node.device_major << 8) | ((node.device_minor & ~u32{0xff}) << 12);
}

void Writer::write_inode(const Inode& inode) {
  const Node& node = *inode.node;
  Bytes data;  // of a directory or symlink, or a file small enough
  u32 field = inode.blocks > 0 ? static_cast<u32>(inode.first_block) : 0;
  switch (node.type) {
    case NodeType::kDirectory:
      data = encode_directory(inode);
      break;
    case NodeType::kSymlink:
      append(data, std::string_view(node.target));
      break;
    case NodeType::kRegular:
      if (inode.inline_size > 0) {
        data.resize(inode.size);
        node.content.read(*node.content.store->open(), 0, data);
      }
      break;
    case NodeType::kCharDevice:
    case NodeType::kBlockDevice:
      field = encode_device(node);
      break;
    default:
      break;
  }
  if (inode.layout == Layout::kChunked) field = inode.chunk_bits;
  Bytes bytes = encode_inode(inode, field);
  if (inode.layout == Layout::kChunked) append_chunk_map(inode, bytes);
  const size_t in_blocks = data.size() - inode.inline_size;
  bytes.insert(bytes.end(), data.begin() + static_cast<std::ptrdiff_t>(in_blocks), data.end());
  meta_.write(bytes, inode.position);
  if (in_blocks > 0) {
    data.resize(in_blocks);
    data_.write(data, inode.first_block * kBlockSize);
  }
}

// Large ones by copy_range(), which may share them.
void Writer::write_piece(const File& file, const Content::Piece& piece, const std::string& name,
                         u64 position) {
  if (piece.length >= GatheredWrites::kPiece) {
    data_.flush();
    copy_range(file, piece.store_offset, output_.file(), position, piece.length, name, output_.path());
    return;
  }
  for (u64 done = 0; done < piece.length;) {
    const std::span<std::byte> room = data_.room(position + done, piece.length - done);
    file.read_at(room, piece.store_offset + done, name);
    done += room.size();
  }
}

void Writer::write_file_data(const Inode& inode) {
  if (inode.blocks == 0) return;
  const Content& content = inode.node->content;
  const std::shared_ptr<const File> file = content.store->open();
  u64 block = inode.first_block;
  auto piece = content.pieces.begin();
  for (const auto& [first, end] : data_chunks(content, inode.chunk_bits)) {
    for (; piece != content.pieces.end() && piece->offset < end * kBlockSize; ++piece) {
      write_piece(*file, *piece, content.store->name(),
                  block * kBlockSize + (piece->offset - first * kBlockSize));
    }
    block += end - first;
    report((end - first) * kBlockSize);
  }
}

void Writer::write() {
  lay_out();
  // What nobody writes is zero: the output starts empty, and grows to its length at once.
  output_.set_size(blocks_ * kBlockSize);
  write_super_block();
  for (const Inode& inode : inodes_) write_inode(inode);
  meta_.flush();
  for (const Inode& inode : inodes_) {
    if (inode.node->type == NodeType::kRegular) write_file_data(inode);
  }
  data_.flush();
  output_.commit();
}

}  // namespace

void write_erofs(const Tree& tree, const std::string& path, const WriteOptions& options) {
  Writer(tree, path, options).write();
}

}  // namespace teacup::images
