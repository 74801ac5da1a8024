// Pipes, splice and tee, sendfile, copy_file_range, eventfd, signalfd.
#include <linux/falloc.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "tests/guest/check.h"

namespace {

struct Pipe {
  int r, w;
  explicit Pipe(int flags = 0) {
    int fds[2];
    NEED_OK(pipe2(fds, flags));
    r = fds[0];
    w = fds[1];
  }
};

std::string get(int fd, size_t max = 65536) {
  std::string b(max, 0);
  ssize_t n = read(fd, b.data(), max);
  b.resize(n < 0 ? 0 : size_t(n));
  return b;
}

short events(int fd, short wanted = POLLIN | POLLOUT) {
  pollfd p{fd, wanted, 0};
  poll(&p, 1, 0);
  return p.revents;
}

int status_of(pid_t p) {
  int status = -1;
  while (waitpid(p, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

TEST(basics) {
  Pipe p;
  CHECK_EQ(write(p.w, "abc", 3), 3);
  CHECK_EQ(write(p.w, "def", 3), 3);
  CHECK_EQ(get(p.r, 4), "abcd");
  CHECK_EQ(get(p.r), "ef");
  char c;
  CHECK_ERR(read(p.w, &c, 1), EBADF);
  CHECK_ERR(write(p.r, &c, 1), EBADF);
  struct stat st;
  CHECK_OK(fstat(p.r, &st));
  CHECK(S_ISFIFO(st.st_mode));
  close(p.w);
  CHECK_EQ(read(p.r, &c, 1), 0);
  CHECK_ERR(pipe2(&p.r, 0x1000000), EINVAL);
}

TEST(poll_events) {
  Pipe p;
  CHECK_EQ(events(p.r), 0);
  CHECK_EQ(events(p.w), POLLOUT);
  CHECK_EQ(write(p.w, "x", 1), 1);
  CHECK_EQ(events(p.r), POLLIN);
  close(p.w);
  CHECK_EQ(events(p.r), POLLIN | POLLHUP);
  get(p.r);
  CHECK_EQ(events(p.r), POLLHUP);
  Pipe q;
  close(q.r);
  CHECK_EQ(events(q.w), POLLOUT | POLLERR);
}

TEST(capacity_and_nonblock) {
  Pipe p(O_NONBLOCK);
  static char b[65536];
  ssize_t n, total = 0;
  while ((n = write(p.w, b, 4096)) > 0) total += n;
  CHECK_EQ(errno, EAGAIN);
  CHECK_EQ(total, 65536);
  CHECK_EQ(events(p.w), 0);
  CHECK_EQ(read(p.r, b, 100), 100);
  CHECK_ERR(write(p.w, b, 4096), EAGAIN);  // PIPE_BUF and less goes whole or not at all
  CHECK_EQ(read(p.r, b, 4096), 4096);
  CHECK_EQ(write(p.w, b, 4096), 4096);
  int avail = 0;
  CHECK_OK(ioctl(p.r, FIONREAD, &avail));
  CHECK_EQ(avail, 65536 - 100);
  CHECK_OK(fcntl(p.r, F_SETFL, 0));
  CHECK_EQ(fcntl(p.w, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  char c;
  while (read(p.r, b, sizeof b) == sizeof b) {
  }
  fcntl(p.r, F_SETFL, O_NONBLOCK);
  CHECK_ERR(read(p.r, &c, 1), EAGAIN);
}

TEST(partial_nonblocking_write) {
  Pipe p(O_NONBLOCK);
  static char b[200000];
  CHECK_EQ(write(p.w, b, sizeof b), 65536);
}

TEST(pipe_size) {
  Pipe p;
  CHECK_EQ(fcntl(p.w, F_GETPIPE_SZ), 65536);
  CHECK_EQ(fcntl(p.w, F_SETPIPE_SZ, 200000), 262144);
  CHECK_EQ(fcntl(p.r, F_GETPIPE_SZ), 262144);
  static char b[262144];
  CHECK_EQ(write(p.w, b, sizeof b), ssize_t(sizeof b));
  CHECK_ERR(fcntl(p.w, F_SETPIPE_SZ, 4096), EBUSY);
  get(p.r, sizeof b);
  CHECK_EQ(fcntl(p.w, F_SETPIPE_SZ, 1), 4096);
  CHECK(fcntl(p.w, F_SETPIPE_SZ, 1u << 31) == -1);
  CHECK_EQ(check::read_file("/proc/sys/fs/pipe-max-size"), "1048576\n");
  int file = NEED_OK(open("f", O_RDWR | O_CREAT, 0600));
  CHECK_ERR(fcntl(file, F_GETPIPE_SZ), EBADF);
}

TEST(small_writes_are_atomic) {
  Pipe p;
  pid_t writers[4];
  for (int k = 0; k < 4; k++) {
    writers[k] = fork();
    if (writers[k] == 0) {
      std::string record(3000, char('A' + k));
      for (int i = 0; i < 60; i++) {
        if (write(p.w, record.data(), record.size()) != ssize_t(record.size())) _exit(1);
      }
      _exit(0);
    }
  }
  close(p.w);
  std::string all;
  for (;;) {
    std::string some = get(p.r, 50000);
    if (some.empty()) break;
    all += some;
  }
  CHECK_EQ(all.size(), 4u * 60 * 3000);
  bool whole = true;
  for (size_t i = 0; i < all.size(); i += 3000) whole &= all.substr(i, 3000) == std::string(3000, all[i]);
  CHECK(whole);
  for (pid_t w : writers) CHECK_EXIT(status_of(w), 0);
}

TEST(big_transfer) {
  Pipe p;
  pid_t writer = fork();
  if (writer == 0) {
    std::string b(100000, 0);
    uint8_t v = 0;
    for (int i = 0; i < 50; i++) {
      for (char& c : b) c = char(v++);
      if (write(p.w, b.data(), b.size()) != ssize_t(b.size())) _exit(1);
    }
    _exit(0);
  }
  close(p.w);
  uint8_t v = 0;
  size_t total = 0;
  bool right = true;
  for (;;) {
    std::string some = get(p.r, 12345);
    if (some.empty()) break;
    for (char c : some) right &= uint8_t(c) == v++;
    total += some.size();
  }
  CHECK(right);
  CHECK_EQ(total, 5000000);
  CHECK_EXIT(status_of(writer), 0);
}

TEST(blocked_reader_and_writer_wake) {
  Pipe p;
  pid_t me = getpid();
  pid_t child = fork();
  if (child == 0) {
    check::until_asleep(me);
    _exit(write(p.w, "x", 1) == 1 ? 0 : 1);
  }
  char c;
  CHECK_EQ(read(p.r, &c, 1), 1);
  CHECK_EXIT(status_of(child), 0);
  child = fork();
  if (child == 0) {
    close(p.w);
    check::until_asleep(me);
    _exit(0);
  }
  close(p.w);
  CHECK_EQ(read(p.r, &c, 1), 0);  // the last writer's end wakes the reader
  CHECK_EXIT(status_of(child), 0);
}

TEST(blocked_writer_gets_epipe) {
  Pipe p;
  signal(SIGPIPE, SIG_IGN);
  pid_t child = fork();
  if (child == 0) {
    close(p.r);
    static char b[100000];
    ssize_t n = write(p.w, b, sizeof b);
    if (n != 65536) _exit(1);
    _exit(write(p.w, b, 1) < 0 && errno == EPIPE ? 0 : 2);
  }
  close(p.w);
  NEED(check::until_asleep(child));
  close(p.r);
  CHECK_EXIT(status_of(child), 0);
}

TEST(packet_pipe) {
  Pipe p(O_DIRECT);
  CHECK_EQ(write(p.w, "one", 3), 3);
  CHECK_EQ(write(p.w, "two", 3), 3);
  CHECK_EQ(get(p.r), "one");
  CHECK_EQ(get(p.r, 2), "tw");  // the rest of a packet is dropped
  CHECK_EQ(write(p.w, "three", 5), 5);
  CHECK_EQ(get(p.r), "three");
}

TEST(reopen_through_proc) {
  Pipe p;
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", p.w);
  int again = NEED_OK(open(path, O_WRONLY));
  CHECK_EQ(write(again, "x", 1), 1);
  CHECK_EQ(get(p.r), "x");
  char link[64] = "";
  readlink(path, link, sizeof link - 1);
  CHECK(strncmp(link, "pipe:[", 6) == 0);
}

// ---- moving data in the kernel ----

TEST(splice_file_and_pipes) {
  NEED(check::write_file("f", "0123456789"));
  int f = NEED_OK(open("f", O_RDWR));
  Pipe p, q;
  off_t at = 2;
  CHECK_EQ(splice(f, &at, p.w, nullptr, 5, 0), 5);
  CHECK_EQ(at, 7);
  CHECK_EQ(lseek(f, 0, SEEK_CUR), 0);
  CHECK_EQ(tee(p.r, q.w, 100, 0), 5);
  CHECK_EQ(get(q.r), "23456");
  CHECK_EQ(splice(p.r, nullptr, q.w, nullptr, 3, 0), 3);
  CHECK_EQ(get(q.r), "234");
  int g = NEED_OK(open("g", O_RDWR | O_CREAT, 0600));
  CHECK_EQ(splice(p.r, nullptr, g, nullptr, 100, 0), 2);
  CHECK_EQ(check::read_file("g"), "56");
  CHECK_EQ(splice(f, nullptr, p.w, nullptr, 4, 0), 4);
  CHECK_EQ(lseek(f, 0, SEEK_CUR), 4);
  CHECK_EQ(get(p.r), "0123");
  CHECK_ERR(splice(f, nullptr, g, nullptr, 4, 0), EINVAL);
  CHECK_ERR(splice(p.r, &at, g, nullptr, 4, 0), ESPIPE);
  CHECK_ERR(splice(p.r, nullptr, q.w, nullptr, 4, SPLICE_F_NONBLOCK), EAGAIN);
  iovec v{const_cast<char*>("vm"), 2};
  CHECK_EQ(vmsplice(p.w, &v, 1, 0), 2);
  CHECK_EQ(get(p.r), "vm");
  CHECK_ERR(tee(f, q.w, 1, 0), EINVAL);
  CHECK_ERR(tee(p.r, q.w, 1, ~0u), EINVAL);
  CHECK_ERR(splice(p.r, nullptr, q.w, nullptr, 1, ~0u), EINVAL);
  iovec nothing = {nullptr, 0};
  CHECK_ERR(vmsplice(q.w, &nothing, 1, ~0u), EINVAL);
}

TEST(sendfile_everywhere) {
  NEED(check::write_file("f", std::string(100000, 's')));
  int f = NEED_OK(open("f", O_RDONLY));
  int g = NEED_OK(open("g", O_RDWR | O_CREAT, 0600));
  off_t at = 10;
  CHECK_EQ(sendfile(g, f, &at, 1000), 1000);
  CHECK_EQ(at, 1010);
  CHECK_EQ(lseek(f, 0, SEEK_CUR), 0);
  CHECK_EQ(sendfile(g, f, nullptr, 1 << 20), 100000);
  CHECK_EQ(lseek(f, 0, SEEK_CUR), 100000);
  CHECK_EQ(sendfile(g, f, nullptr, 10), 0);
  struct stat st;
  fstat(g, &st);
  CHECK_EQ(st.st_size, 101000);
  Pipe p;
  lseek(f, 0, SEEK_SET);
  CHECK_EQ(sendfile(p.w, f, nullptr, 100), 100);
  CHECK_EQ(get(p.r).size(), 100);
  int s[2];
  NEED_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
  CHECK_EQ(sendfile(s[0], f, nullptr, 200), 200);
  CHECK_EQ(get(s[1]).size(), 200);
  CHECK_ERR(sendfile(f, g, nullptr, 10), EBADF);  // f is read-only
  CHECK_ERR(sendfile(g, 999, nullptr, 10), EBADF);
  at = -5;
  CHECK_ERR(sendfile(g, f, &at, 10), EINVAL);
}

TEST(copy_file_range_calls) {
  NEED(check::write_file("f", "0123456789"));
  int f = NEED_OK(open("f", O_RDWR)), g = NEED_OK(open("g", O_RDWR | O_CREAT, 0600));
  off_t in = 3, out = 5;
  CHECK_EQ(copy_file_range(f, &in, g, &out, 100, 0), 7);
  CHECK_EQ(in, 10);
  CHECK_EQ(out, 12);
  CHECK_EQ(check::read_file("g"), std::string("\0\0\0\0\0", 5) + "3456789");
  CHECK_EQ(copy_file_range(f, nullptr, g, nullptr, 4, 0), 4);
  CHECK_EQ(lseek(f, 0, SEEK_CUR), 4);
  CHECK_EQ(lseek(g, 0, SEEK_CUR), 4);
  in = 0, out = 100;
  CHECK_EQ(copy_file_range(f, &in, f, &out, 10, 0), 10);  // same file, apart
  in = 0, out = 5;
  CHECK_ERR(copy_file_range(f, &in, f, &out, 10, 0), EINVAL);  // overlapping
  in = 500;
  CHECK_EQ(copy_file_range(f, &in, g, nullptr, 10, 0), 0);
  CHECK_ERR(copy_file_range(f, nullptr, g, nullptr, 10, 1), EINVAL);
  Pipe p;
  CHECK_ERR(copy_file_range(f, nullptr, p.w, nullptr, 10, 0), EINVAL);
  int dir = NEED_OK(open(".", O_RDONLY));
  CHECK_ERR(copy_file_range(dir, nullptr, g, nullptr, 10, 0), EISDIR);
  CHECK_ERR(copy_file_range(f, nullptr, NEED_OK(open("g", O_RDONLY)), nullptr, 10, 0), EBADF);
  CHECK_ERR(copy_file_range(f, nullptr, NEED_OK(open("g", O_RDWR | O_APPEND)), nullptr, 10, 0), EBADF);
}

// ---- eventfd, signalfd ----

TEST(eventfd_counts) {
  int fd = NEED_OK(eventfd(3, EFD_NONBLOCK));
  uint64_t v = 0;
  CHECK_EQ(events(fd), POLLIN | POLLOUT);
  CHECK_EQ(read(fd, &v, 8), 8);
  CHECK_EQ(v, 3);
  CHECK_ERR(read(fd, &v, 8), EAGAIN);
  CHECK_EQ(events(fd), POLLOUT);
  v = 5;
  CHECK_EQ(write(fd, &v, 8), 8);
  CHECK_EQ(write(fd, &v, 8), 8);
  CHECK_EQ(read(fd, &v, 8), 8);
  CHECK_EQ(v, 10);
  v = ~0ull;
  CHECK_ERR(write(fd, &v, 8), EINVAL);
  v = ~0ull - 1;
  CHECK_EQ(write(fd, &v, 8), 8);
  CHECK_EQ(events(fd), POLLIN);
  v = 1;
  CHECK_ERR(write(fd, &v, 8), EAGAIN);
  CHECK_ERR(read(fd, &v, 4), EINVAL);
  CHECK_ERR(write(fd, &v, 4), EINVAL);
  int sem = NEED_OK(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
  CHECK_EQ(read(sem, &v, 8), 8);
  CHECK_EQ(v, 1);
  CHECK_EQ(read(sem, &v, 8), 8);
  CHECK_ERR(read(sem, &v, 8), EAGAIN);
  CHECK_ERR(eventfd(0, 0x1000), EINVAL);
}

TEST(eventfd_blocks_between_processes) {
  int fd = NEED_OK(eventfd(0, 0));
  pid_t me = getpid();
  pid_t child = fork();
  if (child == 0) {
    check::until_asleep(me);
    eventfd_write(fd, 7);
    _exit(0);
  }
  uint64_t v;
  CHECK_EQ(read(fd, &v, 8), 8);
  CHECK_EQ(v, 7);
  status_of(child);
}

TEST(signalfd_reads) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGRTMIN);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  int fd = NEED_OK(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  signalfd_siginfo info[3];
  CHECK_ERR(read(fd, info, sizeof info), EAGAIN);
  CHECK_EQ(events(fd), 0);
  kill(getpid(), SIGUSR1);
  union sigval v;
  v.sival_int = 99;
  sigqueue(getpid(), SIGRTMIN, v);
  CHECK_EQ(events(fd), POLLIN);
  CHECK_EQ(read(fd, info, sizeof info), ssize_t(2 * sizeof info[0]));
  CHECK_EQ(info[0].ssi_signo, SIGUSR1);
  CHECK_EQ(info[0].ssi_pid, getpid());
  CHECK_EQ(info[1].ssi_signo, SIGRTMIN);
  CHECK_EQ(info[1].ssi_int, 99);
  CHECK_ERR(read(fd, info, 10), EINVAL);
  sigdelset(&set, SIGUSR1);
  CHECK_EQ(signalfd(fd, &set, 0), fd);  // changes the set
  kill(getpid(), SIGUSR1);
  CHECK_ERR(read(fd, info, sizeof info), EAGAIN);
  CHECK_ERR(signalfd(0, &set, 0), EINVAL);
  CHECK_ERR(signalfd(-1, &set, 0x1), EINVAL);
}

TEST(signalfd_blocking_read) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  int fd = NEED_OK(signalfd(-1, &set, 0));
  pid_t child = fork();
  if (child == 0) _exit(5);
  signalfd_siginfo info;
  CHECK_EQ(read(fd, &info, sizeof info), ssize_t(sizeof info));
  CHECK_EQ(info.ssi_signo, SIGCHLD);
  CHECK_EQ(info.ssi_status, 5);
  status_of(child);
}
