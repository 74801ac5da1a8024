// load echo PORT | load source PORT: a server on all addresses, one thread, epoll, until it is killed; `echo`
// sends back what comes, `source` sends as fast as it can.
// load request PORT CONNECTIONS MS: so many connections to 127.0.0.1, one request of 64 bytes in flight on
// each; load fetch PORT MS: one that reads. Both print nanoseconds, of one request or of 128 KiB.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

namespace {

constexpr size_t kPiece = 128 << 10;
constexpr size_t kRequest = 64;
constexpr int kBatch = 64;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "load: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

sockaddr_in name_of(in_addr_t address, int port) {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(address);
  name.sin_port = htons(static_cast<uint16_t>(port));
  return name;
}

void send_at_once(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void watch(int epoll, int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
}

// False: the connection is over.
bool serve_one(int fd, bool echo, std::vector<char>& buffer) {
  if (!echo) return write(fd, buffer.data(), buffer.size()) > 0 || errno == EAGAIN;
  const ssize_t got = read(fd, buffer.data(), buffer.size());
  return got < 0 ? errno == EAGAIN : got > 0 && write(fd, buffer.data(), static_cast<size_t>(got)) == got;
}

[[noreturn]] void serve(int port, bool echo) {
  const int listening = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
  int on = 1;
  setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in name = name_of(INADDR_ANY, port);
  if (bind(listening, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) fail("bind");
  if (listen(listening, 511) != 0) fail("listen");
  watch(epoll, listening, EPOLLIN);
  std::vector<char> buffer(kPiece, 'x');
  for (;;) {
    epoll_event events[kBatch];
    const int count = epoll_wait(epoll, events, kBatch, -1);
    for (int i = 0; i < count; i++) {
      const int fd = events[i].data.fd;
      if (fd == listening) {
        const int accepted = accept4(listening, nullptr, nullptr, SOCK_NONBLOCK);
        if (accepted < 0) continue;
        send_at_once(accepted);
        watch(epoll, accepted, echo ? EPOLLIN : EPOLLOUT);
      } else if (!serve_one(fd, echo, buffer)) {
        close(fd);
      }
    }
  }
}

int connect_to(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in name = name_of(INADDR_LOOPBACK, port);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) fail("connect");
  send_at_once(fd);
  return fd;
}

void send_request(int fd) {
  const char request[kRequest] = {};
  if (write(fd, request, sizeof request) != static_cast<ssize_t>(sizeof request)) fail("write");
}

void take_answer(int fd) {
  char answer[kRequest];
  for (size_t done = 0; done < sizeof answer;) {
    const ssize_t got = read(fd, answer + done, sizeof answer - done);
    if (got <= 0) fail("read");
    done += static_cast<size_t>(got);
  }
}

// A simple client waits in read(2); one of many connections in epoll_wait(2).
void request(int port, int connections, double duration) {
  std::vector<int> fds;
  const int epoll = epoll_create1(0);
  for (int i = 0; i < connections; i++) {
    fds.push_back(connect_to(port));
    watch(epoll, fds.back(), EPOLLIN);
    send_request(fds.back());
    take_answer(fds.back());
  }
  const double start = now();
  double passed, done = 0;
  if (connections > 1) {
    for (int fd : fds) send_request(fd);
  }
  while ((passed = now() - start) < duration) {
    if (connections == 1) {
      send_request(fds[0]);
      take_answer(fds[0]);
      done++;
      continue;
    }
    epoll_event events[kBatch];
    const int count = epoll_wait(epoll, events, kBatch, -1);
    for (int i = 0; i < count; i++) {
      take_answer(events[i].data.fd);
      send_request(events[i].data.fd);
      done++;
    }
  }
  std::printf("%.1f\n", passed / done);
}

void fetch(int port, double duration) {
  const int fd = connect_to(port);
  std::vector<char> buffer(kPiece);
  const double start = now();
  double passed, done = 0;
  while ((passed = now() - start) < duration) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got <= 0) fail("read");
    done += static_cast<double>(got);
  }
  std::printf("%.1f\n", passed / (done / kPiece));
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  const auto number = [&](int i) { return i < argc ? std::atoi(argv[i]) : 0; };
  const char* what = argc > 2 ? argv[1] : "";
  const auto is = [&](const char* name) { return std::strcmp(what, name) == 0; };
  if (is("echo") || is("source")) serve(number(2), is("echo"));
  if (is("request")) {
    request(number(2), number(3), number(4) * 1e6);
  } else if (is("fetch")) {
    fetch(number(2), number(3) * 1e6);
  } else {
    std::fputs("usage: load echo|source PORT; load request PORT CONNECTIONS MS; load fetch PORT MS\n",
               stderr);
    return 2;
  }
}
