// Two parties: processes and threads that are made, and that wake each other. Nobody is pinned to a core:
// where the waker and the woken run is the kernel's choice, as in a program.
#include <benchmark/benchmark.h>
#include <linux/futex.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <vector>

extern char** environ;

namespace {

// True if `pid` ended with status 0.
bool waited(pid_t pid) {
  int status = 0;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// The other end of the round trip: sends back each byte until its input ends.
[[noreturn]] void echo(int in, int out) {
  char byte;
  while (read(in, &byte, 1) == 1) {
    if (write(out, &byte, 1) != 1) _exit(1);
  }
  _exit(0);
}

void bench_pipe(benchmark::State& state) {
  int there[2];
  int back[2];
  if (pipe(there) != 0) return state.SkipWithError("pipe");
  if (pipe(back) != 0) return state.SkipWithError("pipe");
  const pid_t child = fork();
  if (child < 0) return state.SkipWithError("fork");
  if (child == 0) {
    close(there[1]);
    close(back[0]);
    echo(there[0], back[1]);
  }
  close(there[0]);
  close(back[1]);
  char byte = 'x';
  for (auto _ : state) {
    if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) {
      state.SkipWithError("the echo is gone");
      break;
    }
  }
  close(there[1]);
  close(back[0]);
  if (!waited(child)) state.SkipWithError("the echo failed");
}
BENCHMARK(bench_pipe)->Name("pipe round trip")->UseRealTime();

// Some 10 us, the same on both sides.
void compute() {
  volatile uint64_t sum = 0;
  for (uint64_t i = 0; i < 10'000; i++) sum = sum + i;
}

// One of a pair that hands a byte to and fro, with work between.
[[noreturn]] void play(int in, int out, int trips, bool begins) {
  char byte = 'x';
  if (begins && write(out, &byte, 1) != 1) _exit(1);
  for (int i = 0; i < trips; i++) {
    if (read(in, &byte, 1) != 1) _exit(1);
    compute();
    if (write(out, &byte, 1) != 1) _exit(1);
  }
  _exit(0);
}

double cpu_seconds_of_children() {
  rusage usage{};
  getrusage(RUSAGE_CHILDREN, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

// The CPU time, not the time, of six pairs on whatever cores there are: who spins while others could run
// pays.
void bench_crowd(benchmark::State& state) {
  constexpr int kPairs = 6, kTrips = 300;
  for (auto _ : state) {
    const double before = cpu_seconds_of_children();
    std::vector<pid_t> players;
    for (int pair = 0; pair < kPairs; pair++) {
      int there[2], back[2];
      if (pipe(there) != 0 || pipe(back) != 0) return state.SkipWithError("pipe");
      for (bool begins : {true, false}) {
        const pid_t child = fork();
        if (child < 0) return state.SkipWithError("fork");
        if (child == 0) play(begins ? back[0] : there[0], begins ? there[1] : back[1], kTrips, begins);
        players.push_back(child);
      }
      for (int fd : {there[0], there[1], back[0], back[1]}) close(fd);
    }
    for (pid_t player : players) {
      if (!waited(player)) return state.SkipWithError("a player failed");
    }
    state.SetIterationTime(cpu_seconds_of_children() - before);
  }
}
BENCHMARK(bench_crowd)->Name("CPU time of a crowd")->UseManualTime();

// A token handed to and fro through one word, with no spinning in user space: who does not hold it sleeps.
class Token {
 public:
  enum Holder : uint32_t { MAIN, WORKER, NOBODY };

  void give_to(Holder holder) {
    word_.store(holder, std::memory_order_release);
    syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
  // Sleeps while `other` holds the token; returns who holds it then.
  Holder wait_while(Holder other) {
    uint32_t holder;
    while ((holder = word_.load(std::memory_order_acquire)) == other) {
      syscall(SYS_futex, &word_, FUTEX_WAIT_PRIVATE, other, nullptr, nullptr, 0);
    }
    return static_cast<Holder>(holder);
  }

 private:
  std::atomic<uint32_t> word_{MAIN};
};

void* return_token(void* argument) {
  Token& token = *static_cast<Token*>(argument);
  while (token.wait_while(Token::MAIN) == Token::WORKER) token.give_to(Token::MAIN);
  return nullptr;
}

void bench_futex(benchmark::State& state) {
  Token token;
  pthread_t worker;
  if (pthread_create(&worker, nullptr, return_token, &token) != 0)
    return state.SkipWithError("pthread_create");
  // Two handoffs a round: there and back.
  while (state.KeepRunningBatch(2)) {
    token.give_to(Token::WORKER);
    token.wait_while(Token::WORKER);
  }
  token.give_to(Token::NOBODY);
  pthread_join(worker, nullptr);
}
BENCHMARK(bench_futex)->Name("futex handoff")->UseRealTime();

// Of a process of the size of a small server.
void bench_fork(benchmark::State& state) {
  const std::vector<char> resident(10 << 20, 'x');
  benchmark::DoNotOptimize(resident.data());
  for (auto _ : state) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    if (child < 0 || !waited(child)) return state.SkipWithError("fork or wait");
  }
}
BENCHMARK(bench_fork)->Name("fork+wait")->UseRealTime();

void bench_spawn(benchmark::State& state) {
  char name[] = "true";
  char* const arguments[] = {name, nullptr};
  for (auto _ : state) {
    pid_t child;
    if (posix_spawn(&child, "/bin/true", nullptr, nullptr, arguments, environ) != 0 || !waited(child)) {
      return state.SkipWithError("posix_spawn or wait");
    }
  }
}
BENCHMARK(bench_spawn)->Name("posix_spawn+wait")->UseRealTime();

void* return_at_once(void* argument) {
  return argument;
}

void bench_thread(benchmark::State& state) {
  for (auto _ : state) {
    pthread_t thread;
    if (pthread_create(&thread, nullptr, return_at_once, nullptr) != 0 ||
        pthread_join(thread, nullptr) != 0) {
      return state.SkipWithError("pthread_create or pthread_join");
    }
  }
}
BENCHMARK(bench_thread)->Name("thread create+join")->UseRealTime();

}  // namespace
