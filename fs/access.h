// The permission check of path_resolution(7), on plain fields: usable by the walk without references.
#pragma once

#include "fs/credentials.h"
#include "fs/inode.h"
#include "kernel/abi/process.h"

namespace teacup::fs {

inline constexpr u32 kMayRead = 4;
inline constexpr u32 kMayWrite = 2;
inline constexpr u32 kMayExecute = 1;

inline bool may_access(const Inode& inode, const Credentials& credentials, u32 may) {
  u32 mode = inode.mode;
  u32 granted = mode & 7;
  if (credentials.fsuid == inode.uid) {
    granted = mode >> 6 & 7;
  } else if (((mode >> 3 ^ mode) & 7 & may) != 0 && credentials.in_group(inode.gid)) {
    granted = mode >> 3 & 7;
  }
  if ((may & ~granted) == 0) return true;
  bool directory = (mode & abi::kS_IFMT) == abi::kS_IFDIR;
  if (credentials.has(abi::kCAP_DAC_OVERRIDE)) {
    // Execution wants at least one x bit, even of root.
    if (directory || (may & 1) == 0 || (mode & 0111) != 0) return true;
  }
  return credentials.has(abi::kCAP_DAC_READ_SEARCH) && (may == 4 || (directory && (may & 2) == 0));
}

}  // namespace teacup::fs
