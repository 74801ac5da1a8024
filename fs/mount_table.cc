// Locks: kMount for the list; inside it the cache's (kDentry), so that walks without references notice.
#include "fs/mount_table.h"

#include "fs/path.h"
#include "fs/vfs_state.h"

namespace teacup::fs {

void Mount::destroy(Mount* mount) {
  Dentry* root = std::exchange(mount->root_, nullptr);
  FileSystem* file_system = std::exchange(mount->file_system_, nullptr);
  root->unref();
  if (file_system->mounts.fetch_sub(1) == 1) {
    dcache().forget_all(*file_system);
    file_system->unmounted();
  }
  file_system->unref();
  // The memory stays a Mount's: see mount.h. A machine makes a handful.
}

Result<Ref<Mount>> MountTable::create(Ref<FileSystem> file_system, Ref<Dentry> root, u32 flags) {
  Ref<Mount> mount = TRY(make_ref<Mount>());
  file_system->mounts.fetch_add(1);
  mount->file_system_ = file_system.leak();
  mount->root_ = root.leak();
  mount->flags.store(flags);
  LockGuard guard(lock_);
  mount->id_ = next_id_++;
  return mount;
}

void MountTable::add_root(Ref<Mount> mount) {
  LockGuard guard(lock_);
  KERNEL_ASSERT(last_ == nullptr);
  last_ = mount.leak();
  first_.store(last_);
}

void MountTable::attach(Ref<Mount> mount, const Path& where) {
  where.mount().ref();
  where.dentry().ref();
  LockGuard guard(lock_);
  dcache().change_tree([&] {
    mount->parent_.store(&where.mount());
    mount->mountpoint_.store(&where.dentry());
    where.dentry().covered();
    Mount* added = mount.leak();
    if (last_ == nullptr) {
      first_.store(added);
    } else {
      last_->next_.store(added);
    }
    last_ = added;
  });
}

Result<void> MountTable::detach(Mount& mount, bool lazily) {
  Mount* parent;
  Dentry* mountpoint;
  {
    LockGuard guard(lock_);
    if (mount.parent() == nullptr) return Errno::INVAL;
    Mount* previous = nullptr;
    for (Mount* at = first_.load(); at != nullptr; at = at->next_.load()) {
      if (at->parent() == &mount) return Errno::BUSY;
      if (at->next_.load() == &mount) previous = at;
    }
    // The table's reference and the caller's.
    if (!lazily && mount.ref_count() > 2) return Errno::BUSY;
    parent = mount.parent();
    mountpoint = mount.mountpoint();
    dcache().change_tree([&] {
      (previous != nullptr ? previous->next_ : first_).store(mount.next_.load());
      if (last_ == &mount) last_ = previous;
      mount.next_.store(nullptr);
      mount.parent_.store(nullptr);
      mount.mountpoint_.store(nullptr);
      mountpoint->uncovered();
    });
  }
  parent->unref();
  mountpoint->unref();
  mount.unref();
  return {};
}

Mount* MountTable::child_uncounted(Mount& parent, Dentry& dentry) const {
  for (Mount* at = first_.load(std::memory_order_acquire); at != nullptr;
       at = at->next_.load(std::memory_order_acquire)) {
    if (at->parent() == &parent && at->mountpoint() == &dentry) return at;
  }
  return nullptr;
}

Ref<Mount> MountTable::child(Mount& parent, Dentry& dentry) {
  LockGuard guard(lock_);
  return Ref<Mount>::share(child_uncounted(parent, dentry));
}

bool MountTable::above(Mount& mount, Ref<Mount>& parent, Ref<Dentry>& mountpoint) {
  Ref<Mount> found_parent;
  Ref<Dentry> found_mountpoint;
  {
    LockGuard guard(lock_);
    if (mount.parent() == nullptr) return false;
    found_parent = Ref<Mount>::share(mount.parent());
    found_mountpoint = Ref<Dentry>::share(mount.mountpoint());
  }
  parent = std::move(found_parent);
  mountpoint = std::move(found_mountpoint);
  return true;
}

void MountTable::visit(void (*visit)(void* context, Mount& mount), void* context) {
  Ref<Mount> at;
  {
    LockGuard guard(lock_);
    at = Ref<Mount>::share(first_.load());
  }
  while (at) {
    visit(context, *at);
    Ref<Mount> next;
    {
      LockGuard guard(lock_);
      next = Ref<Mount>::share(at->next_.load());
    }
    at = std::move(next);
  }
}

}  // namespace teacup::fs
