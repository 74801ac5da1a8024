// The calls on names and attributes, for kernel/syscall and for the kernel's own use: permission checks,
// read-only mounts, the cache of names, notifications. All take no lock the caller may hold, and none is held
// when they return.
#pragma once

#include "fs/access.h"
#include "fs/filesystem.h"
#include "fs/image.h"
#include "fs/path.h"
#include "kernel/abi/boot.h"

namespace teacup::fs {

// --- Start. vfs_start(): empty tables, before registrations. fs_start(): the machine's tree: images[0] under
// a memory layer, the types "proc", "sysfs", "devtmpfs", "devpts" and "tmpfs" where registered, volumes,
// /etc/hosts and /etc/hostname.
void vfs_start();
Result<void> fs_start(const abi::BootConfig& config);
// Instead of fs_start(), for who shows an image without a machine: `image` under a memory layer, and nothing
// else.
Result<void> fs_start_tree(Ref<Image> image, bool read_only);
// The machine ends: what --upper keeps is written.
Result<void> fs_finish();
// Why fs_start() failed, for the user; null if it did not.
const char* fs_start_problem();
Path root_path();
// As whose the user's own files on the host appear (-v): the user the machine's first process runs as.
void set_volume_owner(u32 uid, u32 gid);

// --- Access. `may`: kMayRead | kMayWrite | kMayExecute (4, 2, 1, as in a mode).
Result<void> check_access(const Inode& inode, const Credentials& credentials, u32 may);  // EACCES
// The same with the mount's flags: EROFS for writing.
Result<void> check_access(const Path& path, const Credentials& credentials, u32 may);
// Is the caller the owner, or has CAP_FOWNER.
bool is_owner_or_capable(const Inode& inode, const Credentials& credentials);

// --- Opening. flags are open(2)'s; `mode` with O_CREAT is before the umask; `resolve` ResolveFlag for
// openat2.
Result<Ref<File>> open_path(const Caller& caller, const Path* start, std::string_view path, u32 flags,
                            u32 mode = 0, u32 resolve = 0);
// Opens what `path` already leads to.
Result<Ref<File>> open_existing(const Caller& caller, const Path& path, u32 flags);
// For exec: a regular file with execute permission that nobody writes to, and that nobody may open for
// writing until the File is gone. EACCES, ETXTBSY.
Result<Ref<File>> open_program(const Caller& caller, const Path* start, std::string_view path,
                               u32 resolve = 0);
Result<void> deny_writes(Inode& inode);  // ETXTBSY while somebody has it open for writing
void allow_writes(Inode& inode);

// Reads up to into.size() bytes at `offset`; short only at the end of the file.
Result<size_t> read_at(File& file, u64 offset, std::span<std::byte> into);
// A whole small file (at most `limit` bytes: EFBIG) into the heap.
Result<HeapArray<char>> read_whole(const Caller& caller, std::string_view path, size_t limit);

// --- Names.
Result<Path> make_node(const Caller& caller, const Path* start, std::string_view path, u32 mode, u64 rdev);
Result<void> make_directory(const Caller& caller, const Path* start, std::string_view path, u32 mode);
Result<void> make_symlink(const Caller& caller, std::string_view target, const Path* start,
                          std::string_view path);
Result<void> make_link(const Caller& caller, const Path& existing, const Path* start, std::string_view path);
Result<void> remove_name(const Caller& caller, const Path* start, std::string_view path);
Result<void> remove_directory(const Caller& caller, const Path* start, std::string_view path);
Result<void> rename_path(const Caller& caller, const Path* old_start, std::string_view old_path,
                         const Path* new_start, std::string_view new_path, u32 flags);

// --- Attributes.
// stat(2) of what `path` leads to, as resolve() has it; but what nobody has looked at yet stays out of the
// caches.
Result<void> stat_path(const Caller& caller, const Path* start, std::string_view path, u32 flags,
                       FileStatus& status);
// Of that, what is known of a path without its inode's stat().
void stat_place(const Path& path, FileStatus& status);
Result<void> change_mode(const Caller& caller, const Path& path, u32 mode);
inline constexpr u32 kKeepId = ~u32{0};
Result<void> change_owner(const Caller& caller, const Path& path, u32 uid, u32 gid);
struct TimeChange {
  enum Kind : u8 { kOmit, kNow, kSet } kind = kNow;
  abi::Timespec time{};
};
Result<void> change_times(const Caller& caller, const Path& path, TimeChange atime, TimeChange mtime);
Result<void> truncate_path(const Caller& caller, const Path& path, u64 size);
// After a write by somebody without CAP_FSETID: set-user-id and set-group-id bits go.
void drop_privilege_bits(Inode& inode, const Credentials& credentials);

// Whether the caller may read or change this extended attribute, xattr(7). EPERM, EACCES, EROFS, ENODATA;
// ENOTSUP for namespaces that there are not.
Result<void> check_xattr(const Credentials& credentials, const Path& path, std::string_view name, bool write);

// --- Mounts.
Result<void> mount_file_system(Ref<FileSystem> file_system, const Path& where, u32 flags);
Result<void> bind_mount(const Path& what, const Path& where, u32 flags);
Result<void> unmount(const Path& where, u32 flags);  // EINVAL: not a mount's root; EBUSY
// Calls visit(context, mount) for each mount of the tree, in order of mounting.
void for_each_mount(void (*visit)(void* context, Mount& mount), void* context);

// Mounts it for the kernel's own use, in no tree, and for good: its root.
Result<Path> internal_root(Ref<FileSystem> file_system);
// The path of an inode that its file system made by itself, as `name`, where it caches no names.
Result<Path> path_in(const Path& directory, std::string_view name, Ref<Inode> inode);

// --- Notifications (inotify(7)): `mask` happened to `path`; to its parent's watchers too.
void notify_path(const Path& path, u32 mask, u32 cookie = 0);
// To the inode itself alone, not to its parent's watchers.
void notify_inode(Inode& inode, u32 mask);
// An entry of `directory` appeared, went or moved.
void notify_entry(Inode& directory, std::string_view name, u32 mask, u32 cookie = 0);
u32 next_notify_cookie();

// --- Inodes without a name: memfd_create(2), shared anonymous memory that wants a File. A regular file in
// the machine's internal memory file system.
Result<Ref<File>> open_unnamed(std::string_view name, u32 flags);

// Something was read: sets atime, by the rule of relatime (mount(8)): if it is not later than the last
// change, or, with `ask_clock`, a day old. An inode that does not differ from its image otherwise is still
// only a cache entry: its atime is forgotten with it.
void touch_access_time(const Path& path, bool ask_clock);
// Something was written to what has no content of its own: a FIFO.
void touch_modification_time(const Path& path);
// Whether that would change anything, but for the clock.
bool is_access_time_due(const Mount& mount, const Inode& inode);

}  // namespace teacup::fs
