// Which calls a handled signal restarts (SA_RESTART) and which it interrupts, and what they give.
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "tests/guest/check.h"

namespace {

// How often the handler ran; in shared memory, for the child that sends the signals to see.
volatile int& fired = *static_cast<volatile int*>(
    mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

void set_handler(int flags) {
  fired = 0;
  struct sigaction sa {};
  sa.sa_handler = [](int) { fired = fired + 1; };
  sa.sa_flags = flags;
  NEED_OK(sigaction(SIGUSR1, &sa, nullptr));
}

// A child that sends SIGUSR1 once this process sleeps, then again to see it asleep in the same call, and then
// does `finish` to end the call in the normal way.
template <typename F>
pid_t disturb(F finish) {
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 3; i++) {
      if (!check::until_asleep(parent)) _exit(3);
      kill(parent, SIGUSR1);
      if (!check::eventually([&] { return fired == i + 1; })) _exit(4);
    }
    check::until_asleep(parent);
    finish();
    _exit(0);
  }
  return child;
}

// Interrupts once.
pid_t interrupt() {
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) {
    check::until_asleep(parent);
    kill(parent, SIGUSR1);
    _exit(0);
  }
  return child;
}

void reap(pid_t child) {
  int status;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  CHECK_EXIT(status, 0);
}

void poke(int fd) {
  if (write(fd, "x", 1) != 1) _exit(1);
}

}  // namespace

TEST(read_pipe_restarts) {
  int fds[2];
  NEED_OK(pipe(fds));
  set_handler(SA_RESTART);
  pid_t child = disturb([&] { poke(fds[1]); });
  char c;
  CHECK_EQ(read(fds[0], &c, 1), 1);
  CHECK_EQ(fired, 3);
  reap(child);
}

TEST(read_pipe_eintr) {
  int fds[2];
  NEED_OK(pipe(fds));
  set_handler(0);
  pid_t child = interrupt();
  char c;
  CHECK_ERR(read(fds[0], &c, 1), EINTR);
  CHECK_EQ(fired, 1);
  reap(child);
}

TEST(write_pipe_restarts_and_eintr) {
  int fds[2];
  NEED_OK(pipe(fds));
  static char buffer[65536];
  NEED(write(fds[1], buffer, sizeof buffer) == sizeof buffer);
  set_handler(SA_RESTART);
  pid_t child = disturb([&] {
    if (read(fds[0], buffer, sizeof buffer) != sizeof buffer) _exit(1);
  });
  CHECK_EQ(write(fds[1], "x", 1), 1);
  CHECK_EQ(fired, 3);
  reap(child);
  NEED(fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
  while (write(fds[1], buffer, 4096) > 0) {
  }
  fcntl(fds[1], F_SETFL, 0);
  set_handler(0);
  child = interrupt();
  CHECK_ERR(write(fds[1], buffer, 4096), EINTR);
  reap(child);
}

TEST(partial_write_gives_count) {
  int fds[2];
  NEED_OK(pipe(fds));
  static char buffer[100000];
  set_handler(0);
  pid_t child = interrupt();
  CHECK_EQ(write(fds[1], buffer, sizeof buffer), 65536);
  reap(child);
}

TEST(wait_restarts_and_eintr) {
  set_handler(SA_RESTART);
  pid_t sleeper = fork();
  if (sleeper == 0) {
    for (;;) pause();
  }
  pid_t child = disturb([&] { kill(sleeper, SIGKILL); });
  int status;
  CHECK_EQ(waitpid(sleeper, &status, 0), sleeper);
  CHECK_EQ(fired, 3);
  reap(child);
  sleeper = fork();
  if (sleeper == 0) {
    for (;;) pause();
  }
  set_handler(0);
  child = interrupt();
  CHECK_ERR(waitpid(sleeper, &status, 0), EINTR);
  kill(sleeper, SIGKILL);
  waitpid(sleeper, &status, 0);
  reap(child);
}

TEST(flock_restarts) {
  int fd = NEED_OK(open("lock", O_RDWR | O_CREAT, 0600));
  int ready[2], go[2];
  NEED_OK(pipe(ready));
  NEED_OK(pipe(go));
  pid_t holder = fork();
  if (holder == 0) {
    int mine = open("lock", O_RDWR);
    if (flock(mine, LOCK_EX) < 0) _exit(1);
    poke(ready[1]);
    char c;
    if (read(go[0], &c, 1) != 1) _exit(1);
    _exit(0);
  }
  char c;
  NEED(read(ready[0], &c, 1) == 1);
  set_handler(0);
  pid_t child = interrupt();
  CHECK_ERR(flock(fd, LOCK_EX), EINTR);
  reap(child);
  set_handler(SA_RESTART);
  child = disturb([&] { poke(go[1]); });
  CHECK_OK(flock(fd, LOCK_EX));
  CHECK_EQ(fired, 3);
  reap(child);
  reap(holder);
}

TEST(setlkw_restarts) {
  int fd = NEED_OK(open("lock", O_RDWR | O_CREAT, 0600));
  int ready[2], go[2];
  NEED_OK(pipe(ready));
  NEED_OK(pipe(go));
  struct flock whole {};
  whole.l_type = F_WRLCK;
  pid_t holder = fork();
  if (holder == 0) {
    if (fcntl(fd, F_SETLK, &whole) < 0) _exit(1);
    poke(ready[1]);
    char c;
    if (read(go[0], &c, 1) != 1) _exit(1);
    _exit(0);
  }
  char c;
  NEED(read(ready[0], &c, 1) == 1);
  set_handler(0);
  pid_t child = interrupt();
  CHECK_ERR(fcntl(fd, F_SETLKW, &whole), EINTR);
  reap(child);
  set_handler(SA_RESTART);
  child = disturb([&] { poke(go[1]); });
  CHECK_OK(fcntl(fd, F_SETLKW, &whole));
  CHECK_EQ(fired, 3);
  reap(child);
  reap(holder);
}

TEST(open_fifo_restarts) {
  NEED_OK(mkfifo("fifo", 0600));
  set_handler(0);
  pid_t child = interrupt();
  CHECK_ERR(open("fifo", O_RDONLY), EINTR);
  reap(child);
  set_handler(SA_RESTART);
  child = disturb([&] { close(open("fifo", O_WRONLY)); });
  int fd = open("fifo", O_RDONLY);
  CHECK_OK(fd);
  CHECK_EQ(fired, 3);
  reap(child);
}

TEST(socket_calls_restart) {
  int fds[2];
  NEED_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
  set_handler(SA_RESTART);
  pid_t child = disturb([&] { poke(fds[1]); });
  char c;
  CHECK_EQ(recv(fds[0], &c, 1, 0), 1);
  CHECK_EQ(fired, 3);
  reap(child);
  set_handler(0);
  child = interrupt();
  CHECK_ERR(recv(fds[0], &c, 1, 0), EINTR);
  reap(child);
}

TEST(poll_family_never_restarts) {
  int fds[2];
  NEED_OK(pipe(fds));
  set_handler(SA_RESTART);
  pollfd p{fds[0], POLLIN, 0};
  pid_t child = interrupt();
  CHECK_ERR(poll(&p, 1, -1), EINTR);
  reap(child);
  child = interrupt();
  CHECK_ERR(poll(&p, 1, check::kPatience), EINTR);
  reap(child);
  child = interrupt();
  timespec five{5, 0};
  CHECK_ERR(ppoll(&p, 1, &five, nullptr), EINTR);
  reap(child);
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fds[0], &set);
  child = interrupt();
  CHECK_ERR(select(fds[0] + 1, &set, nullptr, nullptr, nullptr), EINTR);
  reap(child);
  int ep = NEED_OK(epoll_create1(0));
  epoll_event event{EPOLLIN, {}};
  epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &event);
  child = interrupt();
  CHECK_ERR(epoll_wait(ep, &event, 1, check::kPatience), EINTR);
  reap(child);
}

TEST(nanosleep_gives_remaining) {
  set_handler(SA_RESTART);
  timespec long_time{500, 0}, left{};
  pid_t child = interrupt();
  CHECK_ERR(nanosleep(&long_time, &left), EINTR);
  CHECK(left.tv_sec >= 400 && left.tv_sec < 500);
  reap(child);
  child = interrupt();
  CHECK_RET(clock_nanosleep(CLOCK_MONOTONIC, 0, &long_time, &left), EINTR);
  CHECK(left.tv_sec >= 400 && left.tv_sec < 500);
  reap(child);
}

TEST(sleep_continues_after_stop) {
  // A stop and a continue without a handler do not end a sleep: restart_syscall at work.
  pid_t child = fork();
  if (child == 0) {
    int64_t start = check::now_ns();
    timespec t{0, 150000000};
    if (nanosleep(&t, nullptr) < 0) _exit(1);
    int64_t took = check::now_ns() - start;
    _exit(took < 150000000 ? 2 : 0);
  }
  check::until_asleep(child);
  kill(child, SIGSTOP);
  int status;
  waitpid(child, &status, WUNTRACED);
  kill(child, SIGCONT);
  waitpid(child, &status, 0);
  CHECK_EXIT(status, 0);
}

TEST(poll_continues_after_stop) {
  pid_t child = fork();
  if (child == 0) _exit(poll(nullptr, 0, 100) == 0 ? 0 : 1);
  check::until_asleep(child);
  kill(child, SIGSTOP);
  int status;
  waitpid(child, &status, WUNTRACED);
  kill(child, SIGCONT);
  waitpid(child, &status, 0);
  CHECK_EXIT(status, 0);
}

TEST(futex_wait_and_signals) {
  static uint32_t word = 5;
  set_handler(SA_RESTART);
  pid_t child = interrupt();
  timespec five{5, 0};
  // With a timeout Linux would go on through restart_syscall only without a handler: a handler gives EINTR.
  CHECK_ERR(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 5, &five, nullptr, 0), EINTR);
  reap(child);
  set_handler(0);
  child = interrupt();
  CHECK_ERR(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 5, nullptr, nullptr, 0), EINTR);
  reap(child);
}

TEST(eventfd_read_restarts) {
  int fd = NEED_OK(eventfd(0, 0));
  set_handler(SA_RESTART);
  pid_t child = disturb([&] { eventfd_write(fd, 9); });
  uint64_t v = 0;
  CHECK_EQ(read(fd, &v, 8), 8);
  CHECK_EQ(v, 9);
  reap(child);
}

TEST(ignored_signal_does_not_interrupt) {
  int fds[2];
  NEED_OK(pipe(fds));
  signal(SIGUSR1, SIG_IGN);
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 3; i++) {
      check::until_asleep(parent);
      kill(parent, SIGUSR1);
      check::sleep_ms(3);
    }
    poke(fds[1]);
    _exit(0);
  }
  pollfd p{fds[0], POLLIN, 0};
  CHECK_EQ(poll(&p, 1, check::kPatience), 1);
  reap(child);
}

TEST(sigchld_default_does_not_interrupt) {
  int fds[2];
  NEED_OK(pipe(fds));
  pid_t child = fork();
  if (child == 0) {
    pid_t grandchild = fork();
    if (grandchild == 0) _exit(0);
    waitpid(grandchild, nullptr, 0);
    poke(fds[1]);
    _exit(0);
  }
  pid_t quick = fork();
  if (quick == 0) _exit(0);
  pollfd p{fds[0], POLLIN, 0};
  CHECK_EQ(poll(&p, 1, check::kPatience), 1);
  waitpid(quick, nullptr, 0);
  reap(child);
}

TEST(pselect_ppoll_swap_mask) {
  int fds[2];
  NEED_OK(pipe(fds));
  set_handler(0);
  sigset_t block, empty;
  sigemptyset(&empty);
  sigemptyset(&block);
  sigaddset(&block, SIGUSR1);
  sigprocmask(SIG_BLOCK, &block, nullptr);
  raise(SIGUSR1);
  CHECK_EQ(fired, 0);
  pollfd p{fds[0], POLLIN, 0};
  CHECK_ERR(ppoll(&p, 1, nullptr, &empty), EINTR);
  CHECK_EQ(fired, 1);
  raise(SIGUSR1);
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fds[0], &set);
  CHECK_ERR(pselect(fds[0] + 1, &set, nullptr, nullptr, nullptr, &empty), EINTR);
  CHECK_EQ(fired, 2);
  raise(SIGUSR1);
  int ep = NEED_OK(epoll_create1(0));
  epoll_event event{};
  CHECK_ERR(epoll_pwait(ep, &event, 1, -1, &empty), EINTR);
  CHECK_EQ(fired, 3);
  // A call that has its answer at once gives it; the signal stays pending under the caller's mask.
  raise(SIGUSR1);
  poke(fds[1]);
  timespec zero{0, 0};
  CHECK_EQ(ppoll(&p, 1, &zero, &block), 1);
  CHECK_EQ(fired, 3);
  sigset_t now;
  sigprocmask(SIG_BLOCK, nullptr, &now);
  CHECK(sigismember(&now, SIGUSR1));
}
