// The file tree's singleton (Root::kVfs): cache of names, mounts, registry. Internal to fs/.
#pragma once

#include "fs/dcache.h"
#include "fs/decoder.h"
#include "fs/file_locks.h"
#include "fs/filesystem.h"
#include "fs/mount_table.h"

namespace teacup::fs {

struct Registry {
  static constexpr size_t kMaxTypes = 24;
  static constexpr size_t kMaxDevices = 32;
  struct Device {
    u32 major, first, count;
    DeviceOpen open;
  };
  const FileSystemType* types[kMaxTypes] = {};
  size_t type_count = 0;
  Device devices[kMaxDevices] = {};
  size_t device_count = 0;
  FsHooks hooks;
};

struct VfsState {
  Dcache dcache;
  MountTable mounts;
  Registry registry;
  // One rename that moves a directory at a time: the tree must stay a tree.
  Mutex rename_lock{LockRank::kRename};
  RecordWaits record_waits;
  Ref<Mount> root;       // the machine's
  Ref<Mount> anonymous;  // of files without a path
  Ref<Mount> unnamed;    // memory files without a name (memfd)
  std::atomic<u32> next_device{20};
  std::atomic<u32> next_cookie{1};
  std::atomic<bool> tells_names{false};  // see names_used.cc
  const char* start_problem = nullptr;
  std::atomic<u64> no_reclaim_before{0};  // ns, monotonic: see reclaim.cc
  // As whose the user's own files on the host appear: the guest's user.
  std::atomic<u32> volume_uid{0};
  std::atomic<u32> volume_gid{0};
  Decoder decoder;
};

inline VfsState& vfs_state() {
  return *root<VfsState>(Root::kVfs);
}
inline Dcache& dcache() {
  return vfs_state().dcache;
}

}  // namespace teacup::fs
