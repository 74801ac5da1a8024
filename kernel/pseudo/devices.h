// /dev: the memory devices (mem(4)), and the file system that holds the nodes.
#pragma once

#include "fs/path.h"

namespace teacup::pseudo {

// Device numbers (Linux's admin-guide/devices.txt).
inline constexpr u32 kMemMajor = 1;
inline constexpr u32 kTtyAuxMajor = 5;  // 0: tty, 1: console, 2: ptmx
inline constexpr u32 kPtsMajor = 136;

// A file that is a device: knows the path it was opened by, and answers fstat with the node's inode.
class DeviceFile : public fs::File {
 public:
  DeviceFile(const fs::Path& path, u32 flags);
  fs::Inode* inode() override { return path_ ? &path_.inode() : nullptr; }
  const fs::Path* path() override { return path_ ? &path_ : nullptr; }

 private:
  fs::Path path_;
};

void register_memory_devices();
// "devtmpfs": a tmpfs filled with the usual nodes and links.
void register_devtmpfs();

}  // namespace teacup::pseudo
