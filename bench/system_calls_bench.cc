// Single calls on one thread: what a program pays for asking the kernel something.
#include <benchmark/benchmark.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

namespace {

// Any image has it, and no program of the image changes it.
const char* const kImageFile = "/etc/passwd";

constexpr size_t kFileSize = size_t{16} << 20;

// An unlinked file of the given size in /tmp.
class TemporaryFile {
 public:
  explicit TemporaryFile(size_t size) {
    char name[] = "/tmp/teacup-bench-XXXXXX";
    fd_ = mkstemp(name);
    if (fd_ < 0) return;
    unlink(name);
    const std::vector<char> block(size_t{1} << 20, 'x');
    for (size_t written = 0; written < size; written += block.size()) {
      if (write(fd_, block.data(), block.size()) != static_cast<ssize_t>(block.size())) {
        close(fd_);
        fd_ = -1;
        return;
      }
    }
    lseek(fd_, 0, SEEK_SET);
  }
  ~TemporaryFile() {
    if (fd_ >= 0) close(fd_);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  // -1 if the file could not be made.
  int fd() const { return fd_; }

 private:
  int fd_;
};

void bench_getpid(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(getpid());
}
BENCHMARK(bench_getpid)->Name("getpid")->UseRealTime();

void bench_clock_gettime(benchmark::State& state) {
  timespec now;
  for (auto _ : state) {
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) return state.SkipWithError("clock_gettime");
    benchmark::DoNotOptimize(now);
  }
}
BENCHMARK(bench_clock_gettime)->Name("clock_gettime")->UseRealTime();

void bench_stat(benchmark::State& state) {
  struct stat status;
  for (auto _ : state) {
    if (stat(kImageFile, &status) != 0) return state.SkipWithError("stat");
    benchmark::DoNotOptimize(status);
  }
}
BENCHMARK(bench_stat)->Name("stat")->UseRealTime();

void bench_open_close(benchmark::State& state) {
  for (auto _ : state) {
    const int fd = open(kImageFile, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || close(fd) != 0) return state.SkipWithError("open or close");
  }
}
BENCHMARK(bench_open_close)->Name("open+close")->UseRealTime();

void bench_lseek_read(benchmark::State& state) {
  TemporaryFile file(kFileSize);
  std::vector<char> buffer(4096);
  off_t offset = 0;
  for (auto _ : state) {
    if (lseek(file.fd(), offset, SEEK_SET) != offset) return state.SkipWithError("lseek");
    if (read(file.fd(), buffer.data(), buffer.size()) != 4096) return state.SkipWithError("read");
    offset = (offset + 4096 * 37) % static_cast<off_t>(kFileSize);
  }
}
BENCHMARK(bench_lseek_read)->Name("lseek+read")->UseRealTime();

// Reads a file in order, from the start again after its end.
void read_in_order(benchmark::State& state, size_t size) {
  TemporaryFile file(kFileSize);
  std::vector<char> buffer(size);
  size_t left = kFileSize / size;
  for (auto _ : state) {
    if (left == 0) {
      lseek(file.fd(), 0, SEEK_SET);
      left = kFileSize / size;
    }
    left--;
    if (read(file.fd(), buffer.data(), size) != static_cast<ssize_t>(size))
      return state.SkipWithError("read");
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * size));
}
void bench_read_512(benchmark::State& state) {
  read_in_order(state, 512);
}
BENCHMARK(bench_read_512)->Name("read 512")->UseRealTime();
void bench_read_4k(benchmark::State& state) {
  read_in_order(state, 4096);
}
BENCHMARK(bench_read_4k)->Name("read 4k")->UseRealTime();
void bench_read_64k(benchmark::State& state) {
  read_in_order(state, size_t{64} << 10);
}
BENCHMARK(bench_read_64k)->Name("read 64k")->UseRealTime();

void bench_write_null(benchmark::State& state) {
  const int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
  const std::vector<char> buffer(512, 'x');
  for (auto _ : state) {
    if (write(fd, buffer.data(), buffer.size()) != 512) {
      state.SkipWithError("write");
      break;
    }
  }
  close(fd);
}
BENCHMARK(bench_write_null)->Name("write null")->UseRealTime();

// Writes over a file that has its pages already, in order.
void bench_write_file(benchmark::State& state) {
  TemporaryFile file(kFileSize);
  const std::vector<char> buffer(4096, 'y');
  size_t left = kFileSize / buffer.size();
  for (auto _ : state) {
    if (left == 0) {
      lseek(file.fd(), 0, SEEK_SET);
      left = kFileSize / buffer.size();
    }
    left--;
    if (write(file.fd(), buffer.data(), buffer.size()) != 4096) return state.SkipWithError("write");
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * buffer.size()));
}
BENCHMARK(bench_write_file)->Name("write file")->UseRealTime();

// Reads a directory of 1000 entries whole.
void bench_readdir(benchmark::State& state) {
  char name[] = "/tmp/teacup-bench-XXXXXX";
  if (mkdtemp(name) == nullptr) return state.SkipWithError("mkdtemp");
  const std::string directory = name;
  const auto entry = [&](int i) { return directory + "/entry-" + std::to_string(i); };
  for (int i = 0; i < 1000; i++) close(open(entry(i).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  for (auto _ : state) {
    DIR* stream = opendir(directory.c_str());
    int count = 0;
    while (stream != nullptr && readdir(stream) != nullptr) count++;
    if (stream != nullptr) closedir(stream);
    if (count != 1002) {
      state.SkipWithError("readdir");
      break;
    }
  }
  for (int i = 0; i < 1000; i++) unlink(entry(i).c_str());
  rmdir(directory.c_str());
}
BENCHMARK(bench_readdir)->Name("readdir 1000")->UseRealTime();

void bench_create_write_unlink(benchmark::State& state) {
  const std::string name = "/tmp/teacup-bench-" + std::to_string(getpid());
  const std::vector<char> buffer(512, 'x');
  for (auto _ : state) {
    const int fd = open(name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    const bool written = fd >= 0 && write(fd, buffer.data(), buffer.size()) == 512;
    if (!written || close(fd) != 0 || unlink(name.c_str()) != 0)
      return state.SkipWithError("create, write or unlink");
  }
}
BENCHMARK(bench_create_write_unlink)->Name("create+write+unlink")->UseRealTime();

}  // namespace
