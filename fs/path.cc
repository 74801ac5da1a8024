#include "fs/path.h"

#include "fs/access.h"
#include "fs/anonymous.h"
#include "fs/vfs.h"
#include "fs/vfs_state.h"
#include "fs/walk.h"
#include "kernel/base/memory.h"

namespace teacup::fs {

Result<Path> resolve(const Caller& caller, const Path* start, std::string_view path, u32 flags) {
  Walker walker(caller, start, path, flags);
  return walker.to_end();
}

Result<void> stat_path(const Caller& caller, const Path* start, std::string_view path, u32 flags,
                       FileStatus& status) {
  Walker walker(caller, start, path, flags);
  return walker.stat_end(status);
}

void stat_place(const Path& path, FileStatus& status) {
  status.birth = path.inode().btime;
  status.mount = path.mount().id();
  status.is_mount_root = &path.dentry() == &path.mount().root();
}

Result<Parent> resolve_parent(const Caller& caller, const Path* start, std::string_view path, u32 flags) {
  Walker walker(caller, start, path, flags);
  TRY(walker.to_parent());
  return Parent{walker.at(), walker.name(), walker.trailing_slash()};
}

Result<Path> resolve_child(const Path& directory, std::string_view name) {
  Ref<Dentry> dentry = TRY(lookup_dentry(directory.dentry(), name));
  if (dentry->negative()) return Errno::NOENT;
  Path child(directory.mount_ref(), std::move(dentry));
  enter_mounts(child);
  return child;
}

// Names come from the end, so they are put in from the end of a scratch buffer.
Result<void> path_text(const Path& path, const Path& root, TextBuffer& text) {
  HeapArray<char> scratch = TRY(HeapArray<char>::create(abi::kPATH_MAX));
  size_t start = scratch.size();
  bool unreachable = false;
  bool deleted = path.dentry().is_deleted();
  Path at = path;
  while (!(at == root)) {
    if (&at.dentry() == &at.mount().root()) {
      Ref<Mount> parent;
      Ref<Dentry> mountpoint;
      if (!vfs_state().mounts.above(at.mount(), parent, mountpoint)) {
        unreachable = true;
        break;
      }
      at = Path(std::move(parent), std::move(mountpoint));
      continue;
    }
    Ref<Dentry> parent;
    char name[256];
    size_t length;
    if (!dcache().parent_and_name(at.dentry(), parent, name, length)) {
      unreachable = true;
      break;
    }
    if (length + 1 > start) return Errno::NAMETOOLONG;
    start -= length;
    memcpy(scratch.data() + start, name, length);
    scratch[--start] = '/';
    at = Path(at.mount_ref(), std::move(parent));
  }
  if (Inode& inode = path.inode(); unreachable && is_anonymous(inode)) {
    describe_anonymous(inode, text);
    return {};
  }
  if (unreachable && !(path.mount_ref() == vfs_state().unnamed)) text.add("(unreachable)");
  if (start == scratch.size()) text.add('/');
  text.add(std::string_view(scratch.data() + start, scratch.size() - start));
  if (deleted) text.add(" (deleted)");
  if (text.full()) return Errno::NAMETOOLONG;
  return {};
}

Result<Path> path_of(File& file) {
  if (const Path* path = file.path(); path != nullptr && *path) return *path;
  return anonymous_path(file);
}

}  // namespace teacup::fs
