// Opening: open(2), openat2(2), and what exec wants.
#include "fs/access.h"
#include "fs/node_file.h"
#include "fs/vfs.h"
#include "fs/vfs_internal.h"
#include "fs/vfs_state.h"
#include "fs/walk.h"
#include "kernel/base/memory.h"

namespace teacup::fs {

namespace {

// What F_GETFL does not show: they mattered only for the opening.
constexpr u32 kOpenOnly = abi::kO_CREAT | abi::kO_EXCL | abi::kO_NOCTTY | abi::kO_TRUNC | abi::kO_CLOEXEC;

u32 wanted_access(u32 flags) {
  u32 may = 0;
  switch (flags & abi::kO_ACCMODE) {
    case abi::kO_RDONLY:
      may = kMayRead;
      break;
    case abi::kO_WRONLY:
      may = kMayWrite;
      break;
    default:
      may = kMayRead | kMayWrite;
  }
  if ((flags & abi::kO_TRUNC) != 0) may |= kMayWrite;
  return may;
}

Result<Ref<File>> open_found(const Caller& caller, const Path& path, u32 flags, bool created) {
  Inode& inode = path.inode();
  if ((flags & abi::kO_DIRECTORY) != 0 && !inode.is_directory()) return Errno::NOTDIR;
  if ((flags & abi::kO_PATH) != 0) {
    return make_node_file(path, flags & (abi::kO_PATH | abi::kO_DIRECTORY | abi::kO_NOFOLLOW));
  }
  if (inode.is_symlink()) return Errno::LOOP;
  u32 may = wanted_access(flags);
  if (inode.is_directory() && ((may & kMayWrite) != 0 || (flags & abi::kO_CREAT) != 0)) return Errno::ISDIR;
  if (!created) TRY(check_access(path, caller.credentials, may));
  u32 type = inode.type();
  if ((type == abi::kS_IFCHR || type == abi::kS_IFBLK) && (path.mount().flags.load() & kMountNoDev) != 0) {
    return Errno::ACCES;
  }
  if ((flags & abi::kO_NOATIME) != 0 && !is_owner_or_capable(inode, caller.credentials)) return Errno::PERM;
  Ref<File> file = TRY(inode.open(path, flags | (created ? kOpenCreated : 0)));
  file->set_flags((file->flags() & ~kOpenOnly) | abi::kO_LARGEFILE);
  if ((flags & abi::kO_TRUNC) != 0 && inode.is_regular() && !created) {
    TRY(file->truncate(0));
    if ((inode.mode & (abi::kS_ISUID | abi::kS_ISGID)) != 0) drop_privilege_bits(inode, caller.credentials);
  }
  notify_path(path, abi::kIN_OPEN);
  return file;
}

Result<Ref<File>> open_or_create(const Caller& caller, const Path* start, std::string_view path, u32 flags,
                                 u32 mode, u32 resolve_flags) {
  Walker walker(caller, start, path, resolve_flags);
  for (;;) {
    TRY(walker.to_parent());
    std::string_view name = walker.name();
    if (name.empty() || name == "." || name == "..") {
      if (name == "..")
        TRY(Walker(caller, start, path, resolve_flags).to_end());  // which may leave what it must not
      return (flags & abi::kO_EXCL) != 0 ? Errno::EXIST : Errno::ISDIR;
    }
    if (walker.trailing_slash()) return Errno::ISDIR;
    if (!walker.at().inode().is_directory()) return Errno::NOTDIR;
    auto found = lookup_dentry(walker.at().dentry(), name);
    if (!found.ok() && !found.is(Errno::NOENT)) return found.error();
    if (found.ok() && !found.value()->negative()) {
      if ((flags & abi::kO_EXCL) != 0) return Errno::EXIST;
      Path existing(walker.at().mount_ref(), std::move(found).value());
      enter_mounts(existing);
      if ((resolve_flags & kNoXdev) != 0 && &existing.mount() != &walker.at().mount()) return Errno::XDEV;
      if (existing.inode().is_symlink()) {
        if ((flags & abi::kO_NOFOLLOW) != 0) return Errno::LOOP;
        if (TRY(walker.follow(std::move(existing)))) return open_found(caller, walker.at(), flags, false);
        continue;
      }
      return open_found(caller, existing, flags, false);
    }
    NewNode node;
    node.mode = abi::kS_IFREG | (mode & 07777);
    auto made = make_entry(caller, walker.at(), name, node);
    if (made.is(Errno::EXIST) && (flags & abi::kO_EXCL) == 0) {
      // Somebody was quicker; or a link that leads nowhere stood there all the time.
      Walker again(caller, start, path, resolve_flags | kFollow);
      auto end = again.to_end();
      if (end.ok()) return open_found(caller, end.value(), flags, false);
      if (end.is(Errno::NOENT)) return Errno::OVERTAKEN;  // and somebody else quicker still
      return end.error();
    }
    Path created = TRY(std::move(made));
    return open_found(caller, created, flags, true);
  }
}

Result<Ref<File>> open_temporary(const Caller& caller, const Path* start, std::string_view path, u32 flags,
                                 u32 mode, u32 resolve_flags) {
  if ((flags & abi::kO_ACCMODE) == abi::kO_RDONLY) return Errno::INVAL;
  Path directory = TRY(resolve(caller, start, path, resolve_flags | kDirectory | kFollow));
  TRY(check_access(directory, caller.credentials, kMayWrite | kMayExecute));
  NewNode node = TRY(new_node(caller, directory.inode(), abi::kS_IFREG | (mode & 07777)));
  node.linkable = (flags & abi::kO_EXCL) == 0;
  Ref<Inode> inode = TRY(directory.inode().create_unnamed(node));
  char storage[24];
  TextBuffer name(storage);
  name.add('#').udec(inode->ino);
  Ref<Dentry> dentry = TRY(dcache().make_uncached(directory.dentry(), name.text(), std::move(inode)));
  dcache().remove(*dentry);  // shown as "/tmp/#7 (deleted)"
  Path unnamed(directory.mount_ref(), std::move(dentry));
  Ref<File> file = TRY(make_node_file(unnamed, flags));
  file->set_flags((file->flags() & ~kOpenOnly) | abi::kO_LARGEFILE);
  return file;
}

}  // namespace

Result<Ref<File>> open_existing(const Caller& caller, const Path& path, u32 flags) {
  return open_found(caller, path, flags & ~static_cast<u32>(abi::kO_CREAT), false);
}

Result<Ref<File>> open_path(const Caller& caller, const Path* start, std::string_view path, u32 flags,
                            u32 mode, u32 resolve_flags) {
  if ((flags & abi::kO_PATH) != 0) {
    flags &= abi::kO_PATH | abi::kO_DIRECTORY | abi::kO_NOFOLLOW | abi::kO_CLOEXEC;
  }
  if ((flags & abi::kO_TMPFILE) == abi::kO_TMPFILE) {
    return open_temporary(caller, start, path, flags, mode, resolve_flags);
  }
  if ((flags & abi::kO_CREAT) != 0) {
    if ((flags & abi::kO_DIRECTORY) != 0) return Errno::INVAL;
    for (;;) {
      auto file = open_or_create(caller, start, path, flags, mode, resolve_flags);
      if (!file.is(Errno::OVERTAKEN)) return file;
    }
  }
  if ((flags & abi::kO_NOFOLLOW) == 0) resolve_flags |= kFollow;
  if ((flags & abi::kO_DIRECTORY) != 0) resolve_flags |= kDirectory;
  Path found = TRY(resolve(caller, start, path, resolve_flags));
  return open_found(caller, found, flags, false);
}

Result<void> deny_writes(Inode& inode) {
  s32 count = inode.writers.load();
  do {
    if (count > 0) return Errno::TXTBSY;
  } while (!inode.writers.compare_exchange_weak(count, count - 1));
  return {};
}

void allow_writes(Inode& inode) {
  inode.writers.fetch_add(1);
}

Result<Ref<File>> open_program(const Caller& caller, const Path* start, std::string_view path,
                               u32 resolve_flags) {
  Path found = TRY(resolve(caller, start, path, resolve_flags | kFollow));
  Inode& inode = found.inode();
  if (inode.is_symlink()) return Errno::LOOP;
  if (!inode.is_regular() || (found.mount().flags.load() & kMountNoExec) != 0) return Errno::ACCES;
  TRY(check_access(inode, caller.credentials, kMayExecute));
  TRY(deny_writes(inode));
  auto file = make_node_file(found, abi::kO_RDONLY | abi::kO_LARGEFILE);
  if (file.ok()) {
    static_cast<NodeFile&>(*file.value()).set_writer_share(-1);
  } else {
    allow_writes(inode);
  }
  return file;
}

Result<size_t> read_at(File& file, u64 offset, std::span<std::byte> into) {
  IoDest dest(into);
  while (dest.remaining() > 0) {
    size_t count = TRY(file.read(dest, offset + dest.done()));
    if (count == 0) break;
  }
  return dest.done();
}

Result<HeapArray<char>> read_whole(const Caller& caller, std::string_view path, size_t limit) {
  Ref<File> file = TRY(open_path(caller, nullptr, path, abi::kO_RDONLY));
  abi::Stat stat;
  TRY(file->stat(stat));
  if (stat.size < 0 || static_cast<u64>(stat.size) > limit) return Errno::FBIG;
  auto text = TRY(HeapArray<char>::create(static_cast<size_t>(stat.size)));
  if (text.size() == 0) return text;
  size_t count = TRY(read_at(*file, 0, std::as_writable_bytes(std::span(text.data(), text.size()))));
  if (count == text.size()) return text;
  auto shorter = TRY(HeapArray<char>::create(count));
  if (count > 0) memcpy(shorter.data(), text.data(), count);
  return shorter;
}

}  // namespace teacup::fs
