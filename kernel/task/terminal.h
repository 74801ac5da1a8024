// The controlling terminal as sessions see it. kernel/pseudo's ttys derive from it; job control proper (who
// may read, SIGTTIN, the foreground group) lives there.
#pragma once

#include "kernel/base/ref.h"
#include "kernel/base/types.h"
#include "kernel/frame/heap.h"

namespace teacup {

class Session;

class ControllingTerminal : public RefCounted<ControllingTerminal> {
 public:
  virtual ~ControllingTerminal() = default;
  static void destroy(ControllingTerminal* terminal);
  static void operator delete(void* block) { heap_free(block); }

  virtual u64 device() const = 0;            // rdev, for /proc/PID/stat
  virtual s32 foreground_group() const = 0;  // 0: none
  // The session's leader has ended, or gave the terminal up (TIOCNOTTY): the terminal has no session from
  // now on. Sends nothing; Processes has sent SIGHUP and SIGCONT to the foreground group. No lock held.
  virtual void session_ended(Session& session) = 0;

 protected:
  ControllingTerminal() = default;
};

}  // namespace teacup
