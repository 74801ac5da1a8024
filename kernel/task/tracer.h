// What --trace is told of a task besides its calls: an interface, because who tells (exec, exit, signals)
// lies below what knows how calls look (kernel/syscall).
#pragma once

#include "kernel/abi/signal.h"
#include "kernel/base/arena_header.h"

namespace teacup {

class Task;

// All are called with no lock held (each line is a call of the broker) and change nothing that the guest
// could see.
class Tracer {
 public:
  // A call that does not come back to the dispatcher has succeeded: exec into another address space.
  virtual void call_succeeded(Task& task) = 0;
  virtual void signal_taken(Task& task, const abi::SigInfo& info) = 0;
  virtual void stopped(Task& task, int signal) = 0;
  // `wait_status` as wait(2) tells it. Closes the call that the task is in.
  virtual void ended(Task& task, u32 wait_status) = 0;

 protected:
  ~Tracer() = default;
};

// Null unless --trace was given.
inline Tracer* tracer() {
  return root<Tracer>(Root::kTracer);
}

}  // namespace teacup
