// Text in anonymous memory, for profilers (--perf-map). perf asks /tmp/perf-PID.map about anonymous memory
// only; the arena and the image are files to it, in which it finds no symbols. So what has just been mapped
// is replaced by a copy of its own. It costs each process its text once more and the copying, which only who
// profiles pays.
#include "host/gate/gate.h"
#include "kernel/abi/mm.h"
#include "kernel/frame/pages.h"
#include "kernel/mm/address_space.h"
#include "kernel/uaccess/guest.h"

namespace teacup::mm {

// Where that is not possible the mapping stays as it is.
void AddressSpace::make_anonymous_locked(const Mapping& mapping) {
  constexpr u32 kReadable = abi::kPROT_READ | abi::kPROT_EXEC;
  u64 length = mapping.backed_end - mapping.start;
  if (!text_is_anonymous() || (mapping.prot & kReadable) != kReadable || mapping.shared || length == 0)
    return;
  auto copy = allocate_run(length / kPageSize);
  if (!copy.ok()) return;
  auto* bytes = reinterpret_cast<void*>(copy.value().address());
  constexpr int kWritable = abi::kPROT_READ | abi::kPROT_WRITE;
  if (copy_from_guest(bytes, mapping.start, length).ok() &&
      gate::map_anonymous(mapping.start, length, kWritable).ok()) {
    // It is all there or not there at all: the guest must not run half of a program.
    if (!copy_to_guest(mapping.start, bytes, length).ok() ||
        !gate::protect(mapping.start, length, host_prot_locked(mapping)).ok()) {
      static_cast<void>(gate::unmap(mapping.start, length));
    }
  }
  release_run(copy.value());
}

}  // namespace teacup::mm
