// Host files (see fs).
#pragma once
#include <string>
#include "kernel/base/types.h"
namespace teacup::host {
class HostFiles {
 public:
  u32 add_root(const std::string& path, bool writable);
  s64 serve(const u64 (&args)[6]);
};
}  // namespace teacup::host
