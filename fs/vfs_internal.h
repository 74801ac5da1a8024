// What the files behind vfs.h share.
#pragma once

#include "fs/path.h"

namespace teacup::fs {

// A new node's owner and mode: umask, set-group-id directories.
Result<NewNode> new_node(const Caller& caller, Inode& directory, u32 mode);
// Makes `name` in the directory (owner and umask are applied here) and gives its path. EEXIST, EACCES, EROFS.
Result<Path> make_entry(const Caller& caller, const Path& directory, std::string_view name, NewNode node);

// Caches that `name` is `inode`, as the file system said at `version` of its entries: Dcache::add. EAGAIN.
Result<Ref<Dentry>> cache_entry(Dentry& directory, std::string_view name, Ref<Inode> inode, u64 version);

// A name was looked up and is there: tells the broker, if --trace-files wants to know. No lock held.
void name_found(Dentry& dentry);

// Before memory for `pages` is asked for, with no lock held: if the machine is that near its limit, what is
// only cached and not used goes, oldest first: names, with them their inodes, with these their pages. It may
// not be enough.
void make_room(u64 pages);

}  // namespace teacup::fs
