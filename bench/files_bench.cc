// Files as a program meets them that is the first to look at them in its machine ("cold": each row is one
// pass over an image's files, so the process must be new), and by several tasks at once, each with files of
// its own
// ("x2", "x4", "x8").
#include <benchmark/benchmark.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

constexpr int kFiles = 1000;  // in each directory of find/
constexpr int kCreations = 100;

// Where bench/run has put this program, and the files beside it.
std::string bench_folder() {
  std::array<char, PATH_MAX> path{};
  const ssize_t length = readlink("/proc/self/exe", path.data(), path.size() - 1);
  const std::string program(path.data(), length > 0 ? static_cast<size_t>(length) : 0);
  return program.substr(0, program.rfind('/'));
}

std::string directory_of(int number) {
  std::string digits = std::to_string(number);
  digits.insert(0, 3 - digits.size(), '0');
  return bench_folder() + "/find/d" + digits;
}

std::vector<std::string> names_in(int directory) {
  std::vector<std::string> names;
  const std::string top = directory_of(directory);
  for (int i = 0; i < kFiles; i++) {
    std::string digits = std::to_string(i);
    digits.insert(0, 4 - digits.size(), '0');
    names.push_back(top + "/file-" + digits + ".txt");
  }
  return names;
}

// --- Cold: the time of all.

void bench_stat_cold(benchmark::State& state) {
  const std::vector<std::string> names = names_in(1);
  struct stat status;
  for (auto _ : state) {
    for (const std::string& name : names) {
      if (stat(name.c_str(), &status) != 0) return state.SkipWithError("stat");
    }
  }
}
BENCHMARK(bench_stat_cold)->Name("stat cold")->Iterations(1)->UseRealTime();

void bench_open_cold(benchmark::State& state) {
  const std::vector<std::string> names = names_in(2);
  for (auto _ : state) {
    for (const std::string& name : names) {
      const int fd = open(name.c_str(), O_RDONLY | O_CLOEXEC);
      if (fd < 0 || close(fd) != 0) return state.SkipWithError("open or close");
    }
  }
}
BENCHMARK(bench_open_cold)->Name("open+close cold")->Iterations(1)->UseRealTime();

void bench_readdir_cold(benchmark::State& state) {
  const std::string name = directory_of(3);
  // A stream's buffer is 32 KiB. That the heap may have to grow for it, in steps of its own (teacup: of 2 MiB
  // at some point), is not what is measured.
  benchmark::DoNotOptimize(std::vector<char>(size_t{64} << 10).data());
  for (auto _ : state) {
    DIR* stream = opendir(name.c_str());
    int count = 0;
    while (stream != nullptr && readdir(stream) != nullptr) count++;
    if (stream != nullptr) closedir(stream);
    if (count != kFiles + 2) return state.SkipWithError("readdir");
  }
}
BENCHMARK(bench_readdir_cold)->Name("readdir 1000 cold")->Iterations(1)->UseRealTime();

void bench_read_cold(benchmark::State& state) {
  const int fd = open((bench_folder() + "/data").c_str(), O_RDONLY | O_CLOEXEC);
  std::vector<char> buffer(4096);
  for (auto _ : state) {
    size_t total = 0;
    for (ssize_t got; (got = read(fd, buffer.data(), buffer.size())) > 0;) total += static_cast<size_t>(got);
    if (total != size_t{16} << 20) return state.SkipWithError("read");
  }
  close(fd);
}
BENCHMARK(bench_read_cold)->Name("read 4k cold")->Iterations(1)->UseRealTime();

void bench_create_cold(benchmark::State& state) {
  const std::string prefix = "/tmp/teacup-bench-" + std::to_string(getpid()) + "-";
  const std::vector<char> buffer(512, 'x');
  for (auto _ : state) {
    for (int i = 0; i < kCreations; i++) {
      const std::string name = prefix + std::to_string(i);
      const int fd = open(name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
      const bool written = fd >= 0 && write(fd, buffer.data(), buffer.size()) == 512;
      if (!written || close(fd) != 0 || unlink(name.c_str()) != 0)
        return state.SkipWithError("create, write or unlink");
    }
  }
}
BENCHMARK(bench_create_cold)->Name("create+write+unlink cold")->Iterations(1)->UseRealTime();

// --- Several tasks: the time of one call, over all of them.

template <size_t kPiece>
void read_own_file(benchmark::State& state) {
  constexpr size_t kSize = size_t{4} << 20;
  std::vector<char> buffer(kPiece, 'x');
  char name[] = "/tmp/teacup-bench-XXXXXX";
  const int fd = mkstemp(name);
  unlink(name);
  bool good = fd >= 0;
  for (size_t i = 0; i < kSize / buffer.size() && good; i++)
    good = write(fd, buffer.data(), buffer.size()) == kPiece;
  size_t left = 0;
  for (auto _ : state) {
    if (left == 0) {
      good = good && lseek(fd, 0, SEEK_SET) == 0;
      left = kSize / buffer.size();
    }
    left--;
    if (!good || read(fd, buffer.data(), buffer.size()) != kPiece) {
      state.SkipWithError("read");
      break;
    }
  }
  close(fd);
}
// What is copied is little beside finding the file: two of these in one process show what threads share.
BENCHMARK(read_own_file<512>)->Name("read 512 x1")->Threads(1)->UseRealTime();
BENCHMARK(read_own_file<512>)->Name("read 512 x2")->Threads(2)->UseRealTime();
BENCHMARK(read_own_file<512>)->Name("read 512 x4")->Threads(4)->UseRealTime();
BENCHMARK(read_own_file<512>)->Name("read 512 x8")->Threads(8)->UseRealTime();
BENCHMARK(read_own_file<4096>)->Name("read 4k x2")->Threads(2)->UseRealTime();
BENCHMARK(read_own_file<4096>)->Name("read 4k x4")->Threads(4)->UseRealTime();
BENCHMARK(read_own_file<4096>)->Name("read 4k x8")->Threads(8)->UseRealTime();

void stat_own_file(benchmark::State& state) {
  const std::string name = names_in(10 + state.thread_index())[0];
  struct stat status;
  for (auto _ : state) {
    if (stat(name.c_str(), &status) != 0) {
      state.SkipWithError("stat");
      break;
    }
    benchmark::DoNotOptimize(status);
  }
}
BENCHMARK(stat_own_file)->Name("stat x2")->Threads(2)->UseRealTime();
BENCHMARK(stat_own_file)->Name("stat x4")->Threads(4)->UseRealTime();
BENCHMARK(stat_own_file)->Name("stat x8")->Threads(8)->UseRealTime();

void open_own_file(benchmark::State& state) {
  const std::string name = names_in(10 + state.thread_index())[0];
  for (auto _ : state) {
    const int fd = open(name.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || close(fd) != 0) {
      state.SkipWithError("open or close");
      break;
    }
  }
}
BENCHMARK(open_own_file)->Name("open+close x2")->Threads(2)->UseRealTime();
BENCHMARK(open_own_file)->Name("open+close x4")->Threads(4)->UseRealTime();
BENCHMARK(open_own_file)->Name("open+close x8")->Threads(8)->UseRealTime();

}  // namespace
