// The seccomp filter of guest-side processes, generated from host_surface.def.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace teacup::host {

struct SurfaceRow {
  const char* name;
  long number;
  const char* check;  // what of the arguments is checked, in words; "" for nothing
  const char* reason;
};
std::span<const SurfaceRow> host_surface();
std::string describe_host_surface();

// `gate_return`: address behind the gate's syscall instruction. `fd_end`: descriptors [kArenaFd, fd_end) may
// be mapped. `allow_arch_prctl`: hosts without FSGSBASE set the FS and GS bases by a call.
std::vector<sock_filter> make_filter(std::uint64_t gate_return, int fd_end, bool allow_arch_prctl);

}  // namespace teacup::host
