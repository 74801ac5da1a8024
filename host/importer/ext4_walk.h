// Inside Ext4Image: the inode as it is read, and the walk over a file's data that listing, reading and
// mapping share.
#pragma once

#include <ext2fs/ext2fs.h>

#include <cerrno>
#include <vector>

#include "host/importer/ext4_image.h"

namespace teacup::importer {

// An inode with the first part of what lies behind its fixed fields, where small attributes are.
struct RawInode : ext2_inode_large {
  u8 behind[256 - sizeof(ext2_inode_large)];

  u64 size() const { return i_size | u64{i_size_high} << 32; }
  // libext2fs takes the short form, not const.
  ext2_inode* raw() { return reinterpret_cast<ext2_inode*>(static_cast<ext2_inode_large*>(this)); }
};
static_assert(sizeof(RawInode) == 256);

// errcode_t to errno: what the host says is the host's, everything else is the image's fault.
inline int errno_of(errcode_t error) {
  switch (error) {
    case 0:
      return 0;
    case ENOMEM:
    case EXT2_ET_NO_MEMORY:
      return ENOMEM;
    case EIO:
    case EXT2_ET_SHORT_READ:
      return EIO;
    default:
      return EUCLEAN;
  }
}

struct FreeExtents {
  void operator()(ext2_extent_handle* handle) const { ext2fs_extent_free(handle); }
};

template <typename Use>
int Ext4Image::walk_extents(u64 number, const RawInode& inode, u64 offset, Use use) {
  const u64 block_size = fs_->blocksize;
  const u64 blocks = ext2fs_blocks_count(fs_->super);
  u64 expected = 0;  // file block: none may come before the end of the last
  abi::ImporterExtent pending{};
  bool more = true;
  bool bad = false;
  const auto flush = [&] {
    if (pending.length > 0 && pending.file_offset + pending.length > offset) more = use(pending);
    pending = {};
    return more;
  };
  // A physical block of 0 is for blocks that are allocated but not written: they read as a hole.
  auto add = [&](u64 logical, u64 physical, u64 length) {
    bad = logical < expected || (physical != 0 && (physical < fs_->super->s_first_data_block ||
                                                   physical >= blocks || length > blocks - physical));
    if (bad) return false;
    expected = logical + length;
    if (physical == 0) return true;
    const abi::ImporterExtent extent{logical * block_size, length * block_size, physical * block_size};
    if (pending.length > 0 && pending.file_offset + pending.length == extent.file_offset &&
        pending.image_offset + pending.length == extent.image_offset) {
      pending.length += extent.length;
      return true;
    }
    const bool go_on = flush();
    pending = extent;
    return go_on;
  };
  const int error = (inode.i_flags & EXT4_EXTENTS_FL) != 0 ? walk_extent_tree(number, inode, add)
                                                           : walk_block_map(number, inode, add);
  if (bad) return EUCLEAN;
  if (error != 0) return error;
  if (more) flush();
  return 0;
}

template <typename Use>
int Ext4Image::walk_extent_tree(u64 number, const RawInode& inode, Use& use) {
  ext2_extent_handle_t raw = nullptr;
  RawInode copy = inode;
  errcode_t error = ext2fs_extent_open2(fs_, static_cast<ext2_ino_t>(number), copy.raw(), &raw);
  if (error != 0) return errno_of(error);
  const std::unique_ptr<ext2_extent_handle, FreeExtents> handle(raw);
  ext2fs_extent extent{};
  for (int step = EXT2_EXTENT_ROOT;; step = EXT2_EXTENT_NEXT) {
    error = ext2fs_extent_get(raw, step, &extent);
    if (error == EXT2_ET_EXTENT_NO_NEXT || error == EXT2_ET_NO_CURRENT_NODE) return 0;
    if (error != 0) return errno_of(error);
    if ((extent.e_flags & EXT2_EXTENT_FLAGS_LEAF) == 0 || extent.e_len == 0) continue;
    const bool written = (extent.e_flags & EXT2_EXTENT_FLAGS_UNINIT) == 0;
    if (written && extent.e_pblk == 0) return EUCLEAN;
    if (!use(extent.e_lblk, written ? extent.e_pblk : 0, extent.e_len)) return 0;
  }
}

template <typename Use>
int Ext4Image::walk_block_map(u64 number, const RawInode& inode, Use& use) {
  // A small file needs nothing but its inode, which libext2fs would read again.
  if (inode.size() <= u64{EXT2_NDIR_BLOCKS} * fs_->blocksize) {
    for (u64 i = 0; i < EXT2_NDIR_BLOCKS; ++i) {
      if (inode.i_block[i] != 0 && !use(i, u64{inode.i_block[i]}, u64{1})) break;
    }
    return 0;
  }
  const auto visit = [](ext2_filsys, blk64_t* block, e2_blkcnt_t logical, blk64_t, int, void* data) -> int {
    if (logical < 0 || *block == 0) return 0;
    return (*static_cast<Use*>(data))(static_cast<u64>(logical), u64{*block}, u64{1}) ? 0 : BLOCK_ABORT;
  };
  std::vector<char> buffer(size_t{fs_->blocksize} * 3);
  return errno_of(ext2fs_block_iterate3(fs_, static_cast<ext2_ino_t>(number),
                                        BLOCK_FLAG_READ_ONLY | BLOCK_FLAG_DATA_ONLY, buffer.data(), visit,
                                        &use));
}

}  // namespace teacup::importer
