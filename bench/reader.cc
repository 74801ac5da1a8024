// Reads a file as bench/squashfuse asks: `reader sequential|random FILE`. Prints the nanoseconds of a first
// pass and of a second one. Static, so that an image of nothing else runs it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace {

constexpr int kRandomReads = 2000;
std::array<char, 128 << 10> buffer;

uint64_t now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

bool read_in_order(int fd, int64_t size) {
  int64_t done = 0;
  while (done < size) {
    const ssize_t got = pread(fd, buffer.data(), buffer.size(), done);
    if (got <= 0) return false;
    done += got;
  }
  return true;
}

bool read_here_and_there(int fd, int64_t size) {
  uint64_t state = 42;
  for (int i = 0; i < kRandomReads; i++) {
    state = state * 6364136223846793005 + 1442695040888963407;
    const auto page = static_cast<int64_t>(state >> 33) % (size / 4096);
    if (pread(fd, buffer.data(), 4096, page * 4096) != 4096) return false;
  }
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const bool in_order = std::strcmp(arguments[1], "sequential") == 0;
  const uint64_t begin = now();
  const int fd = open(arguments[2], O_RDONLY | O_CLOEXEC);
  struct stat status {};
  if (fd < 0 || fstat(fd, &status) != 0) return 1;
  const auto pass = in_order ? read_in_order : read_here_and_there;
  if (!pass(fd, status.st_size)) return 1;
  const uint64_t middle = now();
  if (!pass(fd, status.st_size)) return 1;
  std::printf("%llu %llu\n", static_cast<unsigned long long>(middle - begin),
              static_cast<unsigned long long>(now() - middle));
  return 0;
}
