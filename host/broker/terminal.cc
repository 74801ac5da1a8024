#include "host/broker/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/broker/events.h"
#include "kernel/abi/events.h"
#include "kernel/abi/stats.h"
#include "kernel/base/types.h"

namespace teacup::host {

namespace {

// Waits for the broker's end of the pipe to close. A byte first means that it restored the terminal itself.
[[noreturn]] void watch(int pipe, int terminal, const termios& saved) {
  // ^C and hang-ups of the terminal's group are not for the watcher.
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  char byte = 0;
  ssize_t count = 0;
  while ((count = read(pipe, &byte, 1)) < 0 && errno == EINTR) {
  }
  if (count == 0) tcsetattr(terminal, TCSANOW, &saved);
  _exit(0);
}

void set_raw(int fd, const termios& saved) {
  termios raw = saved;
  cfmakeraw(&raw);
  tcsetattr(fd, TCSADRAIN, &raw);
}

}  // namespace

void Terminal::take() {
  if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &saved_) != 0) return;
  // In the background already (teacup … &): touching the mode would stop us; the shell has the terminal.
  if (tcgetpgrp(STDIN_FILENO) != getpgrp()) return;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  watcher_ = fork();
  if (watcher_ == 0) {
    close(ends[1]);
    watch(ends[0], STDIN_FILENO, saved_);
  }
  close(ends[0]);
  watcher_pipe_ = ends[1];
  fd_ = STDIN_FILENO;
  set_raw(fd_, saved_);
}

void Terminal::restore() {
  if (fd_ < 0) return;
  tcsetattr(fd_, TCSADRAIN, &saved_);
  fd_ = -1;
  char byte = 1;
  if (write(watcher_pipe_, &byte, 1) < 0) kill(watcher_, SIGKILL);
  close(watcher_pipe_);
  while (waitpid(watcher_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Terminal::pause() {
  if (fd_ >= 0) tcsetattr(fd_, TCSADRAIN, &saved_);
}
void Terminal::resume() {
  if (fd_ >= 0) set_raw(fd_, saved_);
}

void refresh_window() {
  for (int fd = 0; fd < 3; fd++) {
    winsize size{};
    if (ioctl(fd, TIOCGWINSZ, &size) != 0) continue;
    u32 window = u32{size.ws_row} << 16 | size.ws_col;
    if (abi::events().window.exchange(window) != window) raise_event(abi::kEventWinch);
    return;
  }
}

}  // namespace teacup::host
