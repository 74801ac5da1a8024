// What the tests of terminals share: pseudo-terminals, and sessions on them.
#pragma once

#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "tests/guest/check.h"

namespace tty {

struct Pty {
  int master = -1, slave = -1;
  Pty() {
    master = NEED_OK(posix_openpt(O_RDWR | O_NOCTTY));
    NEED_OK(grantpt(master));
    NEED_OK(unlockpt(master));
    char name[64];
    NEED(ptsname_r(master, name, sizeof name) == 0);
    slave = NEED_OK(open(name, O_RDWR | O_NOCTTY));
  }
  ~Pty() {
    close(master);
    close(slave);
  }
};

inline termios attributes(int fd) {
  termios t;
  NEED_OK(tcgetattr(fd, &t));
  return t;
}

inline void raw(int fd) {
  termios t = attributes(fd);
  cfmakeraw(&t);
  NEED_OK(tcsetattr(fd, TCSANOW, &t));
}

// So many bytes, in however many pieces they come (Linux has a thread of its own carry them), and what is
// there behind them.
inline std::string drain(int fd, size_t expected) {
  std::string out;
  pollfd p{fd, POLLIN, 0};
  while (poll(&p, 1, out.size() < expected ? check::kPatience : 0) == 1 && (p.revents & POLLIN)) {
    char b[512];
    ssize_t n = read(fd, b, sizeof b);
    if (n <= 0) break;
    out.append(b, size_t(n));
  }
  return out;
}

inline bool readable(int fd, int ms = 0) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, ms) == 1 && (p.revents & POLLIN);
}

inline void type(int master, std::string_view text) {
  CHECK_EQ(write(master, text.data(), text.size()), ssize_t(text.size()));
}

// A session leader with the pty as its controlling terminal, running `f`.
template <typename F>
pid_t session_on(Pty& pty, F f) {
  pid_t p = fork();
  if (p == 0) {
    check::failures = 0;
    close(pty.master);
    setsid();
    if (ioctl(pty.slave, TIOCSCTTY, 0) < 0) check::fail(__FILE__, __LINE__, "TIOCSCTTY");
    f();
    _exit(check::failures ? 1 : 0);
  }
  return p;
}

inline int status_of(pid_t p) {
  int status = -1;
  while (waitpid(p, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace tty
