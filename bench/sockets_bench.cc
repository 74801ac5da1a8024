// Two processes and a socket between them.
#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

namespace {

constexpr size_t kPiece = 128 << 10;

struct Ends {
  int here = -1, there = -1;
  bool good() const { return here >= 0 && there >= 0; }
};

Ends tcp_pair() {
  Ends ends;
  int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof name;
  auto* address = reinterpret_cast<sockaddr*>(&name);
  if (bind(listening, address, length) == 0 && listen(listening, 1) == 0 &&
      getsockname(listening, address, &length) == 0) {
    ends.here = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(ends.here, address, length) == 0) ends.there = accept(listening, nullptr, nullptr);
  }
  int on = 1;
  setsockopt(ends.here, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(ends.there, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  close(listening);
  return ends;
}

Ends unix_pair() {
  int fds[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) return {};
  return {fds[0], fds[1]};
}

// Runs body(fd) of the other end in a child, and measure(fd) here until it returns; true if all went well.
template <typename Body, typename Measure>
bool with_child(Ends ends, Body body, Measure measure) {
  if (!ends.good()) return false;
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) {
    close(ends.here);
    _exit(body(ends.there) ? 0 : 1);
  }
  close(ends.there);
  const bool good = measure(ends.here);
  close(ends.here);
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0 && good;
}

void bench_round_trip(benchmark::State& state) {
  auto echo = [](int fd) {
    char byte;
    while (read(fd, &byte, 1) == 1) {
      if (write(fd, &byte, 1) != 1) return false;
    }
    return true;
  };
  auto measure = [&](int fd) {
    char byte = 'x';
    for (auto _ : state) {
      if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) return false;
    }
    return true;
  };
  if (!with_child(tcp_pair(), echo, measure)) state.SkipWithError("the echo failed");
}
BENCHMARK(bench_round_trip)->Name("tcp round trip")->UseRealTime();

// One iteration is a piece written; what is in the socket at the end is read outside the measurement.
void stream(benchmark::State& state, Ends ends) {
  auto sink = [](int fd) {
    std::vector<char> buffer(kPiece);
    ssize_t got;
    while ((got = read(fd, buffer.data(), buffer.size())) > 0) {
    }
    return got == 0;
  };
  auto measure = [&](int fd) {
    const std::vector<char> buffer(kPiece, 'x');
    for (auto _ : state) {
      if (write(fd, buffer.data(), buffer.size()) != static_cast<ssize_t>(buffer.size())) return false;
    }
    return true;
  };
  if (!with_child(ends, sink, measure)) state.SkipWithError("the sink failed");
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kPiece));
}
void bench_tcp_stream(benchmark::State& state) {
  stream(state, tcp_pair());
}
BENCHMARK(bench_tcp_stream)->Name("tcp stream")->UseRealTime();
void bench_unix_stream(benchmark::State& state) {
  stream(state, unix_pair());
}
BENCHMARK(bench_unix_stream)->Name("unix stream")->UseRealTime();

}  // namespace
