// ext4 through libext2fs. The library allocates blocks, keeps bitmaps, extent trees and checksums; inode
// numbers, directory blocks and the order of everything are ours, because the library's own ext2fs_link()
// searches the whole directory for each name, and its time stamps are the clock's.
//
// Directories are linear (a reader finds names so without dir_index). There is no journal, since the image is
// only read, and no lost+found, so that the tree is what was packed; e2fsck asks for neither.

#include "images/ext4_writer.h"

#include <ext2fs/ext2fs.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "images/error.h"
#include "images/file.h"
#include "images/inode_order.h"

namespace teacup::images {

namespace {

constexpr u32 kFirstInode = EXT2_GOOD_OLD_FIRST_INO;  // 11: the tree's, but the root
constexpr u64 kInodeSize = 256;
constexpr u64 kBlocksPerGroup = kBlockSize * 8;
constexpr u64 kMaxExtent = 32768;  // blocks
constexpr u64 kDirectoryTail = sizeof(ext2_dir_entry_tail);

void check(errcode_t error, const std::string& what) {
  if (error != 0) throw Error(what + ": " + error_message(error));
}

struct CloseExtents {
  void operator()(ext2_extent_handle* handle) const { ext2fs_extent_free(handle); }
};

u8 entry_type(NodeType type) {
  switch (type) {
    case NodeType::kRegular:
      return EXT2_FT_REG_FILE;
    case NodeType::kDirectory:
      return EXT2_FT_DIR;
    case NodeType::kCharDevice:
      return EXT2_FT_CHRDEV;
    case NodeType::kBlockDevice:
      return EXT2_FT_BLKDEV;
    case NodeType::kFifo:
      return EXT2_FT_FIFO;
    case NodeType::kSocket:
      return EXT2_FT_SOCK;
    case NodeType::kSymlink:
      return EXT2_FT_SYMLINK;
  }
  return EXT2_FT_UNKNOWN;
}

u64 entry_size(size_t name_length) {
  return align_up(8 + name_length, 4);
}

// The blocks of a directory, as libext2fs wants them but for the checksums.
class DirectoryBlocks {
 public:
  void add(std::string_view name, u32 inode, u8 type) {
    const u64 need = entry_size(name.size());
    if (bytes_.empty() || used_ + need > kBlockSize - kDirectoryTail) start_block();
    auto* entry = at(used_);
    entry->inode = inode;
    entry->rec_len = static_cast<u16>(need);
    entry->name_len = static_cast<u16>(name.size() | (type << 8));
    std::memcpy(entry->name, name.data(), name.size());
    last_ = used_;
    used_ += need;
  }

  // The last entry of a block reaches to its tail.
  std::vector<std::byte>& finish() {
    if (!bytes_.empty()) at(last_)->rec_len = static_cast<u16>(kBlockSize - kDirectoryTail - last_);
    return bytes_;
  }

 private:
  void start_block() {
    finish();
    bytes_.resize(bytes_.size() + kBlockSize);
    used_ = 0;
  }
  ext2_dir_entry* at(u64 offset) {
    return reinterpret_cast<ext2_dir_entry*>(bytes_.data() + bytes_.size() - kBlockSize + offset);
  }

  std::vector<std::byte> bytes_;
  u64 used_ = 0;
  u64 last_ = 0;
};

class Writer {
 public:
  Writer(const Tree& tree, const std::string& path, const WriteOptions& options)
      : options_(options), output_(path), order_(tree) {}
  ~Writer() {
    if (fs_ != nullptr) ext2fs_free(fs_);
  }
  Writer(const Writer&) = delete;

  void write();

 private:
  static u32 number_of(u32 index) { return index == 0 ? EXT2_ROOT_INO : kFirstInode + index - 1; }

  u64 needed_blocks() const;
  void make_file_system();
  void reserve_inodes();
  void write_node(u32 index);
  void fill_inode(ext2_inode_large& inode, const InodeOrder::Entry& entry) const;
  void write_directory(u32 number, ext2_inode_large& inode, const InodeOrder::Entry& entry);
  void write_directory_blocks(u32 number, ext2_inode_large& inode, DirectoryBlocks& blocks);
  void write_symlink(u32 number, ext2_inode_large& inode, const Node& node);
  void write_content(u32 number, ext2_inode_large& inode, const Content& content);
  void write_xattrs(u32 number, const Node& node);
  void write_inode(u32 number, ext2_inode_large& inode);

  // Calls use(first block on disk, blocks, first block in file) for each run it allocates for file blocks
  // [first, end).
  template <typename Use>
  void allocate(u32 number, ext2_inode_large& inode, u64 first, u64 end, Use use);

  const WriteOptions& options_;
  OutputFile output_;
  InodeOrder order_;
  ext2_filsys fs_ = nullptr;
  u64 goal_ = 0;  // where the next block is looked for
  u64 data_total_ = 0;
  u64 data_done_ = 0;
};

// No less than the tree takes, and little more.
u64 Writer::needed_blocks() const {
  u64 blocks = 64;
  for (const InodeOrder::Entry& entry : order_.entries()) {
    const Node& node = *entry.node;
    if (!node.xattrs.empty()) ++blocks;
    if (node.is_directory()) {
      u64 bytes = entry_size(1) + entry_size(2);
      for (const auto& [name, child] : node.children) bytes += entry_size(name.size());
      // A block wastes less than its largest entry.
      blocks += bytes / (kBlockSize - kDirectoryTail - entry_size(255)) + 1;
    } else if (node.type == NodeType::kSymlink) {
      ++blocks;
    } else if (node.type == NodeType::kRegular) {
      const BlockRanges ranges = data_chunks(node.content, 0);
      const u64 data = total_blocks(ranges);
      const u64 extents = ranges.size() + 2 * (data / kMaxExtent) + 1;
      blocks += data + (extents > 4 ? extents / 100 + 3 : 0);
    }
  }
  return blocks;
}

void Writer::make_file_system() {
  const u64 inodes = align_up(kFirstInode + order_.entries().size() + 16, 16);
  u64 blocks = needed_blocks() + inodes * kInodeSize / kBlockSize;
  // Each group has two bitmaps, its share of the inode table rounded up, and perhaps a copy of the super
  // block and the group descriptors.
  const u64 groups = blocks / (kBlocksPerGroup - 64) + 1;
  const u64 descriptors = blocks_of(groups * 64) + 1;
  blocks += groups * (4 + descriptors);
  // A last group too small for its own tables would be cut off.
  const u64 overhead = inodes / groups * kInodeSize / kBlockSize + descriptors + 128;
  if (blocks % kBlocksPerGroup < overhead) blocks += overhead;
  if (blocks > ~u32{0}) throw Error("the tree is larger than this writer's ext4 can be, 16 TiB");

  ext2_super_block parameters{};
  parameters.s_rev_level = EXT2_DYNAMIC_REV;
  parameters.s_log_block_size = kBlockBits - EXT2_MIN_BLOCK_LOG_SIZE;
  parameters.s_log_cluster_size = parameters.s_log_block_size;
  parameters.s_inode_size = kInodeSize;
  parameters.s_inodes_count = static_cast<u32>(inodes);
  parameters.s_log_groups_per_flex = 4;
  ext2fs_blocks_count_set(&parameters, blocks);
  parameters.s_feature_compat = EXT2_FEATURE_COMPAT_EXT_ATTR;
  parameters.s_feature_incompat =
      EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS | EXT4_FEATURE_INCOMPAT_FLEX_BG;
  parameters.s_feature_ro_compat = EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE |
                                   EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
                                   EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE | EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;

  output_.set_size(blocks * kBlockSize);
  check(ext2fs_initialize(output_.temporary_path().c_str(), EXT2_FLAG_64BITS, &parameters, unix_io_manager,
                          &fs_),
        "cannot make an ext4 file system");
  ext2_super_block& super = *fs_->super;
  // libext2fs takes a zero for "ask the clock".
  fs_->now = static_cast<time_t>(std::max<s64>(options_.time, 1));
  super.s_mkfs_time = super.s_lastcheck = super.s_wtime = static_cast<u32>(fs_->now);
  std::copy(options_.uuid.begin(), options_.uuid.end(), super.s_uuid);
  std::copy(options_.uuid.begin(), options_.uuid.end(), reinterpret_cast<u8*>(super.s_hash_seed));
  std::memcpy(super.s_volume_name, options_.label.data(), std::min<size_t>(options_.label.size(), 16));
  super.s_max_mnt_count = static_cast<u16>(-1);
  super.s_min_extra_isize = super.s_want_extra_isize = sizeof(ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
  super.s_checksum_type = EXT2_CRC32C_CHKSUM;
  super.s_def_hash_version = EXT2_HASH_HALF_MD4;
  super.s_flags |= EXT2_FLAGS_SIGNED_HASH;
  ext2fs_init_csum_seed(fs_);
  check(ext2fs_allocate_tables(fs_), "cannot lay out the ext4 file system");
  for (dgrp_t group = 0; group < fs_->group_desc_count; ++group) {
    // The file is new, so its inode tables are zeros already.
    ext2fs_bg_flags_set(fs_, group, EXT2_BG_INODE_ZEROED);
    ext2fs_group_desc_csum_set(fs_, group);
  }
}

void Writer::reserve_inodes() {
  for (u32 number = 1; number < kFirstInode; ++number) {
    ext2fs_inode_alloc_stats2(fs_, number, +1, number == EXT2_ROOT_INO ? 1 : 0);
  }
}

void Writer::write_inode(u32 number, ext2_inode_large& inode) {
  check(ext2fs_write_inode_full(fs_, number, reinterpret_cast<ext2_inode*>(&inode), sizeof(inode)),
        "cannot write an inode of " + output_.path());
}

template <typename Use>
void Writer::allocate(u32 number, ext2_inode_large& inode, u64 first, u64 end, Use use) {
  auto* small = reinterpret_cast<ext2_inode*>(&inode);
  inode.i_flags |= EXT4_EXTENTS_FL;
  ext2_extent_handle_t raw = nullptr;
  check(ext2fs_extent_open2(fs_, number, small, &raw), "cannot start an extent tree");
  const std::unique_ptr<ext2_extent_handle, CloseExtents> handle(raw);
  if (first > 0) {
    // Behind what is there: runs come in order.
    const errcode_t error = ext2fs_extent_goto(raw, first - 1);
    if (error != EXT2_ET_EXTENT_NOT_FOUND) check(error, "cannot extend an extent tree");
  }
  while (first < end) {
    blk64_t block = 0;
    blk64_t count = 0;
    check(ext2fs_new_range(fs_, 0, goal_, std::min(end - first, kMaxExtent), nullptr, &block, &count),
          "cannot find room in " + output_.path());
    count = std::min<u64>({count, end - first, kMaxExtent});
    ext2fs_block_alloc_stats_range(fs_, block, static_cast<blk_t>(count), +1);
    check(ext2fs_iblk_add_blocks(fs_, small, count), "cannot count blocks");
    ext2fs_extent extent{};
    extent.e_pblk = block;
    extent.e_lblk = first;
    extent.e_len = static_cast<u32>(count);
    extent.e_flags = EXT2_EXTENT_FLAGS_LEAF;
    goal_ = block + count;
    check(ext2fs_extent_insert(raw, EXT2_EXTENT_INSERT_AFTER, &extent), "cannot add an extent");
    check(ext2fs_extent_fix_parents(raw), "cannot add an extent");
    use(block, count, first);
    first += count;
  }
}

void set_size(ext2_inode_large& inode, u64 size) {
  inode.i_size = static_cast<u32>(size);
  inode.i_size_high = static_cast<u32>(size >> 32);
}

void Writer::write_directory_blocks(u32 number, ext2_inode_large& inode, DirectoryBlocks& blocks) {
  std::vector<std::byte>& bytes = blocks.finish();
  set_size(inode, bytes.size());
  allocate(number, inode, 0, bytes.size() / kBlockSize, [&](u64 block, u64 count, u64 first) {
    for (u64 i = 0; i < count; ++i) {
      std::byte* data = bytes.data() + (first + i) * kBlockSize;
      auto* tail = reinterpret_cast<ext2_dir_entry_tail*>(data + kBlockSize - kDirectoryTail);
      ext2fs_initialize_dirent_tail(fs_, tail);
      check(ext2fs_write_dir_block4(fs_, block + i, data, 0, number), "cannot write a directory");
    }
  });
}

void Writer::write_directory(u32 number, ext2_inode_large& inode, const InodeOrder::Entry& entry) {
  DirectoryBlocks blocks;
  blocks.add(".", number, EXT2_FT_DIR);
  blocks.add("..", number_of(entry.parent), EXT2_FT_DIR);
  for (const auto& [name, child] : entry.node->children) {
    blocks.add(name, number_of(order_.index_of(*child)), entry_type(child->type));
  }
  write_directory_blocks(number, inode, blocks);
}

void Writer::write_symlink(u32 number, ext2_inode_large& inode, const Node& node) {
  if (node.target.size() >= kBlockSize) throw Error("a symlink's target is longer than 4095 bytes");
  set_size(inode, node.target.size());
  if (node.target.size() < sizeof(inode.i_block)) {
    std::memcpy(inode.i_block, node.target.data(), node.target.size());
    return;
  }
  allocate(number, inode, 0, 1, [&](u64 block, u64, u64) {
    std::vector<std::byte> bytes(kBlockSize);
    std::memcpy(bytes.data(), node.target.data(), node.target.size());
    output_.file().write_at(bytes, block * kBlockSize, output_.path());
  });
}

void Writer::write_content(u32 number, ext2_inode_large& inode, const Content& content) {
  set_size(inode, content.size);
  if (content.pieces.empty()) {
    allocate(number, inode, 0, 0, [](u64, u64, u64) {});
    return;
  }
  const std::shared_ptr<const File> file = content.store->open();
  auto piece = content.pieces.begin();
  for (const auto& [first_of_range, end_of_range] : data_chunks(content, 0)) {
    allocate(number, inode, first_of_range, end_of_range, [&](u64 block, u64 count, u64 first) {
      const u64 from = first * kBlockSize;
      const u64 to = (first + count) * kBlockSize;
      // A piece may reach over several runs.
      for (auto p = piece; p != content.pieces.end() && p->offset < to; ++p) {
        const u64 start = std::max(from, p->offset);
        const u64 end = std::min(to, p->offset + p->length);
        if (start < end) {
          copy_range(*file, p->store_offset + (start - p->offset), output_.file(),
                     block * kBlockSize + (start - from), end - start, content.store->name(), output_.path());
        }
        if (p->offset + p->length <= to) piece = p + 1;
      }
      data_done_ += count * kBlockSize;
      if (options_.progress) options_.progress(data_done_, data_total_);
    });
  }
}

void Writer::write_xattrs(u32 number, const Node& node) {
  if (node.xattrs.empty()) return;
  ext2_xattr_handle* handle = nullptr;
  check(ext2fs_xattrs_open(fs_, number, &handle), "cannot write extended attributes");
  errcode_t error = 0;
  for (const auto& [name, value] : node.xattrs) {
    if (error == 0) error = ext2fs_xattr_set(handle, name.c_str(), value.data(), value.size());
  }
  if (error == 0) error = ext2fs_xattrs_write(handle);
  ext2fs_xattrs_close(&handle);
  check(error, "cannot write extended attributes (ext4 has room for one block of them a file)");
}

// Seconds beyond 32 bits go into the low two bits of the extra field, nanoseconds into the others.
u32 extra_time(s64 seconds, u32 nanoseconds) {
  const auto epoch = static_cast<u32>(static_cast<u64>(seconds - static_cast<s32>(seconds)) >> 32) & 3;
  return (nanoseconds << 2) | epoch;
}

void Writer::fill_inode(ext2_inode_large& inode, const InodeOrder::Entry& entry) const {
  const Node& node = *entry.node;
  inode.i_mode = node.mode();
  inode.i_uid = static_cast<u16>(node.uid);
  inode.i_gid = static_cast<u16>(node.gid);
  inode.osd2.linux2.l_i_uid_high = static_cast<u16>(node.uid >> 16);
  inode.osd2.linux2.l_i_gid_high = static_cast<u16>(node.gid >> 16);
  if (entry.links > EXT2_LINK_MAX && !node.is_directory()) {
    throw Error("a file has more than 65000 hard links, which ext4 cannot hold");
  }
  inode.i_links_count = static_cast<u16>(entry.links >= EXT2_LINK_MAX ? 1 : entry.links);
  inode.i_atime = inode.i_ctime = inode.i_mtime = inode.i_crtime = static_cast<u32>(node.mtime);
  inode.i_atime_extra = inode.i_ctime_extra = inode.i_mtime_extra = inode.i_crtime_extra =
      extra_time(node.mtime, node.mtime_nsec);
  inode.i_extra_isize = sizeof(ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
}

void Writer::write_node(u32 index) {
  const InodeOrder::Entry& entry = order_.entries()[index];
  const Node& node = *entry.node;
  const u32 number = number_of(index);
  if (index != 0) ext2fs_inode_alloc_stats2(fs_, number, +1, node.is_directory() ? 1 : 0);
  ext2_inode_large inode{};
  fill_inode(inode, entry);
  switch (node.type) {
    case NodeType::kDirectory:
      write_directory(number, inode, entry);
      break;
    case NodeType::kRegular:
      write_content(number, inode, node.content);
      break;
    case NodeType::kSymlink:
      write_symlink(number, inode, node);
      break;
    case NodeType::kCharDevice:
    case NodeType::kBlockDevice:
      if (node.device_major < 256 && node.device_minor < 256) {
        inode.i_block[0] = node.device_major << 8 | node.device_minor;
      } else {
        inode.i_block[1] =
            (node.device_minor & 0xff) | node.device_major << 8 | (node.device_minor & ~u32{0xff}) << 12;
      }
      break;
    default:
      break;
  }
  write_inode(number, inode);
  write_xattrs(number, node);
}

void Writer::write() {
  for (const InodeOrder::Entry& entry : order_.entries()) {
    if (entry.node->type == NodeType::kRegular) {
      data_total_ += total_blocks(data_chunks(entry.node->content, 0)) * kBlockSize;
    }
  }
  make_file_system();
  reserve_inodes();
  for (u32 index = 0; index < order_.entries().size(); ++index) write_node(index);
  ext2_filsys fs = fs_;
  fs_ = nullptr;
  check(ext2fs_close_free(&fs), "cannot write " + output_.path());
  output_.commit();
}

}  // namespace

void write_ext4(const Tree& tree, const std::string& path, const WriteOptions& options) {
  Writer(tree, path, options).write();
}

}  // namespace teacup::images
