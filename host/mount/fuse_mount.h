// `teacup mount`, without its command line: images, shown at a directory of the host's through FUSE.
#pragma once

#include <string>
#include <vector>

#include "kernel/base/types.h"

namespace teacup::mount {

struct MountOptions {
  std::vector<std::string> images;  // the lowest first
  std::string directory;
  bool writable = false;     // writes go to memory, and are lost at the end
  u64 memory = 0;            // bytes they may take; 0: the host's
  bool foreground = false;   // the caller waits for the end; else the mount lives on in a process of its own
  bool allow_other = false;  // other users than the caller may use it
};

// Returns the exit status: 0 when it is mounted (in the foreground: when it was, and is not any more). Throws
// images::Error: why it cannot be, and what to do.
int run_mount(const MountOptions& options);

}  // namespace teacup::mount
