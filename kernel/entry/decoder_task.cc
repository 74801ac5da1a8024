#include "kernel/entry/decoder_task.h"

#include "fs/decoder.h"
#include "host/gate/gate.h"
#include "kernel/frame/heap.h"
#include "kernel/sync/task_core.h"

namespace teacup {

void spawn_decoder() {
  auto core = make<TaskCore>();
  if (!core.ok()) return;
  auto pid = gate::spawn_process(&core.value()->host_pid);
  if (!pid.ok()) {
    destroy(core.value());
    return;
  }
  if (pid.value() != 0) {
    fs::decoder()->spawned(pid.value());
    return;
  }
  gate::set_task(core.value());
  gate::die_with_broker();
  fs::decoder()->serve();
}

}  // namespace teacup
