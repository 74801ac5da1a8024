// Permission checks and calls that change attributes: chmod(2), chown(2), utimensat(2), truncate(2); and
// notifications.
#include "fs/access.h"
#include "fs/node_file.h"
#include "fs/vfs.h"
#include "fs/vfs_state.h"

namespace teacup::fs {

Result<void> check_access(const Inode& inode, const Credentials& credentials, u32 may) {
  if (!may_access(inode, credentials, may)) return Errno::ACCES;
  return {};
}

Result<void> check_access(const Path& path, const Credentials& credentials, u32 may) {
  Inode& inode = path.inode();
  if ((may & kMayWrite) != 0 && path.mount().read_only()) {
    u32 type = inode.type();
    if (type == abi::kS_IFREG || type == abi::kS_IFDIR || type == abi::kS_IFLNK) return Errno::ROFS;
  }
  if (inode.is_regular() && may == kMayExecute && (path.mount().flags.load() & kMountNoExec) != 0) {
    return Errno::ACCES;
  }
  return check_access(inode, credentials, may);
}

bool is_owner_or_capable(const Inode& inode, const Credentials& credentials) {
  return inode.uid == credentials.fsuid || credentials.has(abi::kCAP_FOWNER);
}

Result<void> change_mode(const Caller& caller, const Path& path, u32 mode) {
  if (path.mount().read_only()) return Errno::ROFS;
  Inode& inode = path.inode();
  const Credentials& credentials = caller.credentials;
  if (!is_owner_or_capable(inode, credentials)) return Errno::PERM;
  if (inode.is_symlink()) return Errno::NOTSUP;
  if (!credentials.in_group(inode.gid) && !credentials.has(abi::kCAP_FSETID)) {
    mode &= ~static_cast<u32>(abi::kS_ISGID);
  }
  AttributeChange change;
  change.mask = kSetMode;
  change.mode = mode & 07777;
  TRY(inode.set_attributes(change));
  notify_path(path, abi::kIN_ATTRIB);
  return {};
}

namespace {

// The permission bits without set-user-id, and without set-group-id but where it is none: on what the group
// cannot execute it stays, for those who could set it.
u32 without_privilege_bits(const Inode& inode, const Credentials& credentials) {
  u32 mode = inode.mode & 07777 & ~static_cast<u32>(abi::kS_ISUID);
  bool may_set = credentials.in_group(inode.gid) || credentials.has(abi::kCAP_FSETID);
  if ((mode & abi::kS_IXGRP) != 0 || !may_set) mode &= ~static_cast<u32>(abi::kS_ISGID);
  return mode;
}

}  // namespace

Result<void> change_owner(const Caller& caller, const Path& path, u32 uid, u32 gid) {
  if (path.mount().read_only()) return Errno::ROFS;
  Inode& inode = path.inode();
  const Credentials& credentials = caller.credentials;
  AttributeChange change;
  if (uid != kKeepId) {
    if (!credentials.has(abi::kCAP_CHOWN) && (credentials.fsuid != inode.uid || uid != inode.uid)) {
      return Errno::PERM;
    }
    change.mask |= kSetUid;
    change.uid = uid;
  }
  if (gid != kKeepId) {
    if (!credentials.has(abi::kCAP_CHOWN) &&
        (credentials.fsuid != inode.uid || (gid != inode.gid && !credentials.in_group(gid)))) {
      return Errno::PERM;
    }
    change.mask |= kSetGid;
    change.gid = gid;
  }
  // chown(2): set-user-id and set-group-id of an executable go, whoever asks.
  if (!inode.is_directory() && (inode.mode & (abi::kS_ISUID | abi::kS_ISGID)) != 0) {
    change.mask |= kSetMode;
    change.mode = without_privilege_bits(inode, credentials);
    // That is a change of mode, even if owner and group stay.
    if (change.mode != (inode.mode & 07777) && !is_owner_or_capable(inode, credentials)) return Errno::PERM;
  }
  TRY(inode.set_attributes(change));
  notify_path(path, abi::kIN_ATTRIB);
  return {};
}

Result<void> change_times(const Caller& caller, const Path& path, TimeChange atime, TimeChange mtime) {
  if (atime.kind == TimeChange::kOmit && mtime.kind == TimeChange::kOmit) return {};
  if (path.mount().read_only()) return Errno::ROFS;
  Inode& inode = path.inode();
  bool both_now = atime.kind == TimeChange::kNow && mtime.kind == TimeChange::kNow;
  if (!is_owner_or_capable(inode, caller.credentials)) {
    if (!both_now) return Errno::PERM;
    TRY(check_access(inode, caller.credentials, kMayWrite));
  }
  AttributeChange change;
  abi::Timespec now = timestamp_now();
  if (atime.kind != TimeChange::kOmit) {
    change.mask |= kSetAtime;
    change.atime = atime.kind == TimeChange::kNow ? now : atime.time;
  }
  if (mtime.kind != TimeChange::kOmit) {
    change.mask |= kSetMtime;
    change.mtime = mtime.kind == TimeChange::kNow ? now : mtime.time;
  }
  TRY(inode.set_attributes(change));
  notify_path(path, abi::kIN_ATTRIB);
  return {};
}

Result<void> check_xattr(const Credentials& credentials, const Path& path, std::string_view name,
                         bool write) {
  const Inode& inode = path.inode();
  if (write && path.mount().read_only()) return Errno::ROFS;
  if (name.starts_with("user.")) {
    if (!inode.is_regular() && !inode.is_directory()) return write ? Errno::PERM : Errno::NODATA;
    if (inode.is_directory() && (inode.mode & abi::kS_ISVTX) != 0 && write &&
        !is_owner_or_capable(inode, credentials)) {
      return Errno::PERM;
    }
    TRY(check_access(inode, credentials, write ? kMayWrite : kMayRead));
    if (name.size() == 5) return Errno::INVAL;
    return {};
  }
  if (name.starts_with("trusted.")) {
    if (!credentials.has(abi::kCAP_SYS_ADMIN)) return write ? Errno::PERM : Errno::NODATA;
    if (name.size() == 8) return Errno::INVAL;
    return {};
  }
  if (name.starts_with("security.")) {
    int needed = name == "security.capability" ? abi::kCAP_SETFCAP : abi::kCAP_SYS_ADMIN;
    if (write && !credentials.has(needed)) return Errno::PERM;
    if (name.size() == 9) return Errno::INVAL;
    return {};
  }
  if (!name.starts_with("system.")) TRY(check_access(inode, credentials, write ? kMayWrite : kMayRead));
  return Errno::NOTSUP;
}

namespace {

bool keeps_access_times(const Mount& mount, const Inode& inode) {
  return inode.file_system().keeps_access_times() && !mount.read_only() &&
         (mount.flags.load(std::memory_order_relaxed) & kMountNoAtime) == 0;
}

bool is_before_last_change(const Inode& inode) {
  auto is_later = [](const abi::Timespec& a, const abi::Timespec& b) {
    return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
  };
  return !is_later(inode.atime, inode.mtime) || !is_later(inode.atime, inode.ctime);
}

}  // namespace

bool is_access_time_due(const Mount& mount, const Inode& inode) {
  return is_before_last_change(inode) && keeps_access_times(mount, inode);
}

void touch_access_time(const Path& path, bool ask_clock) {
  constexpr s64 kDay = 24 * 60 * 60;
  Inode& inode = path.inode();
  bool is_due = is_before_last_change(inode);
  if ((!is_due && !ask_clock) || !keeps_access_times(path.mount(), inode)) return;
  abi::Timespec now = timestamp_now();
  if (!is_due && now.tv_sec - inode.atime.tv_sec < kDay) return;
  LockGuard guard(inode.lock);
  inode.atime = now;
}

void touch_modification_time(const Path& path) {
  Inode& inode = path.inode();
  if (!inode.file_system().keeps_access_times() || path.mount().read_only()) return;
  AttributeChange change;
  change.mask = kSetMtime;
  change.mtime = timestamp_now();
  static_cast<void>(inode.set_attributes(change));
}

Result<void> truncate_path(const Caller& caller, const Path& path, u64 size) {
  Inode& inode = path.inode();
  if (inode.is_directory()) return Errno::ISDIR;
  if (!inode.is_regular()) return Errno::INVAL;
  TRY(check_access(path, caller.credentials, kMayWrite));
  if (inode.writers.load() < 0) return Errno::TXTBSY;
  TRY(check_seals_for_size(inode, size));
  // Where there was nothing the times do not change either (unlike with ftruncate(2)); of host files the size
  // here may be an old one.
  bool was_empty = inode.file_system().keeps_access_times() && size == 0 && inode.size.load() == 0;
  if (!was_empty) TRY(inode.truncate(size));
  drop_privilege_bits(inode, caller.credentials);
  notify_path(path, abi::kIN_MODIFY);
  return {};
}

void drop_privilege_bits(Inode& inode, const Credentials& credentials) {
  if ((inode.mode & (abi::kS_ISUID | abi::kS_ISGID)) == 0 || credentials.has(abi::kCAP_FSETID)) return;
  if (!inode.is_regular()) return;
  u32 mode = without_privilege_bits(inode, credentials);
  if (mode == (inode.mode & 07777)) return;
  AttributeChange change;
  change.mask = kSetMode;
  change.mode = mode;
  static_cast<void>(inode.set_attributes(change));
}

void notify_path(const Path& path, u32 mask, u32 cookie) {
  auto notify = fs_hooks().notify;
  if (notify == nullptr) return;
  Inode& inode = path.inode();
  // The parent may change under us: then whether it is watched is read from memory that is still an inode's,
  // or was one; and asked again properly.
  Dentry* parent = path.dentry().parent();
  Inode* parent_inode = parent != nullptr ? parent->inode() : nullptr;
  bool own = (inode.watch_mask.load(std::memory_order_relaxed) & mask) != 0;
  bool parents =
      parent_inode != nullptr && (parent_inode->watch_mask.load(std::memory_order_relaxed) & mask) != 0;
  if (!own && !parents) return;
  u32 shown = mask | (inode.is_directory() ? abi::kIN_ISDIR : 0);
  if (parents) {
    Ref<Dentry> counted;
    char name[256];
    size_t length;
    if (dcache().parent_and_name(path.dentry(), counted, name, length)) {
      notify(*counted->inode(), shown, cookie, {name, length});
    }
  }
  if (own) notify(inode, shown, cookie, {});
}

void notify_inode(Inode& inode, u32 mask) {
  if (inode.watch_mask.load(std::memory_order_relaxed) == 0) return;
  if (inode.is_directory()) mask |= abi::kIN_ISDIR;
  if (auto notify = fs_hooks().notify; notify != nullptr) notify(inode, mask, 0, {});
}

void notify_entry(Inode& directory, std::string_view name, u32 mask, u32 cookie) {
  if ((directory.watch_mask.load(std::memory_order_relaxed) & mask) == 0) return;
  if (auto notify = fs_hooks().notify; notify != nullptr) notify(directory, mask, cookie, name);
}

u32 next_notify_cookie() {
  return vfs_state().next_cookie.fetch_add(1);
}

}  // namespace teacup::fs
