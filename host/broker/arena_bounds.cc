#include "host/broker/arena_bounds.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernel/base/arena_header.h"

namespace teacup::host {

namespace {
constexpr size_t kMany = 64 * KiB;

u64 arena_end = 0;
int arena_fd = -1;

// Writing makes a page where there is none without clearing it first, but costs 0.5 us a page where there is
// one, ten times as much as copying: in huge pages.
bool is_there(const std::byte* at) {
  unsigned char there = 0;
  void* page = reinterpret_cast<void*>(reinterpret_cast<u64>(at) & ~u64{kPageSize - 1});
  return ::mincore(page, kPageSize, &there) == 0 && (there & 1) != 0;
}
}  // namespace

void remember_arena(int fd) {
  arena_end = arena().arena_size;
  arena_fd = fd;
}

void put_in_arena(u64 offset, std::span<const std::byte> bytes) {
  std::byte* at = &arena_at<std::byte>(offset);
  if (bytes.size() >= kMany && is_there(at) && is_there(at + bytes.size() - 1)) {
    std::memcpy(at, bytes.data(), bytes.size());
    return;
  }
  while (arena_fd >= 0 && bytes.size() >= kMany) {
    const ssize_t done = ::pwrite(arena_fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) break;
    offset += static_cast<u64>(done);
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
  if (!bytes.empty()) std::memcpy(&arena_at<std::byte>(offset), bytes.data(), bytes.size());
}

bool in_arena(u64 offset, u64 length) {
  return offset <= arena_end && length <= arena_end - offset;
}

}  // namespace teacup::host
