// The gate of unit tests: memory and parking are the host's own, through libc. Descriptors are those of a
// guest-side process (kArenaFd, kFirstImageFd + n) as hosted_set_fd() maps them. Tasks are not started.
#ifdef TEACUP_HOSTED
#include "host/gate/gate_hosted.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <ctime>

#include "host/gate/gate.h"
#include "kernel/base/layout.h"

namespace teacup::gate {

namespace {

constexpr size_t kFds = kFirstImageFd + kMaxImages;
std::array<int, kFds> fds = [] {
  std::array<int, kFds> none;
  none.fill(-1);
  return none;
}();

void* pointer(u64 address) {
  return reinterpret_cast<void*>(address);
}
Result<void> check(bool ok) {
  if (!ok) return static_cast<Errno>(errno);
  return {};
}
u64 now(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

}  // namespace

void hosted_set_fd(int guest_side_fd, int fd) {
  fds.at(static_cast<size_t>(guest_side_fd)) = fd;
}

Result<void> map_anonymous(u64 address, u64 length, int prot, bool populate) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE | (populate ? MAP_POPULATE : 0);
  return check(mmap(pointer(address), length, prot, flags, -1, 0) != MAP_FAILED);
}
Result<void> map_file(u64 address, u64 length, int prot, bool shared, int fd, u64 offset) {
  int flags = (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED | MAP_NORESERVE;
  int own = fds.at(static_cast<size_t>(fd));
  return check(mmap(pointer(address), length, prot, flags, own, static_cast<off_t>(offset)) != MAP_FAILED);
}
Result<void> unmap(u64 address, u64 length) {
  return check(munmap(pointer(address), length) == 0);
}
Result<void> protect(u64 address, u64 length, int prot) {
  return check(mprotect(pointer(address), length, prot) == 0);
}
Result<void> remap(u64 old_address, u64 old_length, u64 new_address, u64 new_length) {
  int flags = new_address != old_address ? MREMAP_MAYMOVE | MREMAP_FIXED : 0;
  return check(mremap(pointer(old_address), old_length, new_length, flags, pointer(new_address)) !=
               MAP_FAILED);
}
Result<void> advise(u64 address, u64 length, int advice) {
  return check(madvise(pointer(address), length, advice) == 0);
}

void futex_wait(std::atomic<u32>& word, u32 expected, u64 deadline) {
  timespec until{static_cast<time_t>(deadline / 1'000'000'000), static_cast<long>(deadline % 1'000'000'000)};
  syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected, deadline == kNoDeadline ? nullptr : &until, nullptr,
          FUTEX_BITSET_MATCH_ANY);
}
void futex_wake(std::atomic<u32>& word, u32 count) {
  syscall(SYS_futex, &word, FUTEX_WAKE, count > INT_MAX ? INT_MAX : count, nullptr, nullptr, 0);
}
void yield() {
  sched_yield();
}

Result<u32> spawn_process(std::atomic<u32>*) {
  return Errno::NOSYS;
}
Result<void> spawn_thread(u64, void (*)(void*), void*, std::atomic<u32>*) {
  return Errno::NOSYS;
}
void exit_thread() {
  abort();
}
void exit_process(int status) {
  _exit(status);
}
void set_task(void*) {}
void set_fs_base(u64) {}
u64 fs_base() {
  return 0;
}
void set_signal_stack(u64, u64) {}
void die_with_broker() {}

u64 monotonic_now() {
  return now(CLOCK_MONOTONIC);
}
u64 realtime_now() {
  return now(CLOCK_REALTIME);
}
Result<u64> clock_now(int clock) {
  return now(clock);
}

}  // namespace teacup::gate
#endif
