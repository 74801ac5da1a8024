// Unit tests: each test thread is a task.
#ifdef TEACUP_HOSTED
#include "kernel/sync/task_core.h"

namespace teacup {

TaskCore& current_core() {
  thread_local TaskCore core;
  return core;
}

}  // namespace teacup
#endif
