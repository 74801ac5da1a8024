// EROFS on-disk structures (Linux: Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h of 5.15 to 6.1),
// for all who read or write them. Little endian, as this machine is.
#pragma once

#include "kernel/base/types.h"

namespace teacup::erofs {

inline constexpr u64 kSuperOffset = 1024;
inline constexpr u32 kMagic = 0xe0f5e1e2;
inline constexpr u64 kSlotSize = 32;  // a nid counts these, from meta_block on

inline constexpr u32 kCompatSuperChecksum = 1;
inline constexpr u32 kCompatMtime = 2;  // inode times are mtimes, not ctimes

inline constexpr u32 kIncompatZeroPadding = 1;  // only says how LZ4 blocks are padded
inline constexpr u32 kIncompatCompressionConfigs = 2;
inline constexpr u32 kIncompatChunkedFile = 4;
inline constexpr u32 kIncompatDeviceTable = 8;
inline constexpr u32 kIncompatTailPacking = 0x10;
inline constexpr u32 kIncompatFragments = 0x20;
inline constexpr u32 kIncompatXattrPrefixes = 0x40;

inline constexpr u32 kAlgorithmLz4 =
    1;  // of SuperBlock::compression_algorithms, where there are configurations

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
  u8 xattr_prefix_count;
  u32 xattr_prefix_start;
  u64 packed_nid;
  u8 reserved[24];
};
static_assert(sizeof(SuperBlock) == 128);

// i_format: bit 0 extended, bits 1-3 the layout of the data.
enum class Layout : u16 {
  kFlatPlain = 0,
  kCompressedFull = 1,
  kFlatInline = 2,
  kCompressedCompact = 3,
  kChunked = 4,
};

struct CompactInode {
  u16 format;
  u16 xattr_count;
  u16 mode;
  u16 links;
  u32 size;
  u32 reserved;
  u32 data;  // first block, device number, or chunk format
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

inline constexpr u32 kChunkBits = 0x1f;  // of the chunk format: above the block's
inline constexpr u32 kMaxChunkBits = kChunkBits;
inline constexpr u32 kChunkIndexes = 0x20;  // the map has ChunkIndex, else block numbers
inline constexpr u32 kNullBlock = ~u32{0};  // a hole

struct ChunkIndex {
  u16 advise;
  u16 device;
  u32 block;
};
static_assert(sizeof(ChunkIndex) == 8);

// Before the index of a compressed file.
struct MapHeader {
  u16 reserved;
  u16 tail_size;  // bytes of the last extent, where it lies behind the index
  u16 advise;
  u8 algorithms;    // of the two types of start, 4 bits each; 0: LZ4
  u8 cluster_bits;  // bits 0-2: above the block's; bit 7: the file is a fragment
};
static_assert(sizeof(MapHeader) == 8);

inline constexpr u16 kAdviseCompacted2B = 1;
inline constexpr u16 kAdviseBigCluster1 = 2;
inline constexpr u16 kAdviseBigCluster2 = 4;
inline constexpr u16 kAdviseInlineCluster = 8;

enum class ClusterType : u8 { kPlain = 0, kHead = 1, kBelongs = 2, kHead2 = 3 };

struct ClusterEntry {  // of a full index
  u16 advise;          // bits 0-1: ClusterType
  u16 start;
  u32 block;  // or two u16, how far to the start of the extent and to that of the next
};
static_assert(sizeof(ClusterEntry) == 8);

struct [[gnu::packed]] DirectoryEntry {
  u64 nid;
  u16 name_offset;  // in its directory block
  u8 type;
  u8 reserved;
};
static_assert(sizeof(DirectoryEntry) == 12);

struct XattrHeader {  // before the inline attributes of an inode
  u32 name_filter;
  u8 shared_count;
  u8 reserved[7];
};
static_assert(sizeof(XattrHeader) == 12);

struct XattrEntry {  // then the name without its prefix, then the value, padded to 4
  u8 name_length;
  u8 name_index;
  u16 value_size;
};
static_assert(sizeof(XattrEntry) == 4);

}  // namespace teacup::erofs
