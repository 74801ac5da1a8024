// EROFS on-disk structures (Linux: Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h). Little-endian.
#pragma once

#include "kernel/base/types.h"

namespace teacup::fs::erofs {

inline constexpr u64 kSuperOffset = 1024;
inline constexpr u32 kMagic = 0xe0f5e1e2;
inline constexpr u64 kSlot = 32;  // nids count these

// feature_incompat.
inline constexpr u32 kZeroPadding = 1;  // only says how LZ4 blocks are padded: nothing to do without any
inline constexpr u32 kCompressionConfigs = 2;
inline constexpr u32 kChunkedFile = 4;
inline constexpr u32 kDeviceTable = 8;
inline constexpr u32 kTailPacking = 0x10;
inline constexpr u32 kFragments = 0x20;
inline constexpr u32 kXattrPrefixes = 0x40;

struct SuperBlock {
  u32 magic;
  u32 checksum;
  u32 feature_compat;
  u8 block_bits;
  u8 extension_slots;
  u16 root_nid;
  u64 inode_count;
  u64 build_time;
  u32 build_time_nsec;
  u32 blocks;
  u32 meta_block;
  u32 xattr_block;
  u8 uuid[16];
  u8 volume_name[16];
  u32 feature_incompat;
  u16 compression;
  u16 extra_devices;
  u16 device_slot;
  u8 directory_block_bits;
  u8 xattr_prefix_count;
  u32 xattr_prefix_start;
  u64 packed_nid;
  u8 reserved[24];
};
static_assert(sizeof(SuperBlock) == 128);

// i_format: bit 0 is the version, bits 1-3 the layout.
enum Layout : u32 {
  kFlatPlain = 0,
  kCompressedFull = 1,
  kFlatInline = 2,
  kCompressedCompact = 3,
  kChunkBased = 4
};

struct CompactInode {
  u16 format;
  u16 xattr_count;
  u16 mode;
  u16 nlink;
  u32 size;
  u32 reserved;
  u32 union_field;  // first block, device number, or chunk format
  u32 ino;
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
  u32 union_field;
  u32 ino;
  u32 uid;
  u32 gid;
  u64 mtime;
  u32 mtime_nsec;
  u32 nlink;
  u8 reserved2[16];
};
static_assert(sizeof(ExtendedInode) == 64);

inline constexpr u32 kChunkBits = 0x1f;
inline constexpr u32 kChunkIndexes = 0x20;
inline constexpr u32 kNoBlock = ~u32{0};

struct ChunkIndex {
  u16 advise;
  u16 device;
  u32 block;
};
static_assert(sizeof(ChunkIndex) == 8);

struct [[gnu::packed]] DirEntry {
  u64 nid;
  u16 name_offset;
  u8 type;
  u8 reserved;
};
static_assert(sizeof(DirEntry) == 12);

struct XattrHeader {
  u32 name_filter;
  u8 shared_count;
  u8 reserved[7];
};
static_assert(sizeof(XattrHeader) == 12);

struct XattrEntry {
  u8 name_length;
  u8 name_index;
  u16 value_size;
};
static_assert(sizeof(XattrEntry) == 4);

}  // namespace teacup::fs::erofs
