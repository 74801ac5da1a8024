// The machine's mounts. Internal to fs/.
#pragma once

#include "fs/mount.h"
#include "kernel/sync/lock.h"

namespace teacup::fs {

class Path;

class MountTable {
 public:
  // A mount that is in no tree: the root's, and internal ones.
  Result<Ref<Mount>> create(Ref<FileSystem> file_system, Ref<Dentry> root, u32 flags);
  void add_root(Ref<Mount> mount);  // the machine's: shown with the others
  // Attaches; the table keeps a reference. Over a mount that is already there: on top of it.
  void attach(Ref<Mount> mount, const Path& where);
  Result<void> detach(Mount& mount, bool lazily);  // EBUSY, EINVAL
  // What is mounted on `dentry` as seen in `parent`; null. Uncounted: mounts' memory stays what it is, and
  // the walk checks the cache's sequence. `child` counts it.
  Mount* child_uncounted(Mount& parent, Dentry& dentry) const;
  Ref<Mount> child(Mount& parent, Dentry& dentry);
  // Counted parent and mountpoint; false for a root.
  bool above(Mount& mount, Ref<Mount>& parent, Ref<Dentry>& mountpoint);
  void visit(void (*visit)(void* context, Mount& mount), void* context);

 private:
  mutable Mutex lock_{LockRank::kMount};
  std::atomic<Mount*> first_{nullptr};
  Mount* last_ = nullptr;
  u32 next_id_ = 20;
};

}  // namespace teacup::fs
