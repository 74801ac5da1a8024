// Calls that make, remove and move names: mknod(2), mkdir(2), symlink(2), link(2), unlink(2), rmdir(2),
// rename(2).
//
// Several processes change the same names at once. Each call must come out as if it happened at one moment.
// Linux holds a lock of the directory from looking a name up to changing it; here a look-up may have to ask
// the broker, and no lock is held meanwhile. So a call looks, checks, and has the file system make the
// change, which says OVERTAKEN if the name no longer is what was found: then the call starts over. The cache
// of names is changed along with the file system, under its lock (NameChange): so what is found again is what
// overtook us, and each time round means that another call was done.
//
// What was found may have gone and come back meanwhile, as a hard link to the same file, and the cache have
// another entry for it by then. So what a call takes away it takes from the cache by name too: an entry left
// behind would be found, and be OVERTAKEN, for ever.
//
// Locks: kRename while a directory moves to another one, so that two such moves cannot make a loop. All else
// is the file systems' own. Entries that were looked up before a change are not cached (Dcache::add compares
// versions).
#include "fs/access.h"
#include "fs/vfs.h"
#include "fs/vfs_internal.h"
#include "fs/vfs_state.h"
#include "fs/walk.h"

namespace teacup::fs {

namespace {

template <typename Action>
class OnChange final : public NameChange {
 public:
  explicit OnChange(Action action) : action_(action) {}
  void changed() override { action_(); }

 private:
  Action action_;
};

template <typename Attempt>
Result<void> until_settled(Attempt attempt) {
  for (;;) {
    auto result = attempt();
    if (!result.is(Errno::OVERTAKEN)) return result;
  }
}

bool is_dots(std::string_view name) {
  return name == "." || name == "..";
}

Result<void> may_change_entries(const Caller& caller, const Path& directory) {
  if (directory.mount().read_only()) return Errno::ROFS;
  return check_access(directory, caller.credentials, kMayWrite | kMayExecute);
}

// Also the sticky bit's rule.
Result<void> may_delete(const Caller& caller, const Path& directory, const Inode& victim) {
  TRY(may_change_entries(caller, directory));
  const Credentials& credentials = caller.credentials;
  const Inode& parent = directory.inode();
  if ((parent.mode & abi::kS_ISVTX) != 0 && credentials.fsuid != victim.uid &&
      credentials.fsuid != parent.uid && !credentials.has(abi::kCAP_FOWNER)) {
    return Errno::PERM;
  }
  return {};
}

// For calls that make a name: its parent, and that it is not there yet.
Result<Parent> resolve_new(const Caller& caller, const Path* start, std::string_view path, bool directory) {
  Parent parent = TRY(resolve_parent(caller, start, path, 0));
  if (parent.name.empty() || is_dots(parent.name)) return Errno::EXIST;
  auto found = lookup_dentry(parent.directory.dentry(), parent.name);
  if (found.ok() && !found.value()->negative()) return Errno::EXIST;
  if (!found.ok() && !found.is(Errno::NOENT)) return found.error();
  if (parent.trailing_slash && !directory) return Errno::NOENT;
  return parent;
}

bool is_ancestor(Dentry& ancestor, const Path& path) {
  Ref<Dentry> at = path.dentry_ref();
  for (;;) {
    if (at == &ancestor) return true;
    Ref<Dentry> parent;
    char name[256];
    size_t length;
    if (!dcache().parent_and_name(*at, parent, name, length)) return false;
    at = std::move(parent);
  }
}

}  // namespace

Result<NewNode> new_node(const Caller& caller, Inode& directory, u32 mode) {
  NewNode node;
  node.mode = mode;
  if ((mode & abi::kS_IFMT) != abi::kS_IFLNK) node.mode &= ~caller.context.umask();
  node.uid = caller.credentials.fsuid;
  node.gid = caller.credentials.fsgid;
  if ((directory.mode & abi::kS_ISGID) != 0) {
    node.gid = directory.gid;
    if ((mode & abi::kS_IFMT) == abi::kS_IFDIR) {
      node.mode |= abi::kS_ISGID;
    } else if ((node.mode & (abi::kS_ISGID | abi::kS_IXGRP)) == (abi::kS_ISGID | abi::kS_IXGRP) &&
               !caller.credentials.in_group(node.gid) && !caller.credentials.has(abi::kCAP_FSETID)) {
      node.mode &= ~static_cast<u32>(abi::kS_ISGID);
    }
  }
  return node;
}

Result<Path> make_entry(const Caller& caller, const Path& directory, std::string_view name, NewNode wanted) {
  if (name.size() > abi::kNAME_MAX) return Errno::NAMETOOLONG;
  TRY(may_change_entries(caller, directory));
  NewNode node = TRY(new_node(caller, directory.inode(), wanted.mode));
  node.rdev = wanted.rdev;
  node.target = wanted.target;
  Inode& parent = directory.inode();
  u64 version = 0;
  OnChange change([&] {
    dcache().forget(directory.dentry(), name);  // a negative entry
    version = parent.entries_version.load(std::memory_order_seq_cst);
  });
  auto made = parent.create(name, node, change);
  // Made on the host, behind our back: what is cached is out of date.
  if (made.is(Errno::EXIST)) dcache().forget_negative(directory.dentry(), name);
  Ref<Inode> inode = TRY(std::move(made));
  // If the name may be something else again by now, the path is to the new node all the same.
  Ref<Dentry> dentry;
  auto cached = cache_entry(directory.dentry(), name, inode, version);
  if (cached.ok() && cached.value()->inode() == inode.get()) {
    dentry = std::move(cached).value();
  } else {
    dentry = TRY(dcache().make_uncached(directory.dentry(), name, std::move(inode)));
  }
  notify_entry(parent, name, abi::kIN_CREATE | (dentry->inode()->is_directory() ? abi::kIN_ISDIR : 0));
  return Path(directory.mount_ref(), std::move(dentry));
}

Result<Path> make_node(const Caller& caller, const Path* start, std::string_view path, u32 mode, u64 rdev) {
  u32 type = mode & abi::kS_IFMT;
  if (type == 0) type = abi::kS_IFREG;
  if (type == abi::kS_IFDIR) return Errno::PERM;
  if (type != abi::kS_IFREG && type != abi::kS_IFCHR && type != abi::kS_IFBLK && type != abi::kS_IFIFO &&
      type != abi::kS_IFSOCK) {
    return Errno::INVAL;
  }
  Parent parent = TRY(resolve_new(caller, start, path, false));
  if ((type == abi::kS_IFCHR || type == abi::kS_IFBLK) && !caller.credentials.has(abi::kCAP_MKNOD)) {
    TRY(may_change_entries(caller, parent.directory));
    return Errno::PERM;
  }
  NewNode node;
  node.mode = type | (mode & 07777);
  node.rdev = type == abi::kS_IFCHR || type == abi::kS_IFBLK ? rdev : 0;
  return make_entry(caller, parent.directory, parent.name, node);
}

Result<void> make_directory(const Caller& caller, const Path* start, std::string_view path, u32 mode) {
  Parent parent = TRY(resolve_new(caller, start, path, true));
  NewNode node;
  node.mode = abi::kS_IFDIR | (mode & (0777 | abi::kS_ISVTX));
  TRY(make_entry(caller, parent.directory, parent.name, node));
  return {};
}

Result<void> make_symlink(const Caller& caller, std::string_view target, const Path* start,
                          std::string_view path) {
  if (target.empty()) return Errno::NOENT;
  Parent parent = TRY(resolve_new(caller, start, path, false));
  NewNode node;
  node.mode = abi::kS_IFLNK | 0777;
  node.target = target;
  TRY(make_entry(caller, parent.directory, parent.name, node));
  return {};
}

Result<void> make_link(const Caller& caller, const Path& existing, const Path* start, std::string_view path) {
  Parent parent = TRY(resolve_new(caller, start, path, false));
  if (&parent.directory.mount() != &existing.mount()) return Errno::XDEV;
  TRY(may_change_entries(caller, parent.directory));
  Inode& inode = existing.inode();
  if (inode.is_directory()) return Errno::PERM;
  OnChange change([&] { dcache().forget(parent.directory.dentry(), parent.name); });
  TRY(parent.directory.inode().link(parent.name, inode, change));
  notify_entry(parent.directory.inode(), parent.name, abi::kIN_CREATE);
  notify_inode(existing.inode(), abi::kIN_ATTRIB);  // its link count
  return {};
}

namespace {

Result<void> remove_name_once(const Caller& caller, const Path* start, std::string_view path) {
  Parent parent = TRY(resolve_parent(caller, start, path, 0));
  if (parent.name.empty() || is_dots(parent.name)) return Errno::ISDIR;
  if (parent.directory.mount().read_only()) return Errno::ROFS;
  Ref<Dentry> dentry = TRY(lookup_dentry(parent.directory.dentry(), parent.name));
  if (dentry->negative()) return Errno::NOENT;
  Inode& victim = *dentry->inode();
  if (parent.trailing_slash) return victim.is_directory() ? Errno::ISDIR : Errno::NOTDIR;
  TRY(may_delete(caller, parent.directory, victim));
  if (victim.is_directory()) return Errno::ISDIR;
  if (dentry->is_mountpoint()) return Errno::BUSY;
  OnChange change([&] {
    dcache().remove(*dentry);
    dcache().forget(parent.directory.dentry(), parent.name);
  });
  TRY(parent.directory.inode().unlink(parent.name, victim, change));
  notify_inode(victim, abi::kIN_ATTRIB);  // its link count
  dentry = nullptr;                       // the last of it: its watchers hear first
  notify_entry(parent.directory.inode(), parent.name, abi::kIN_DELETE);
  return {};
}

Result<void> remove_directory_once(const Caller& caller, const Path* start, std::string_view path) {
  Parent parent = TRY(resolve_parent(caller, start, path, 0));
  if (parent.name.empty()) return Errno::BUSY;
  if (parent.name == ".") return Errno::INVAL;
  if (parent.name == "..") return Errno::NOTEMPTY;
  if (parent.directory.mount().read_only()) return Errno::ROFS;
  Ref<Dentry> dentry = TRY(lookup_dentry(parent.directory.dentry(), parent.name));
  if (dentry->negative()) return Errno::NOENT;
  Inode& victim = *dentry->inode();
  TRY(may_delete(caller, parent.directory, victim));
  if (!victim.is_directory()) return Errno::NOTDIR;
  if (dentry->is_mountpoint()) return Errno::BUSY;
  OnChange change([&] {
    dcache().remove(*dentry);
    dcache().forget(parent.directory.dentry(), parent.name);
  });
  TRY(parent.directory.inode().remove_directory(parent.name, victim, change));
  dentry = nullptr;
  notify_entry(parent.directory.inode(), parent.name, abi::kIN_DELETE | abi::kIN_ISDIR);
  return {};
}

}  // namespace

Result<void> remove_name(const Caller& caller, const Path* start, std::string_view path) {
  return until_settled([&] { return remove_name_once(caller, start, path); });
}
Result<void> remove_directory(const Caller& caller, const Path* start, std::string_view path) {
  return until_settled([&] { return remove_directory_once(caller, start, path); });
}

namespace {

struct Rename {
  Parent from, to;
  Ref<Dentry> moved, victim;  // victim: null if the new name is free
  u32 flags;
  NewNode whiteout;
};

Result<void> check_rename(const Caller& caller, const Rename& rename) {
  const Inode& moved = *rename.moved->inode();
  bool exchange = (rename.flags & abi::kRENAME_EXCHANGE) != 0;
  TRY(may_delete(caller, rename.from.directory, moved));
  if (!rename.victim) {
    TRY(may_change_entries(caller, rename.to.directory));
  } else {
    const Inode& victim = *rename.victim->inode();
    TRY(may_delete(caller, rename.to.directory, victim));
    if (!exchange) {
      if (moved.is_directory() && !victim.is_directory()) return Errno::NOTDIR;
      if (!moved.is_directory() && victim.is_directory()) return Errno::ISDIR;
    }
    if (rename.victim->is_mountpoint()) return Errno::BUSY;
  }
  if (rename.moved->is_mountpoint()) return Errno::BUSY;
  // A directory's ".." changes.
  if (!(rename.from.directory.dentry_ref() == rename.to.directory.dentry_ref())) {
    if (moved.is_directory()) TRY(check_access(moved, caller.credentials, kMayWrite));
    if (exchange && rename.victim->inode()->is_directory()) {
      TRY(check_access(*rename.victim->inode(), caller.credentials, kMayWrite));
    }
  }
  return {};
}

Result<void> check_ancestors(const Rename& rename) {
  if (is_ancestor(*rename.moved, rename.to.directory)) return Errno::INVAL;
  if (rename.victim && is_ancestor(*rename.victim, rename.from.directory)) {
    return (rename.flags & abi::kRENAME_EXCHANGE) != 0 ? Errno::INVAL : Errno::NOTEMPTY;
  }
  return {};
}

Result<void> do_rename(const Rename& rename) {
  TRY(check_ancestors(rename));
  Inode& old_parent = rename.from.directory.inode();
  Inode& new_parent = rename.to.directory.inode();
  Inode* victim = rename.victim ? rename.victim->inode() : nullptr;
  OnChange change([&] {
    if ((rename.flags & abi::kRENAME_EXCHANGE) != 0) {
      bool are_cached = rename.moved->is_hashed() && rename.victim->is_hashed();
      dcache().exchange(*rename.moved, *rename.victim);
      if (are_cached) return;
      dcache().forget(rename.to.directory.dentry(), rename.to.name);
    } else {
      dcache().move(*rename.moved, rename.to.directory.dentry(), rename.to.name, rename.victim.get());
    }
    dcache().forget(rename.from.directory.dentry(), rename.from.name);
  });
  RenameHow how;
  how.flags = rename.flags;
  if ((rename.flags & abi::kRENAME_WHITEOUT) != 0) how.whiteout = &rename.whiteout;
  return old_parent.rename(rename.from.name, *rename.moved->inode(), new_parent, rename.to.name, victim, how,
                           change);
}

}  // namespace

namespace {

Result<void> rename_once(const Caller& caller, const Path* old_start, std::string_view old_path,
                         const Path* new_start, std::string_view new_path, u32 flags) {
  if ((flags & ~(abi::kRENAME_NOREPLACE | abi::kRENAME_EXCHANGE | abi::kRENAME_WHITEOUT)) != 0) {
    return Errno::INVAL;
  }
  if ((flags & abi::kRENAME_EXCHANGE) != 0 &&
      (flags & (abi::kRENAME_NOREPLACE | abi::kRENAME_WHITEOUT)) != 0) {
    return Errno::INVAL;
  }
  Rename rename;
  rename.flags = flags;
  rename.from = TRY(resolve_parent(caller, old_start, old_path, 0));
  rename.to = TRY(resolve_parent(caller, new_start, new_path, 0));
  if (&rename.from.directory.mount() != &rename.to.directory.mount()) return Errno::XDEV;
  if (rename.from.name.empty() || is_dots(rename.from.name)) return Errno::BUSY;
  if (rename.to.name.empty() || is_dots(rename.to.name)) {
    return (flags & abi::kRENAME_NOREPLACE) != 0 ? Errno::EXIST : Errno::BUSY;
  }
  if (rename.from.directory.mount().read_only()) return Errno::ROFS;
  rename.moved = TRY(lookup_dentry(rename.from.directory.dentry(), rename.from.name));
  if (rename.moved->negative()) return Errno::NOENT;
  auto at_new = lookup_dentry(rename.to.directory.dentry(), rename.to.name);
  if (!at_new.ok() && !at_new.is(Errno::NOENT)) return at_new.error();
  if (at_new.ok() && !at_new.value()->negative()) rename.victim = std::move(at_new).value();
  if (rename.victim && (flags & abi::kRENAME_NOREPLACE) != 0) return Errno::EXIST;
  Inode& moved = *rename.moved->inode();
  // In Linux's order.
  bool exchange = (flags & abi::kRENAME_EXCHANGE) != 0;
  if (exchange && !rename.victim) return Errno::NOENT;
  if (exchange && rename.to.trailing_slash && !rename.victim->inode()->is_directory()) return Errno::NOTDIR;
  if (rename.from.trailing_slash && !moved.is_directory()) return Errno::NOTDIR;
  if (rename.to.trailing_slash && !moved.is_directory() && !exchange) return Errno::NOTDIR;
  TRY(check_ancestors(rename));
  // Two names of one file: nothing to do (rename(2)).
  if (rename.victim && rename.victim->inode() == &moved) return {};
  TRY(check_rename(caller, rename));
  // What overlayfs understands: a character device 0:0 that nobody may do anything with.
  if ((flags & abi::kRENAME_WHITEOUT) != 0) {
    rename.whiteout = TRY(new_node(caller, rename.from.directory.inode(), abi::kS_IFCHR));
  }

  bool is_directory = moved.is_directory();
  if (is_directory || (rename.victim && rename.victim->inode()->is_directory())) {
    LockGuard guard(vfs_state().rename_lock);
    TRY(do_rename(rename));
  } else {
    TRY(do_rename(rename));
  }

  u32 cookie = next_notify_cookie();
  u32 directory_flag = is_directory ? abi::kIN_ISDIR : 0;
  notify_entry(rename.from.directory.inode(), rename.from.name, abi::kIN_MOVED_FROM | directory_flag, cookie);
  notify_entry(rename.to.directory.inode(), rename.to.name, abi::kIN_MOVED_TO | directory_flag, cookie);
  if (rename.victim && !exchange) notify_inode(*rename.victim->inode(), abi::kIN_ATTRIB);
  notify_inode(moved, abi::kIN_MOVE_SELF);
  return {};
}

}  // namespace

Result<void> rename_path(const Caller& caller, const Path* old_start, std::string_view old_path,
                         const Path* new_start, std::string_view new_path, u32 flags) {
  return until_settled([&] { return rename_once(caller, old_start, old_path, new_start, new_path, flags); });
}

}  // namespace teacup::fs
