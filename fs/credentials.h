// Who acts: the identity that permission checks see (credentials(7), capabilities(7)). A value; each task has
// its own.
#pragma once

#include <array>

#include "kernel/base/ref.h"
#include "kernel/base/types.h"

namespace teacup {

struct Credentials {
  u32 uid = 0, euid = 0, suid = 0, fsuid = 0;
  u32 gid = 0, egid = 0, sgid = 0, fsgid = 0;
  u64 effective = 0, permitted = 0, inheritable = 0, bounding = ~u64{0}, ambient = 0;  // capability bits
  u32 securebits = 0;
  u32 group_count = 0;
  std::array<u32, 32> groups{};  // supplementary; setgroups beyond 32 is EINVAL (NGROUPS_MAX says so)

  bool has(int capability) const { return (effective >> capability & 1) != 0; }
  bool in_group(u32 gid_) const {
    if (gid_ == fsgid) return true;
    for (u32 i = 0; i < group_count; i++) {
      if (groups[i] == gid_) return true;
    }
    return false;
  }
};

}  // namespace teacup
