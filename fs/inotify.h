// inotify(7).
//
// A watch hangs on an inode (Inode::marks) and belongs to an inotify file, which queues its events. The VFS
// calls notify_watchers() where Inode::watch_mask says that somebody may care.
//
// Locks: one for all watches of the machine (kFileLocks); wake-ups and dropped references after it.
#pragma once

#include "fs/file.h"

namespace teacup::fs {

class Path;

// Creates the machine's lock of watches. Once.
void inotify_start();

// flags: IN_NONBLOCK. EMFILE beyond what is sane.
Result<Ref<File>> make_inotify(u32 flags);

// inotify_add_watch(2) on what `path` leads to: the watch's number. EINVAL: `file` is no inotify file, or an
// empty mask; EEXIST (IN_MASK_CREATE), ENOMEM.
Result<s32> inotify_add(File& file, const Path& path, u32 mask);
Result<void> inotify_remove(File& file, s32 watch);  // EINVAL

// FsHooks::notify.
void notify_watchers(Inode& watched, u32 mask, u32 cookie, std::string_view name);

}  // namespace teacup::fs
