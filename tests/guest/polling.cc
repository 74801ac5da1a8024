// poll, select and epoll in all modes.
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>

#include <vector>

#include "tests/guest/check.h"

namespace {

struct Pipe {
  int r, w;
  Pipe() {
    int fds[2];
    NEED_OK(pipe2(fds, O_NONBLOCK));
    r = fds[0];
    w = fds[1];
  }
  void put() const { NEED(write(w, "x", 1) == 1); }
  void take() const {
    char c;
    NEED(read(r, &c, 1) == 1);
  }
};

int add(int ep, int fd, uint32_t events, uint64_t data = 0) {
  epoll_event e{};
  e.events = events;
  e.data.u64 = data;
  return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

int change(int ep, int fd, uint32_t events, uint64_t data = 0) {
  epoll_event e{};
  e.events = events;
  e.data.u64 = data;
  return epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
}

// The events ready now, of the first; 0 if none.
uint32_t ready(int ep, uint64_t* data = nullptr, int timeout = 0) {
  epoll_event e{};
  int n = epoll_wait(ep, &e, 1, timeout);
  if (n <= 0) return 0;
  if (data) *data = e.data.u64;
  return e.events;
}

}  // namespace

// ---- poll ----

TEST(poll_writes_back_revents) {
  Pipe a, b;
  b.put();
  pollfd p[5] = {
      {a.r, POLLIN, 77}, {b.r, POLLIN, 77}, {-1, POLLIN, 77}, {999, POLLIN, 77}, {a.w, POLLOUT, 77}};
  CHECK_EQ(poll(p, 5, 0), 3);
  CHECK_EQ(p[0].revents, 0);  // written even when nothing is ready
  CHECK_EQ(p[1].revents, POLLIN);
  CHECK_EQ(p[2].revents, 0);
  CHECK_EQ(p[3].revents, POLLNVAL);
  CHECK_EQ(p[4].revents, POLLOUT);
  p[0].revents = 55;
  CHECK_EQ(poll(p, 1, 0), 0);
  CHECK_EQ(p[0].revents, 0);
  p[0].revents = 55;
  CHECK_EQ(poll(p, 1, 10), 0);
  CHECK_EQ(p[0].revents, 0);
  CHECK_EQ(p[0].events, POLLIN);
}

TEST(poll_timeouts) {
  int64_t start = check::now_ns();
  CHECK_EQ(poll(nullptr, 0, 20), 0);
  CHECK(check::now_ns() - start >= 20000000);
  Pipe a;
  pollfd p{a.r, POLLIN, 0};
  start = check::now_ns();
  timespec t{0, 15000000};
  CHECK_EQ(ppoll(&p, 1, &t, nullptr), 0);
  CHECK(check::now_ns() - start >= 15000000);
  CHECK_EQ(t.tv_nsec, 15000000);  // glibc's wrapper keeps it
  timespec bad{0, -1};
  CHECK_ERR(ppoll(&p, 1, &bad, nullptr), EINVAL);
  CHECK_ERR(syscall(SYS_poll, 0x600000000000, 1, 0), EFAULT);
  rlimit r;
  getrlimit(RLIMIT_NOFILE, &r);
  CHECK_ERR(syscall(SYS_poll, &p, r.rlim_cur + 1, 0), EINVAL);
}

TEST(poll_wakes_for_any) {
  Pipe pipes[4];
  pollfd p[4];
  for (int i = 0; i < 4; i++) p[i] = {pipes[i].r, POLLIN, 0};
  pid_t me = getpid();
  for (int i = 0; i < 4; i++) {
    pid_t child = fork();
    if (child == 0) {
      check::until_asleep(me);
      pipes[i].put();
      _exit(0);
    }
    CHECK_EQ(poll(p, 4, check::kPatience), 1);
    CHECK_EQ(p[i].revents, POLLIN);
    pipes[i].take();
    waitpid(child, nullptr, 0);
  }
}

TEST(poll_regular_file_and_directory) {
  int f = NEED_OK(open("f", O_RDWR | O_CREAT, 0600));
  pollfd p{f, POLLIN | POLLOUT | POLLPRI, 0};
  CHECK_EQ(poll(&p, 1, 0), 1);
  CHECK_EQ(p.revents, POLLIN | POLLOUT);
}

TEST(poll_same_file_twice) {
  Pipe a;
  a.put();
  pollfd p[2] = {{a.r, POLLIN, 0}, {a.r, POLLIN | POLLRDNORM, 0}};
  CHECK_EQ(poll(p, 2, 0), 2);
  CHECK_EQ(p[1].revents, POLLIN | POLLRDNORM);
}

TEST(poll_fd_closed_meanwhile) {
  Pipe a;
  static int victim;
  victim = dup(a.r);
  pollfd p{victim, POLLIN, 0};
  pthread_t t;
  static pid_t me = gettid();
  pthread_create(
      &t, nullptr,
      [](void*) -> void* {
        check::until_asleep(getpid(), me);
        close(victim);
        return nullptr;
      },
      nullptr);
  poll(&p, 1, 100);  // what it says is not defined; it must come back
  pthread_join(t, nullptr);
}

// ---- select ----

TEST(select_sets) {
  Pipe a, b;
  b.put();
  fd_set r, w;
  FD_ZERO(&r);
  FD_ZERO(&w);
  FD_SET(a.r, &r);
  FD_SET(b.r, &r);
  FD_SET(a.w, &w);
  timeval t{0, 0};
  CHECK_EQ(select(b.w + 1, &r, &w, nullptr, &t), 2);
  CHECK(!FD_ISSET(a.r, &r) && FD_ISSET(b.r, &r) && FD_ISSET(a.w, &w));
  FD_ZERO(&r);
  FD_SET(a.r, &r);
  t = {0, 20000};
  CHECK_EQ(select(a.r + 1, &r, nullptr, nullptr, &t), 0);
  CHECK(!FD_ISSET(a.r, &r));
  CHECK_EQ(t.tv_usec, 0);  // Linux writes back what is left
  t = {5, 0};
  FD_SET(b.r, &r);
  CHECK_EQ(select(b.r + 1, &r, nullptr, nullptr, &t), 1);
  CHECK(t.tv_sec >= 4);
  FD_ZERO(&r);
  FD_SET(60, &r);
  CHECK_ERR(select(61, &r, nullptr, nullptr, &t), EBADF);
  CHECK_ERR(select(-1, nullptr, nullptr, nullptr, &t), EINVAL);
  timeval bad{0, -1};
  CHECK_ERR(select(0, nullptr, nullptr, nullptr, &bad), EINVAL);
  t = {0, 10000};
  CHECK_EQ(select(0, nullptr, nullptr, nullptr, &t), 0);
  close(a.w);
  FD_ZERO(&r);
  FD_SET(a.r, &r);
  CHECK_EQ(select(a.r + 1, &r, nullptr, nullptr, nullptr), 1);  // end of file is readable
}

// ---- epoll ----

TEST(epoll_errors) {
  int ep = NEED_OK(epoll_create1(EPOLL_CLOEXEC));
  Pipe a;
  CHECK_EQ(fcntl(ep, F_GETFD), FD_CLOEXEC);
  CHECK_ERR(epoll_create1(0x1), EINVAL);
  CHECK_ERR(epoll_create(0), EINVAL);
  CHECK_ERR(add(ep, 999, EPOLLIN), EBADF);
  CHECK_ERR(add(a.r, a.w, EPOLLIN), EINVAL);
  CHECK_ERR(add(ep, ep, EPOLLIN), EINVAL);
  CHECK_OK(add(ep, a.r, EPOLLIN));
  CHECK_ERR(add(ep, a.r, EPOLLIN), EEXIST);
  CHECK_ERR(change(ep, a.w, EPOLLIN), ENOENT);
  CHECK_ERR(epoll_ctl(ep, EPOLL_CTL_DEL, a.w, nullptr), ENOENT);
  int file = NEED_OK(open("f", O_RDWR | O_CREAT, 0600));
  CHECK_ERR(add(ep, file, EPOLLIN), EPERM);
  epoll_event e;
  CHECK_ERR(epoll_ctl(ep, 9, a.r, &e), EINVAL);
  CHECK_ERR(epoll_wait(ep, &e, 0, 0), EINVAL);
  CHECK_ERR(epoll_wait(a.r, &e, 1, 0), EINVAL);
  CHECK_ERR(epoll_wait(999, &e, 1, 0), EBADF);
  CHECK_OK(epoll_ctl(ep, EPOLL_CTL_DEL, a.r, nullptr));
}

TEST(epoll_level) {
  int ep = NEED_OK(epoll_create1(0));
  Pipe a;
  NEED_OK(add(ep, a.r, EPOLLIN, 0x123456789abcdef0));
  CHECK_EQ(ready(ep), 0);
  a.put();
  uint64_t data = 0;
  CHECK_EQ(ready(ep, &data), EPOLLIN);
  CHECK_EQ(data, 0x123456789abcdef0);
  CHECK_EQ(ready(ep), EPOLLIN);
  a.take();
  CHECK_EQ(ready(ep), 0);
  close(a.w);
  CHECK_EQ(ready(ep), EPOLLHUP);
}

TEST(epoll_edge) {
  int ep = NEED_OK(epoll_create1(0));
  Pipe a;
  NEED_OK(add(ep, a.r, EPOLLIN | EPOLLET));
  a.put();
  CHECK_EQ(ready(ep), EPOLLIN);
  CHECK_EQ(ready(ep), 0);
  a.put();
  CHECK_EQ(ready(ep), EPOLLIN);  // news, though it was readable before
  CHECK_EQ(ready(ep), 0);
  NEED_OK(change(ep, a.r, EPOLLIN | EPOLLET));
  CHECK_EQ(ready(ep), EPOLLIN);  // MOD arms it again
}

TEST(epoll_oneshot) {
  int ep = NEED_OK(epoll_create1(0));
  Pipe a;
  NEED_OK(add(ep, a.r, EPOLLIN | EPOLLONESHOT));
  a.put();
  CHECK_EQ(ready(ep), EPOLLIN);
  a.put();
  CHECK_EQ(ready(ep), 0);
  NEED_OK(change(ep, a.r, EPOLLIN | EPOLLONESHOT));
  CHECK_EQ(ready(ep), EPOLLIN);
  CHECK_EQ(ready(ep), 0);
}

TEST(epoll_modify) {
  int ep = NEED_OK(epoll_create1(0));
  int s[2];
  NEED_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
  NEED_OK(add(ep, s[0], EPOLLIN, 1));
  CHECK_EQ(ready(ep), 0);
  NEED_OK(change(ep, s[0], EPOLLIN | EPOLLOUT, 2));
  uint64_t data;
  CHECK_EQ(ready(ep, &data), EPOLLOUT);
  CHECK_EQ(data, 2);
  NEED(write(s[1], "x", 1) == 1);
  CHECK_EQ(ready(ep), EPOLLIN | EPOLLOUT);
  NEED_OK(change(ep, s[0], EPOLLRDHUP));
  CHECK_EQ(ready(ep), 0);
  shutdown(s[1], SHUT_WR);
  CHECK_EQ(ready(ep), EPOLLRDHUP);
}

TEST(epoll_hup_and_err_always) {
  int ep = NEED_OK(epoll_create1(0));
  Pipe a;
  NEED_OK(add(ep, a.w, 0));
  CHECK_EQ(ready(ep), 0);
  close(a.r);
  CHECK_EQ(ready(ep), EPOLLERR);
}

TEST(epoll_close_removes) {
  int ep = NEED_OK(epoll_create1(0));
  Pipe a;
  int copy = dup(a.r);
  NEED_OK(add(ep, a.r, EPOLLIN));
  a.put();
  close(a.r);
  CHECK_EQ(ready(ep), EPOLLIN);  // the open file lives on in the copy
  close(copy);
  CHECK_EQ(ready(ep), 0);
  int again = NEED_OK(eventfd(1, 0));
  NEED_OK(add(ep, again, EPOLLIN));
  CHECK_EQ(ready(ep), EPOLLIN);
}

TEST(epoll_key_is_file_and_fd) {
  int ep = NEED_OK(epoll_create1(0));
  Pipe a;
  int copy = dup(a.r);
  CHECK_OK(add(ep, a.r, EPOLLIN, 1));
  CHECK_OK(add(ep, copy, EPOLLIN, 2));
  a.put();
  epoll_event e[4];
  CHECK_EQ(epoll_wait(ep, e, 4, 0), 2);
}

TEST(epoll_nested) {
  int inner = NEED_OK(epoll_create1(0)), outer = NEED_OK(epoll_create1(0));
  Pipe a;
  NEED_OK(add(inner, a.r, EPOLLIN));
  NEED_OK(add(outer, inner, EPOLLIN));
  CHECK_EQ(ready(outer), 0);
  a.put();
  CHECK_EQ(ready(outer), EPOLLIN);
  pollfd p{outer, POLLIN, 0};
  CHECK_EQ(poll(&p, 1, 0), 1);
  a.take();
  CHECK_EQ(ready(outer), 0);
  CHECK_ERR(add(inner, outer, EPOLLIN), ELOOP);
  pid_t me = getpid();
  pid_t child = fork();
  if (child == 0) {
    check::until_asleep(me);
    a.put();
    _exit(0);
  }
  CHECK_EQ(ready(outer, nullptr, check::kPatience), EPOLLIN);
  waitpid(child, nullptr, 0);
}

TEST(epoll_too_deep) {
  int last = NEED_OK(epoll_create1(0));
  int depth = 0;
  for (; depth < 10; depth++) {
    int next = NEED_OK(epoll_create1(0));
    if (add(next, last, EPOLLIN) < 0) break;
    last = next;
  }
  CHECK_EQ(errno, ELOOP);
  CHECK(depth >= 4 && depth <= 6);
}

TEST(epoll_many) {
  int ep = NEED_OK(epoll_create1(0));
  std::vector<int> fds;
  for (int i = 0; i < 300; i++) {
    fds.push_back(NEED_OK(eventfd(0, EFD_NONBLOCK)));
    NEED_OK(add(ep, fds.back(), EPOLLIN, uint64_t(i)));
  }
  for (int i = 0; i < 300; i += 3) eventfd_write(fds[size_t(i)], 1);
  std::vector<epoll_event> e(400);
  CHECK_EQ(epoll_wait(ep, e.data(), 400, 0), 100);
  CHECK_EQ(epoll_wait(ep, e.data(), 30, 0), 30);
  // Round robin: two waits of a part do not give the same part.
  uint64_t first = e[0].data.u64;
  CHECK_EQ(epoll_wait(ep, e.data(), 30, 0), 30);
  CHECK(e[0].data.u64 != first);
}

TEST(epoll_gives_all_at_once) {
  constexpr int kFiles = 3000;
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = kFiles + 100;
  NEED(limit.rlim_cur <= limit.rlim_max);
  CHECK_OK(setrlimit(RLIMIT_NOFILE, &limit));
  int epoll = NEED_OK(epoll_create1(0));
  for (int i = 0; i < kFiles; i++) {
    epoll_event event = {EPOLLIN, {.fd = i}};
    NEED_OK(epoll_ctl(epoll, EPOLL_CTL_ADD, NEED_OK(eventfd(1, 0)), &event));
  }
  static epoll_event found[kFiles + 1];
  for (int round = 0; round < 2; round++) {
    CHECK_EQ(epoll_wait(epoll, found, kFiles + 1, 0), kFiles);
    CHECK_EQ(found[kFiles - 1].events, EPOLLIN);
  }
  CHECK_EQ(epoll_wait(epoll, found, 100, 0), 100);
}

TEST(epoll_waits_and_wakes) {
  int ep = NEED_OK(epoll_create1(0));
  Pipe a;
  NEED_OK(add(ep, a.r, EPOLLIN));
  int64_t start = check::now_ns();
  CHECK_EQ(ready(ep, nullptr, 20), 0);
  CHECK(check::now_ns() - start >= 20000000);
  pid_t me = getpid();
  pid_t child = fork();
  if (child == 0) {
    check::until_asleep(me);
    a.put();
    _exit(0);
  }
  CHECK_EQ(ready(ep, nullptr, -1), EPOLLIN);
  waitpid(child, nullptr, 0);
  timespec t{0, 5000000};
  epoll_event e;
  a.take();
  long r = syscall(SYS_epoll_pwait2, ep, &e, 1, &t, nullptr, 8);
  CHECK(r == 0 || (r == -1 && errno == ENOSYS));
}

TEST(epoll_add_while_waiting) {
  static int ep = NEED_OK(epoll_create1(0));
  static Pipe a;
  a.put();
  static pid_t me = gettid();
  pthread_t t;
  pthread_create(
      &t, nullptr,
      [](void*) -> void* {
        check::until_asleep(getpid(), me);
        add(ep, a.r, EPOLLIN);
        return nullptr;
      },
      nullptr);
  CHECK_EQ(ready(ep, nullptr, check::kPatience), EPOLLIN);
  pthread_join(t, nullptr);
}

TEST(epoll_exclusive_wakes_one_at_least) {
  Pipe a;
  pid_t children[2];
  for (auto& c : children) {
    c = fork();
    if (c == 0) {
      int ep = epoll_create1(0);
      if (add(ep, a.r, EPOLLIN | EPOLLEXCLUSIVE) < 0) _exit(2);
      uint32_t got = ready(ep, nullptr, check::kPatience);
      char b;
      _exit(got == EPOLLIN && read(a.r, &b, 1) == 1 ? 0 : 1);
    }
    NEED(check::until_asleep(c));
  }
  a.put();
  a.put();
  for (pid_t c : children) {
    int status;
    waitpid(c, &status, 0);
    CHECK_EXIT(status, 0);
  }
}

TEST(epoll_over_fork) {
  int ep = NEED_OK(epoll_create1(0));
  Pipe a;
  NEED_OK(add(ep, a.r, EPOLLIN));
  CHECK_EXIT(check::in_child([&] {
               a.put();
               CHECK_EQ(ready(ep), EPOLLIN);
             }),
             0);
  CHECK_EQ(ready(ep), EPOLLIN);
}

TEST(threads_share_an_epoll) {
  static int ep = NEED_OK(epoll_create1(0));
  static int fd = NEED_OK(eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK));
  static int taken;
  NEED_OK(add(ep, fd, EPOLLIN | EPOLLET));
  static auto body = [](void*) -> void* {
    epoll_event e;
    while (__atomic_load_n(&taken, __ATOMIC_SEQ_CST) < 500) {
      if (epoll_wait(ep, &e, 1, 100) != 1) continue;
      uint64_t v;
      while (read(fd, &v, 8) == 8) __atomic_fetch_add(&taken, 1, __ATOMIC_SEQ_CST);
    }
    return nullptr;
  };
  pthread_t t[3];
  for (auto& each : t) pthread_create(&each, nullptr, body, nullptr);
  for (int i = 0; i < 500; i++) eventfd_write(fd, 1);
  for (auto& each : t) pthread_join(each, nullptr);
  CHECK_EQ(taken, 500);
}
