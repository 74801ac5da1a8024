// FUSE's requests, answered by a MountedTree.
#pragma once

#define FUSE_USE_VERSION 35
#include <fuse3/fuse_lowlevel.h>

#include "host/mount/mounted_tree.h"

namespace teacup::mount {

struct FuseContext {
  MountedTree& tree;
  double cache_seconds;  // how long the host's kernel may keep names and attributes
};

// For fuse_session_new(), whose user data is a FuseContext.
const fuse_lowlevel_ops& fuse_calls();

}  // namespace teacup::mount
