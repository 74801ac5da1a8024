#include "host/broker/host_files.h"
#include <errno.h>
namespace teacup::host {
u32 HostFiles::add_root(const std::string&, bool) {
  return 0;
}
s64 HostFiles::serve(const u64 (&)[6]) {
  return -ENOSYS;
}
}  // namespace teacup::host
