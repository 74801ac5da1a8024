// Many who wait for one thing, and one who waits for many.
#include "tests/guest/check.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <vector>

namespace {

struct Shared {
  std::atomic<int> ready, woken, accepted;
};

int listener(sockaddr_in& name) {
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  name = {};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof name;
  NEED_OK(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof name));
  NEED_OK(listen(fd, 64));
  NEED_OK(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length));
  return fd;
}

bool wait_for(std::atomic<int>& count, int wanted) {
  return check::eventually([&] { return count.load() >= wanted; });
}

// Nanoseconds of an event on one of `count` sockets that an epoll watches: the best of some attempts.
double event_cost(size_t count) {
  std::vector<int> all;  // pairs of connected ones
  int ep = NEED_OK(epoll_create1(EPOLL_CLOEXEC));
  while (all.size() < count) {
    int fds[2];
    NEED_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
    for (int fd : fds) {
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u64 = all.size();
      NEED_OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
      all.push_back(fd);
    }
  }
  double best = 1e18;
  for (int attempt = 0; attempt < 20; attempt++) {
    constexpr int kEvents = 200;
    timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (size_t i = 0; i < kEvents; i++) {
      size_t which = i * 7919 % count;
      char byte = 'x';
      epoll_event event;
      CHECK_EQ(write(all[which ^ 1], &byte, 1), 1);
      CHECK_EQ(epoll_wait(ep, &event, 1, check::kPatience), 1);
      CHECK_EQ(event.data.u64, which);
      CHECK_EQ(read(all[which], &byte, 1), 1);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    double passed = double(to.tv_sec - from.tv_sec) * 1e9 + double(to.tv_nsec - from.tv_nsec);
    best = std::min(best, passed / kEvents);
  }
  for (int fd : all) close(fd);
  close(ep);
  return best;
}

}  // namespace

// Each connection wakes one of those who wait for it in an epoll of their own, exclusively.
TEST(a_connection_wakes_one) {
  constexpr int kWaiters = 8, kConnections = 20;
  auto* shared = static_cast<Shared*>(
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  NEED(shared != MAP_FAILED);
  sockaddr_in name;
  int fd = listener(name);
  pid_t waiters[kWaiters];
  for (pid_t& waiter : waiters) {
    if ((waiter = fork()) != 0) continue;
    int ep = epoll_create1(0);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLEXCLUSIVE;
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) != 0) _exit(2);
    shared->ready++;
    for (;;) {
      if (epoll_wait(ep, &event, 1, -1) != 1) _exit(3);
      shared->woken++;
      int one = accept(fd, nullptr, nullptr);
      if (one >= 0) shared->accepted++;
      close(one);
    }
  }
  CHECK(wait_for(shared->ready, kWaiters));
  usleep(20000);  // all of them are asleep, or nearly: who comes late is woken for nothing at worst
  for (int i = 0; i < kConnections; i++) {
    int one = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
    CHECK_OK(connect(one, reinterpret_cast<sockaddr*>(&name), sizeof name));
    CHECK(wait_for(shared->accepted, i + 1));
    close(one);
  }
  usleep(20000);
  CHECK_EQ(shared->accepted.load(), kConnections);
  // More than one may see a connection while nobody has accepted it; never the herd.
  CHECK(shared->woken.load() <= kWaiters / 2 * kConnections);
  for (pid_t waiter : waiters) kill(waiter, SIGKILL);
  for (pid_t waiter : waiters) waitpid(waiter, nullptr, 0);
}

TEST(many_sockets_cost_no_more_than_few) {
  constexpr size_t kMany = 10000;
  rlimit limit;
  NEED_OK(getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, kMany + 100);
  NEED_OK(setrlimit(RLIMIT_NOFILE, &limit));
  if (limit.rlim_cur < kMany + 100) check::skip("not enough descriptors");
  double few = event_cost(10), many = event_cost(kMany);
  check::say("NOTE an event on one of 10: %.0f ns, of 10000: %.0f ns", few, many);
  // Caches miss more often, and a busy machine stretches either; but a look at each would cost a thousand
  // times as much.
  CHECK(many < 100 * few);
}
