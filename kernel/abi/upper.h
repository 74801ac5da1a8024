// What --upper keeps: the memory layer's changes, as the kernel says them (fs/journal.cc) and the broker
// stores them (host/upper).
//
// RingOp::kUpper, a: UpperOp, b: arena offset, c: length. The result is -errno or what the operation says.
//
// What is appended are items, back to back, each as long as its head says, a multiple of 8. The broker does
// not look into them: it stores what one kAppend brought as one record, with a checksum. Records count from
// the commit on that follows them; what was appended and not committed is as if it had not been.
#pragma once

#include "kernel/base/types.h"

namespace teacup::abi {

enum class UpperOp : u64 {
  kRead = 1,  // into [b, b + c): the next record of those that count, from the first on; the items' length, 0
              // behind the last
  kAppend,    // items
  kCommit,    // c: 1 to return when all is on the disk. The file's size
  kAbort,     // what was appended since the last commit is gone
  kRewrite,   // what is appended from here on replaces, once committed, all that was there
};

inline constexpr u64 kUpperRecordSize = 256 * KiB;  // most that one kAppend brings

enum class UpperItemType : u32 { kInode = 1, kEntry, kXattrs, kXattr, kData, kHole, kGone };

struct UpperItem {
  UpperItemType type;
  u32 size;  // of the whole item
};

enum UpperInodeFlags : u32 {
  kUpperHasBelow = 1,   // `ino` is the number of a node of the image
  kUpperOwnXattrs = 2,  // its attributes are those of the kXattrs and kXattr items, not the image's
};

// An inode as it is now. Of a new symlink its target follows.
struct UpperInode {
  UpperItem head;
  u64 ino;
  u32 mode;
  u32 uid;
  u32 gid;
  u32 links;
  u64 rdev;
  u64 size;
  u64 below_end;  // up to where a file shows what the image has
  s64 times[8];   // atime, mtime, ctime, btime: seconds, nanoseconds
  u32 flags;
  u32 target_length;
};

// `directory`'s name, which follows, stands for `ino`; 0: for nothing.
struct UpperEntry {
  UpperItem head;
  u64 directory;
  u64 ino;
  u32 covers;  // the image has an entry of this name there
  u32 name_length;
};

// kXattrs: the inode has no attributes but those in kXattr items behind this one. kGone: it has no name left.
struct UpperMark {
  UpperItem head;
  u64 ino;
};

// Its name and value follow.
struct UpperXattr {
  UpperItem head;
  u64 ino;
  u32 name_length;
  u32 value_length;
};

// Whole pages of a file; of kData their bytes follow, those of kHole are zeros.
struct UpperPages {
  UpperItem head;
  u64 ino;
  u64 offset;
  u64 length;
};

}  // namespace teacup::abi
