// Memory from the kernel: mapped, touched, given back.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <cstddef>

namespace {

constexpr size_t kPage = 4096;

char* map(size_t size) {
  void* address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return address == MAP_FAILED ? nullptr : static_cast<char*>(address);
}

void write_byte(char* address) {
  *static_cast<volatile char*>(address) = 1;
}

// A large malloc and its free: 256 KiB, every page written.
void bench_map(benchmark::State& state) {
  constexpr size_t kSize = 64 * kPage;
  for (auto _ : state) {
    char* memory = map(kSize);
    if (memory == nullptr) return state.SkipWithError("mmap");
    for (size_t offset = 0; offset < kSize; offset += kPage) write_byte(memory + offset);
    if (munmap(memory, kSize) != 0) return state.SkipWithError("munmap");
  }
}
BENCHMARK(bench_map)->Name("mmap+touch+munmap")->UseRealTime();

// The first write to a page of a large mapping. Giving the pages back, once in 16 384 faults, is not timed.
void bench_fault(benchmark::State& state) {
  constexpr size_t kSize = 16384 * kPage;
  char* memory = map(kSize);
  if (memory == nullptr) return state.SkipWithError("mmap");
  size_t offset = 0;
  for (auto _ : state) {
    if (offset == kSize) {
      state.PauseTiming();
      if (madvise(memory, kSize, MADV_DONTNEED) != 0) {
        state.SkipWithError("madvise");
        break;
      }
      offset = 0;
      state.ResumeTiming();
    }
    write_byte(memory + offset);
    offset += kPage;
  }
  munmap(memory, kSize);
}
BENCHMARK(bench_fault)->Name("page fault")->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
