#include "tests/unit/support/machine.h"

#include <sys/mman.h>
#include <unistd.h>
#include <cstdlib>
#include <cstring>

#include "host/gate/gate_hosted.h"
#include "kernel/abi/boot.h"
#include "kernel/abi/stats.h"
#include "kernel/abi/stream.h"
#include "kernel/base/arena_header.h"
#include "kernel/frame/heap.h"
#include "kernel/frame/pages.h"

namespace teacup {

namespace {

void check(bool ok, const char* what) {
  if (ok) return;
  perror(what);
  abort();
}

}  // namespace

TestMachine::TestMachine(u64 memory_limit) {
  fd_ = memfd_create("test arena", MFD_CLOEXEC);
  check(fd_ >= 0, "memfd_create");
  check(ftruncate(fd_, static_cast<off_t>(kArenaSize)) == 0, "ftruncate");
  void* mapped = mmap(reinterpret_cast<void*>(kArenaBase), kArenaSize, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd_, 0);
  check(mapped != MAP_FAILED, "mmap of the arena");
  gate::hosted_set_fd(kArenaFd, fd_);
  ArenaHeader& header = arena();
  header.magic = kArenaMagic;
  header.arena_size = kArenaSize;
  header.memory_limit = memory_limit;
  header.cpu_count = header.usable_cpus = 2;
  u64 at = kArenaHeaderSize;
  auto reserve = [&](u64 size) {
    u64 offset = at;
    at = align_up(at + size, 64);
    return offset;
  };
  header.config_offset = reserve(sizeof(abi::BootConfig));
  header.config_size = sizeof(abi::BootConfig);
  header.streams_offset = reserve(sizeof(abi::Streams));
  header.events_offset = reserve(sizeof(abi::Events));
  reserve(sizeof(abi::MachineStats));
  header.heap_brk = at;
  heap_start();
  pages_start();
}

TestMachine::~TestMachine() {
  munmap(reinterpret_cast<void*>(kArenaBase), kArenaSize);
  close(fd_);
}

}  // namespace teacup
