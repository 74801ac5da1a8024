// Paths for files that have none (pipes, sockets, epoll…): what /proc/PID/fd/N leads to. Internal to fs/.
#pragma once

#include "fs/path.h"

namespace teacup::fs {

Result<void> anonymous_start();
Result<Path> anonymous_path(File& file);
bool is_anonymous(const Inode& inode);
void describe_anonymous(Inode& inode, TextBuffer& text);

}  // namespace teacup::fs
