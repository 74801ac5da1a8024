// Requests to the importer, the filtered process that parses file systems the kernel does not parse itself
// (ext2/3/4, squashfs). The kernel side, fs/, asks through RingOp::kImporter; the broker copies the request
// out of the arena, has host/importer serve it, and copies the answer into the asker's response buffer.
//
// A request is an ImporterRequest, followed by name_length bytes of name where the operation takes one. The
// slot's result is -errno, or the length of the response, which is an ImporterResponse followed by `count`
// records as the operation says. A record that has text behind it says its own `size`, a multiple of 8.
// Nothing in a response is to be trusted to be consistent with the image or with another response: it comes
// from a process that parses hostile bytes. That every record lies inside the response is checked by who
// reads it (ImporterRecords does).
//
// Errors common to all: EUCLEAN (the image is malformed there), EIO (the image cannot be read, or parsing it
// killed the importer), EINVAL (malformed request), ENOENT (no such image, or the inode is not in use),
// ERANGE (the response buffer is too small for one record; 128 KiB always suffices).
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "kernel/base/types.h"

namespace teacup::abi {

enum class ImporterOp : u32 {
  // → one ImporterInfo. What is wrong with an image as a whole was said when the machine started.
  kInfo = 1,
  // inode: a directory; cursor: 0, or the last response's `next`. → ImporterEntry records, with or without
  // "."
  // and "..", in the order of the image, each with its inode's attributes: list and stat in one trip.
  // ENOTDIR.
  kReadDirectory,
  // inode: a directory; name. → one ImporterEntry. ENOENT, ENOTDIR.
  kLookup,
  // inode. → one ImporterInode.
  kInode,
  // inode: a regular file; cursor: file offset to start at. → ImporterExtent records in order of file offset.
  // What lies between them is hole. With kDataByRead set on the inode: EOPNOTSUPP, or, if it has kHasHoles
  // too, where there are data, with an image_offset of 0.
  kExtents,
  // inode: a regular file; cursor: file offset; length. → `count` bytes, fewer than asked for at the end of
  // the file or of the response buffer. Works for every file; holes read as zeros. data_offset: where in the
  // arena the bytes go, in place of the response, which is their head alone; 0: nowhere else.
  kRead,
  // inode: a symlink. → `count` bytes, without a NUL. EINVAL when it is none.
  kReadLink,
  // inode. → ImporterXattr records, all of them.
  kXattrs,
};

struct ImporterRequest {
  ImporterOp op;
  u32 image;  // number of the image in the machine, from 0
  u64 inode;
  u64 cursor;
  u64 length;
  u32 name_length;
  u32 reserved;
  u64 data_offset;
};

struct ImporterResponse {
  u32 count;  // records, or bytes
  u32 reserved;
  u64 next;  // cursor of the next request; 0: that was all
};

struct ImporterInfo {
  u64 root;  // inode number of the root directory
  u64 blocks;
  u64 free_blocks;
  u64 inodes;
  u64 free_inodes;
  u32 block_size;
  u32 magic;        // statfs(2)'s f_type
  u8 uuid[16];      // f_fsid
  u32 name_limit;   // bytes
  u32 extents_map;  // 1: raw extents on page boundaries may be mapped from the image file
};

// A run of file data stored as it is at `image_offset` of the image file.
struct ImporterExtent {
  u64 file_offset;
  u64 length;  // bytes; may reach past the end of the file, whose size counts
  u64 image_offset;
};

inline constexpr u32 kImporterInlineExtents = 4;

enum ImporterInodeFlags : u32 {
  kDataByRead = 1,         // file data have no extents: read them with kRead
  kExtentsComplete = 2,    // `extents` holds all of them
  kImporterHasXattrs = 4,  // kXattrs is worth asking
  kHasHoles = 8,           // beside kDataByRead: kExtents is worth asking
};

struct ImporterTime {
  s64 seconds;
  u32 nanoseconds;
  u32 reserved;
};

struct ImporterInode {
  u64 number;
  u64 size;
  u64 blocks;  // of 512 bytes, as st_blocks
  u32 mode;    // type and permissions
  u32 links;
  u32 uid;
  u32 gid;
  u32 device_major;  // of a device
  u32 device_minor;
  u32 generation;
  u32 flags;  // ImporterInodeFlags
  ImporterTime accessed;
  ImporterTime modified;
  ImporterTime changed;
  ImporterTime born;  // 0 where the image does not know
  u32 extent_count;
  u32 reserved;
  ImporterExtent extents[kImporterInlineExtents];  // of a regular file: the first ones, for small files all
};

// An entry of a directory; the name follows, then, of a symlink, its target, neither with a NUL.
struct ImporterEntry {
  u32 size;  // of the whole record
  u16 name_length;
  u16 target_length;  // 0: not a symlink, or ask with kReadLink
  u64 cursor;         // of the entry after this one, for telldir
  // The inode's errno when its attributes cannot be had (the entry's name is still good): then only
  // inode.number is valid, and the mode's type bits as the directory has them.
  u32 error;
  u32 reserved;
  ImporterInode inode;

  std::string_view name() const { return {reinterpret_cast<const char*>(this + 1), name_length}; }
  std::string_view target() const {
    return {reinterpret_cast<const char*>(this + 1) + name_length, target_length};
  }
  u64 text_size() const { return u64{name_length} + target_length; }
};

// An extended attribute; its full name ("user.x") follows, then its value.
struct ImporterXattr {
  u32 size;  // of the whole record
  u16 name_length;
  u16 reserved;
  u32 value_length;
  u32 reserved2;

  std::string_view name() const { return {reinterpret_cast<const char*>(this + 1), name_length}; }
  std::string_view value() const {
    return {reinterpret_cast<const char*>(this + 1) + name_length, value_length};
  }
  u64 text_size() const { return u64{name_length} + value_length; }
};

static_assert(sizeof(ImporterRequest) == 48 && sizeof(ImporterResponse) == 16 && sizeof(ImporterInfo) == 72);
static_assert(sizeof(ImporterExtent) == 24 && sizeof(ImporterInode) == 224 && sizeof(ImporterEntry) == 248);
static_assert(sizeof(ImporterXattr) == 16);

inline constexpr u64 kImporterSufficientResponse = 128 * KiB;
inline constexpr u64 kImporterMaxRead = 1 * MiB;
inline constexpr u64 kImporterMaxResponse =
    kImporterMaxRead + 4 * KiB;  // no more is filled of a larger buffer

// Walks over the ImporterEntry or ImporterXattr records of a response of `length` bytes (the slot's result):
// next() yields each in turn, null after the last, and null early when the response contradicts itself.
// `response` must be 8-byte aligned.
template <typename Record>
class ImporterRecords {
 public:
  explicit ImporterRecords(std::span<const std::byte> response) : rest_(response) {
    if (rest_.size() < sizeof(ImporterResponse)) {
      rest_ = {};
      return;
    }
    left_ = reinterpret_cast<const ImporterResponse*>(rest_.data())->count;
    rest_ = rest_.subspan(sizeof(ImporterResponse));
  }

  const Record* next() {
    if (left_ == 0 || rest_.size() < sizeof(Record)) return nullptr;
    const auto* record = reinterpret_cast<const Record*>(rest_.data());
    if (record->size > rest_.size() || record->size % 8 != 0 ||
        record->size < sizeof(Record) + record->text_size()) {
      left_ = 0;
      return nullptr;
    }
    rest_ = rest_.subspan(record->size);
    --left_;
    return record;
  }

 private:
  std::span<const std::byte> rest_;
  u32 left_ = 0;
};

}  // namespace teacup::abi
