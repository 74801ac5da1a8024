#include "fs/fs_context.h"

#include "fs/path.h"
#include "fs/vfs.h"

namespace teacup::fs {

Result<Ref<FsContext>> FsContext::create() {
  Ref<FsContext> context = TRY(make_ref<FsContext>());
  Path root = root_path();
  context->set_root(root);
  context->set_working_directory(root);
  return context;
}

void FsContext::destroy(FsContext* context) {
  teacup::destroy(context);
}

FsContext::~FsContext() {
  for (Place* place : {&root_, &working_directory_}) {
    if (Dentry* dentry = place->dentry.load(); dentry != nullptr) dentry->unref();
    if (Mount* mount = place->mount.load(); mount != nullptr) mount->unref();
  }
}

Result<Ref<FsContext>> FsContext::clone() {
  Ref<FsContext> copy = TRY(make_ref<FsContext>());
  copy->set_root(root());
  copy->set_working_directory(working_directory());
  copy->umask_.store(umask(), std::memory_order_relaxed);
  return copy;
}

Path FsContext::root() {
  LockGuard guard(lock_);
  return Path(Ref<Mount>::share(root_.mount.load()), Ref<Dentry>::share(root_.dentry.load()));
}

Path FsContext::working_directory() {
  LockGuard guard(lock_);
  return Path(Ref<Mount>::share(working_directory_.mount.load()),
              Ref<Dentry>::share(working_directory_.dentry.load()));
}

void FsContext::set(Place& place, const Path& path) {
  path.mount().ref();
  path.dentry().ref();
  Mount* old_mount;
  Dentry* old_dentry;
  {
    LockGuard guard(lock_);
    version_.fetch_add(1);
    old_mount = place.mount.exchange(&path.mount());
    old_dentry = place.dentry.exchange(&path.dentry());
    version_.fetch_add(1);
  }
  if (old_dentry != nullptr) old_dentry->unref();
  if (old_mount != nullptr) old_mount->unref();
}

void FsContext::set_root(const Path& path) {
  set(root_, path);
}
void FsContext::set_working_directory(const Path& path) {
  set(working_directory_, path);
}

}  // namespace teacup::fs
