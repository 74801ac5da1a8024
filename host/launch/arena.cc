#include "host/launch/arena.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "host/launch/error.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

namespace teacup::host {

namespace {

// Hosts with vm.memfd_noexec set want to be asked for an executable memfd; hosts before 6.3 do not know the
// flag.
int make_memfd() {
  int fd = static_cast<int>(syscall(SYS_memfd_create, "teacup-arena", MFD_CLOEXEC | MFD_EXEC));
  if (fd < 0 && errno == EINVAL)
    fd = static_cast<int>(syscall(SYS_memfd_create, "teacup-arena", MFD_CLOEXEC));
  if (fd < 0) throw LaunchError("cannot make the machine's memory (memfd_create: " + errno_text(errno) + ")");
  return fd;
}

}  // namespace

Arena Arena::create() {
  Arena arena;
  arena.fd_ = make_memfd();
  for (arena.size_ = kArenaSize;; arena.size_ /= 2) {
    void* at = MAP_FAILED;
    if (ftruncate(arena.fd_, static_cast<off_t>(arena.size_)) == 0) {
      at = mmap(reinterpret_cast<void*>(kArenaBase), arena.size_, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_NORESERVE, arena.fd_, 0);
    }
    if (at == reinterpret_cast<void*>(kArenaBase)) break;
    if (arena.size_ <= 2 * kPagesOffset) {
      throw LaunchError("cannot map the machine's memory (" + errno_text(errno) +
                        "): raise the address-space and file-size limits (ulimit -v, ulimit -f)");
    }
  }
  ArenaHeader& header = teacup::arena();
  header.magic = kArenaMagic;
  header.arena_size = arena.size_;
  return arena;
}

std::uint64_t Arena::reserve(std::uint64_t bytes) {
  std::uint64_t offset = align_up(brk_, 64);
  brk_ = offset + bytes;
  return offset;
}

abi::BootString Arena::put(const std::string& text) {
  std::uint64_t offset = reserve(text.size() + 1);
  std::memcpy(&arena_at<char>(offset), text.c_str(), text.size() + 1);
  return {offset, text.size()};
}

abi::BootStrings Arena::put(const std::vector<std::string>& texts) {
  std::uint64_t offset = reserve(texts.size() * sizeof(abi::BootString));
  for (std::size_t i = 0; i < texts.size(); i++) {
    arena_at<abi::BootString>(offset + i * sizeof(abi::BootString)) = put(texts[i]);
  }
  return {offset, texts.size()};
}

}  // namespace teacup::host
