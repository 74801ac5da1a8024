// File locks: fcntl(2)'s records, of processes and of open file descriptions, and flock(2).
#include <sys/file.h>

#include "tests/guest/check.h"

namespace {

struct Pipe {
  int r, w;
  Pipe() {
    int fds[2];
    NEED_OK(pipe(fds));
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

int status_of(pid_t p) {
  int status = -1;
  while (waitpid(p, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

struct flock range(short type, off_t start, off_t length, short whence = SEEK_SET) {
  struct flock l {};
  l.l_type = type;
  l.l_whence = whence;
  l.l_start = start;
  l.l_len = length;
  return l;
}

// What another process would find in the way of a write lock: the type and the range.
std::string conflict(int fd, off_t start, off_t length) {
  Pipe p;
  pid_t child = fork();
  if (child == 0) {
    struct flock l = range(F_WRLCK, start, length);
    fcntl(fd, F_GETLK, &l);
    char b[64];
    int n = l.l_type == F_UNLCK ? snprintf(b, sizeof b, "free")
                                : snprintf(b, sizeof b, "%c %ld %ld %d", l.l_type == F_RDLCK ? 'r' : 'w',
                                           l.l_start, l.l_len, l.l_pid == getppid());
    if (write(p.w, b, size_t(n)) != n) _exit(1);
    _exit(0);
  }
  close(p.w);
  std::string s = get(p.r);
  close(p.r);
  status_of(child);
  return s;
}
}  // namespace

TEST(posix_locks) {
  NEED(check::write_file("f", "0123456789"));
  int fd = NEED_OK(open("f", O_RDWR));
  struct flock l = range(F_WRLCK, 2, 4);
  CHECK_OK(fcntl(fd, F_SETLK, &l));
  CHECK_EQ(conflict(fd, 0, 0), "w 2 4 1");
  CHECK_EQ(conflict(fd, 0, 2), "free");
  l = range(F_RDLCK, 4, 1);
  CHECK_OK(fcntl(fd, F_SETLK, &l));  // splits: 2-3 w, 4 r, 5 w
  CHECK_EQ(conflict(fd, 4, 1), "r 4 1 1");
  CHECK_EQ(conflict(fd, 5, 1), "w 5 1 1");
  CHECK_EQ(conflict(fd, 2, 1), "w 2 2 1");
  l = range(F_UNLCK, 3, 2);
  CHECK_OK(fcntl(fd, F_SETLK, &l));
  CHECK_EQ(conflict(fd, 3, 2), "free");
  CHECK_EXIT(check::in_child([&] {
               struct flock mine = range(F_WRLCK, 5, 1);
               CHECK_ERR(fcntl(fd, F_SETLK, &mine), EAGAIN);
               mine = range(F_WRLCK, 0, 2);
               CHECK_OK(fcntl(fd, F_SETLK, &mine));
             }),
             0);
  CHECK_EQ(conflict(fd, 0, 1), "free");  // gone with its process
  // Any close of the file by the process drops its locks.
  close(NEED_OK(open("f", O_RDONLY)));
  CHECK_EQ(conflict(fd, 0, 0), "free");
  l = range(F_WRLCK, -5, 5, SEEK_END);
  CHECK_OK(fcntl(fd, F_SETLK, &l));
  CHECK_EQ(conflict(fd, 0, 0), "w 5 5 1");
  l = range(F_WRLCK, -1, 1);
  CHECK_ERR(fcntl(fd, F_SETLK, &l), EINVAL);
  l = range(77, 0, 1);
  CHECK_ERR(fcntl(fd, F_SETLK, &l), EINVAL);
  int ro = NEED_OK(open("f", O_RDONLY));
  l = range(F_WRLCK, 0, 1);
  CHECK_ERR(fcntl(ro, F_SETLK, &l), EBADF);
}

TEST(posix_lock_waits) {
  int fd = NEED_OK(open("f", O_RDWR | O_CREAT, 0600));
  struct flock l = range(F_WRLCK, 0, 0);
  CHECK_OK(fcntl(fd, F_SETLK, &l));
  pid_t child = fork();
  if (child == 0) {
    struct flock mine = range(F_WRLCK, 0, 0);
    _exit(fcntl(fd, F_SETLKW, &mine) == 0 ? 0 : 1);
  }
  NEED(check::until_asleep(child));
  l.l_type = F_UNLCK;
  CHECK_OK(fcntl(fd, F_SETLK, &l));
  CHECK_EXIT(status_of(child), 0);
}

TEST(posix_lock_deadlock) {
  int fd = NEED_OK(open("f", O_RDWR | O_CREAT, 0600));
  Pipe p;
  struct flock a = range(F_WRLCK, 0, 1), b = range(F_WRLCK, 1, 1);
  CHECK_OK(fcntl(fd, F_SETLK, &a));
  pid_t child = fork();
  if (child == 0) {
    fcntl(fd, F_SETLK, &b);
    if (write(p.w, "r", 1) != 1) _exit(1);
    _exit(fcntl(fd, F_SETLKW, &a) == 0 ? 0 : 1);
  }
  get(p.r, 1);
  NEED(check::until_asleep(child));
  CHECK_ERR(fcntl(fd, F_SETLKW, &b), EDEADLK);
  a.l_type = F_UNLCK;
  fcntl(fd, F_SETLK, &a);
  CHECK_EXIT(status_of(child), 0);
}

namespace {
// A child that takes `mine`, says so, and then waits for `wanted`.
pid_t taker(Pipe& said, int mine, int wanted) {
  pid_t child = fork();
  if (child == 0) {
    struct flock byte = range(F_WRLCK, 0, 1);
    if (fcntl(mine, F_SETLK, &byte) < 0) _exit(1);
    if (write(said.w, "r", 1) != 1) _exit(2);
    _exit(fcntl(wanted, F_SETLKW, &byte) == 0 ? 0 : 3);
  }
  get(said.r, 1);
  NEED(check::until_asleep(child));
  return child;
}
}  // namespace

// Three processes hold a byte each, in a file each, and want the next one's: whoever closes the circle is
// told.
TEST(posix_lock_deadlock_of_three) {
  int one = NEED_OK(open("one", O_RDWR | O_CREAT, 0600));
  int two = NEED_OK(open("two", O_RDWR | O_CREAT, 0600));
  int three = NEED_OK(open("three", O_RDWR | O_CREAT, 0600));
  Pipe said;
  struct flock byte = range(F_WRLCK, 0, 1);
  CHECK_OK(fcntl(one, F_SETLK, &byte));
  pid_t second = taker(said, two, one), third = taker(said, three, two);
  CHECK_ERR(fcntl(three, F_SETLKW, &byte), EDEADLK);
  // Its lock is still held, and without it there is no circle.
  CHECK_EQ(check::task_state(second), 'S');
  byte.l_type = F_UNLCK;
  CHECK_OK(fcntl(one, F_SETLK, &byte));
  CHECK_EXIT(status_of(second), 0);
  CHECK_EXIT(status_of(third), 0);
  byte.l_type = F_WRLCK;
  CHECK_OK(fcntl(three, F_SETLKW, &byte));
}

// Waiting for one who waits is no deadlock, nor is a circle that a signal has opened.
TEST(posix_lock_no_deadlock) {
  int one = NEED_OK(open("one", O_RDWR | O_CREAT, 0600));
  int two = NEED_OK(open("two", O_RDWR | O_CREAT, 0600));
  Pipe said;
  struct flock byte = range(F_WRLCK, 0, 1);
  CHECK_OK(fcntl(one, F_SETLK, &byte));
  pid_t child = fork();
  if (child == 0) {
    struct sigaction sa {};
    sa.sa_handler = [](int) {};
    sigaction(SIGUSR1, &sa, nullptr);
    if (fcntl(two, F_SETLK, &byte) < 0) _exit(1);
    if (write(said.w, "r", 1) != 1) _exit(2);
    if (fcntl(one, F_SETLKW, &byte) == 0 || errno != EINTR) _exit(3);
    if (write(said.w, "r", 1) != 1) _exit(4);
    pause();
    _exit(0);
  }
  get(said.r, 1);
  NEED(check::until_asleep(child));
  kill(child, SIGUSR1);
  get(said.r, 1);
  NEED(check::until_asleep(child));
  pid_t waker = fork();
  if (waker == 0) {
    check::until_asleep(getppid());
    kill(child, SIGUSR1);
    _exit(0);
  }
  CHECK_OK(fcntl(two, F_SETLKW, &byte));  // until the child ends
  CHECK_EXIT(status_of(child), 0);
  CHECK_EXIT(status_of(waker), 0);
}

// Two processes pass two locks back and forth; each always takes them in the same order, so a circle that is
// seen was never there.
TEST(posix_lock_busy_without_deadlock) {
  int fd = NEED_OK(open("f", O_RDWR | O_CREAT, 0600));
  auto work = [&] {
    for (int i = 0; i < 3000; i++) {
      struct flock first = range(F_WRLCK, 0, 1), second = range(F_WRLCK, 1, 1);
      if (fcntl(fd, F_SETLKW, &first) < 0) _exit(1);
      if (fcntl(fd, F_SETLKW, &second) < 0) _exit(2);
      first.l_type = second.l_type = F_UNLCK;
      if (fcntl(fd, F_SETLK, &first) < 0) _exit(3);
      // Taken and given up again while the other may wait for it.
      first.l_type = F_RDLCK;
      if (fcntl(fd, F_SETLK, &first) < 0 && errno != EAGAIN) _exit(4);
      first.l_type = F_UNLCK;
      if (fcntl(fd, F_SETLK, &first) < 0) _exit(5);
      if (fcntl(fd, F_SETLK, &second) < 0) _exit(6);
    }
    _exit(0);
  };
  pid_t children[3];
  for (pid_t& child : children) {
    child = fork();
    if (child == 0) work();
  }
  for (pid_t child : children) CHECK_EXIT(status_of(child), 0);
}

// Open file descriptions are no processes: nobody looks for circles of theirs (fcntl(2)).
TEST(open_file_description_locks_have_no_deadlock) {
  int one = NEED_OK(open("f", O_RDWR | O_CREAT, 0600)), two = NEED_OK(open("f", O_RDWR));
  Pipe said;
  struct flock a = range(F_WRLCK, 0, 1), b = range(F_WRLCK, 1, 1);
  CHECK_OK(fcntl(one, F_OFD_SETLK, &a));
  pid_t child = fork();
  if (child == 0) {
    if (fcntl(two, F_OFD_SETLK, &b) < 0) _exit(1);
    if (write(said.w, "r", 1) != 1) _exit(2);
    _exit(fcntl(two, F_OFD_SETLKW, &a) < 0 && errno == EINTR ? 0 : 3);
  }
  get(said.r, 1);
  NEED(check::until_asleep(child));
  struct sigaction sa {};
  sa.sa_handler = [](int) {};
  sigaction(SIGALRM, &sa, nullptr);
  ualarm(20000, 20000);
  CHECK_ERR(fcntl(one, F_OFD_SETLKW, &b), EINTR);
  kill(child, SIGKILL);
  CHECK_KILLED(status_of(child), SIGKILL);
}

TEST(open_file_description_locks) {
  NEED(check::write_file("f", "x"));
  int one = NEED_OK(open("f", O_RDWR)), two = NEED_OK(open("f", O_RDWR));
  struct flock l = range(F_WRLCK, 0, 0);
  CHECK_OK(fcntl(one, F_OFD_SETLK, &l));
  CHECK_ERR(fcntl(two, F_OFD_SETLK, &l), EAGAIN);
  close(NEED_OK(open("f", O_RDONLY)));
  CHECK_ERR(fcntl(two, F_OFD_SETLK, &l), EAGAIN);  // not dropped by a stranger's close
  struct flock q = range(F_WRLCK, 0, 0);
  CHECK_OK(fcntl(two, F_OFD_GETLK, &q));
  CHECK_EQ(q.l_type, F_WRLCK);
  CHECK_EQ(q.l_pid, -1);
  int copy = dup(one);
  close(one);
  CHECK_ERR(fcntl(two, F_OFD_SETLK, &l), EAGAIN);
  close(copy);
  CHECK_OK(fcntl(two, F_OFD_SETLK, &l));
  l.l_pid = 5;
  CHECK_ERR(fcntl(two, F_OFD_SETLK, &l), EINVAL);
}

// Of whatever kind the file is.
TEST(locks_of_a_fifo_end_with_its_file) {
  NEED_OK(mkfifo("fifo", 0600));
  int other = NEED_OK(open("fifo", O_RDWR));
  struct flock l = range(F_WRLCK, 10, 5);
  int description = NEED_OK(open("fifo", O_RDWR));
  CHECK_OK(fcntl(description, F_OFD_SETLK, &l));
  CHECK_ERR(fcntl(other, F_OFD_SETLK, &l), EAGAIN);
  close(description);
  CHECK_OK(fcntl(other, F_OFD_SETLK, &l));
  l = range(F_UNLCK, 0, 0);
  CHECK_OK(fcntl(other, F_OFD_SETLK, &l));
  int whole = NEED_OK(open("fifo", O_RDWR));
  CHECK_OK(flock(whole, LOCK_EX));
  CHECK_ERR(flock(other, LOCK_SH | LOCK_NB), EAGAIN);
  close(whole);
  CHECK_OK(flock(other, LOCK_SH | LOCK_NB));
  l = range(F_WRLCK, 10, 5);
  CHECK_EXIT(check::in_child([&] {
               int mine = NEED_OK(open("fifo", O_RDWR));
               CHECK_OK(fcntl(mine, F_SETLK, &l));
               close(NEED_OK(open("fifo", O_RDWR)));  // any of the process's
               CHECK_EXIT(check::in_child([&] { CHECK_OK(fcntl(other, F_SETLK, &l)); }), 0);
             }),
             0);
}

TEST(flock_calls) {
  NEED(check::write_file("f", "x"));
  int one = NEED_OK(open("f", O_RDWR)), two = NEED_OK(open("f", O_RDONLY));
  CHECK_OK(flock(one, LOCK_EX));
  CHECK_ERR(flock(two, LOCK_EX | LOCK_NB), EAGAIN);
  CHECK_ERR(flock(two, LOCK_SH | LOCK_NB), EAGAIN);
  CHECK_OK(flock(one, LOCK_SH));
  CHECK_OK(flock(two, LOCK_SH | LOCK_NB));
  CHECK_ERR(flock(one, LOCK_EX | LOCK_NB), EAGAIN);
  CHECK_OK(flock(two, LOCK_UN));
  CHECK_OK(flock(one, LOCK_EX | LOCK_NB));
  CHECK_ERR(flock(one, 16), EINVAL);
  CHECK_EXIT(check::in_child([&] {
               CHECK_OK(flock(one, LOCK_EX | LOCK_NB));  // the same open file
               CHECK_ERR(flock(two, LOCK_EX | LOCK_NB), EAGAIN);
             }),
             0);
  close(one);
  CHECK_OK(flock(two, LOCK_EX | LOCK_NB));
  struct flock l = range(F_WRLCK, 0, 0);
  int rw = NEED_OK(open("f", O_RDWR));
  CHECK_OK(fcntl(rw, F_SETLK, &l));  // the two kinds do not see each other
}
