// The host terminal: raw while the guest's console has it (the guest's own line discipline does the rest),
// restored however teacup ends: by the destructor, or, should the broker be killed, by a small watcher
// process.
#pragma once

#include <sys/types.h>
#include <termios.h>

namespace teacup::host {

class Terminal {
 public:
  Terminal() = default;
  ~Terminal() { restore(); }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // If stdin is a terminal: saves its mode, starts the watcher, makes it raw.
  void take();
  void restore();
  bool taken() const { return fd_ >= 0; }
  // For ^Z-like stops of teacup itself and back.
  void pause();
  void resume();

 private:
  int fd_ = -1;
  int watcher_pipe_ = -1;
  pid_t watcher_ = 0;
  termios saved_{};
};

// Tells the machine if the terminal's size is no longer what it knows. By the broker on SIGWINCH, and by
// whoever has read input, before the guest sees it: a signal may come later than what was typed after it. Any
// thread.
void refresh_window();

}  // namespace teacup::host
