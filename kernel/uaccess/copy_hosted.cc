// Unit tests: the copy routines of copy.S, with the host's own no-fault copy. Guest memory is the test's.
#ifdef TEACUP_HOSTED
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "kernel/uaccess/guest.h"

namespace teacup {

namespace {

// Both sides may be the bad one, so each piece goes through a buffer.
constexpr size_t kPiece = 4096;

size_t transfer(void* to, const void* from, size_t size) {
  char buffer[kPiece];
  size_t done = 0;
  while (done < size) {
    size_t piece = std::min(size - done, kPiece - (reinterpret_cast<u64>(from) + done) % kPiece);
    iovec local{buffer, piece};
    iovec source{const_cast<char*>(static_cast<const char*>(from)) + done, piece};
    ssize_t read = process_vm_readv(getpid(), &local, 1, &source, 1, 0);
    if (read <= 0) break;
    iovec filled{buffer, static_cast<size_t>(read)};
    iovec target{static_cast<char*>(to) + done, static_cast<size_t>(read)};
    ssize_t written = process_vm_writev(getpid(), &filled, 1, &target, 1, 0);
    if (written <= 0) break;
    done += static_cast<size_t>(written);
    if (written < read || static_cast<size_t>(read) < piece) break;
  }
  return size - done;
}

}  // namespace

extern "C" size_t guest_copy_raw(void* to, const void* from, size_t size) {
  return transfer(to, from, size);
}

extern "C" size_t guest_zero_raw(void* to, size_t size) {
  static const char zeros[kPiece] = {};
  for (size_t done = 0; done < size;) {
    size_t piece = std::min(size - done, kPiece);
    size_t left = transfer(static_cast<char*>(to) + done, zeros, piece);
    done += piece - left;
    if (left != 0) return size - done;
  }
  return 0;
}

}  // namespace teacup
#endif
