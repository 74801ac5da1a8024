// What the files behind vfs.h share.
#pragma once

#include "fs/path.h"

namespace teacup::fs {

// A new node's owner and mode: umask, set-group-id directories.
Result<NewNode> new_node(const Caller& caller, Inode& directory, u32 mode);
// Makes `name` in the directory (owner and umask are applied here) and gives its path. EEXIST, EACCES, EROFS.
Result<Path> make_entry(const Caller& caller, const Path& directory, std::string_view name, NewNode node);

}  // namespace teacup::fs
