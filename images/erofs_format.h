// The EROFS on-disk format, as far as the writer uses it (Linux Documentation/filesystems/erofs.rst and the
// fs/erofs/erofs_fs.h of Linux 5.15–6.1). All fields are little endian, as this machine is.
#pragma once

#include "kernel/base/types.h"

namespace teacup::images::erofs {

inline constexpr u64 kSuperOffset = 1024;
inline constexpr u32 kMagic = 0xE0F5E1E2;
inline constexpr u64 kSlotSize = 32;  // a nid counts these from meta_blkaddr

inline constexpr u32 kCompatSuperChecksum = 0x1;
inline constexpr u32 kCompatMtime = 0x2;  // inode times are mtimes, not ctimes
inline constexpr u32 kIncompatChunkedFile = 0x4;

struct SuperBlock {
  u32 magic;
  u32 checksum;  // crc32c of block 0 from here on, with this field zero
  u32 feature_compat;
  u8 block_bits;
  u8 extension_slots;
  u16 root_nid;
  u64 inodes;
  u64 build_time;
  u32 build_time_nsec;
  u32 blocks;
  u32 meta_block;
  u32 xattr_block;
  u8 uuid[16];
  u8 volume_name[16];
  u32 feature_incompat;
  u16 compression_algorithms;
  u16 extra_devices;
  u16 device_table_slot;
  u8 directory_block_bits;
  u8 reserved[37];
};
static_assert(sizeof(SuperBlock) == 128);

// i_format: bit 0 extended, bits 1–3 the layout of the data.
enum class Layout : u16 { kFlatPlain = 0, kFlatInline = 2, kChunked = 4 };

struct CompactInode {
  u16 format;
  u16 xattr_count;
  u16 mode;
  u16 links;
  u32 size;
  u32 reserved;
  u32 data;  // first block | device | chunk format
  u32 number;
  u16 uid;
  u16 gid;
  u32 reserved2;
};
static_assert(sizeof(CompactInode) == 32);

struct ExtendedInode {
  u16 format;
  u16 xattr_count;
  u16 mode;
  u16 reserved;
  u64 size;
  u32 data;
  u32 number;
  u32 uid;
  u32 gid;
  u64 mtime;
  u32 mtime_nsec;
  u32 links;
  u8 reserved2[16];
};
static_assert(sizeof(ExtendedInode) == 64);

struct XattrHeader {  // before the inline xattrs of an inode
  u32 reserved;
  u8 shared_count;
  u8 reserved2[7];
};
static_assert(sizeof(XattrHeader) == 12);

struct XattrEntry {  // then the name without its prefix, then the value, padded to 4
  u8 name_length;
  u8 name_index;
  u16 value_size;
};
static_assert(sizeof(XattrEntry) == 4);

struct [[gnu::packed]] DirectoryEntry {
  u64 nid;
  u16 name_offset;  // in its directory block
  u8 file_type;
  u8 reserved;
};
static_assert(sizeof(DirectoryEntry) == 12);

inline constexpr u32 kNullBlock = ~u32{0};  // a hole
inline constexpr u32 kMaxChunkBits = 31;    // above the block's

}  // namespace teacup::images::erofs
