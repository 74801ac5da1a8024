#include "kernel/entry/start.h"

#include "fs/decoder.h"
#include "fs/vfs.h"
#include "host/gate/gate.h"
#include "kernel/abi/mm.h"
#include "kernel/entry/decoder_task.h"
#include "kernel/entry/kernel_task.h"
#include "kernel/mm/address_space.h"
#include "kernel/pseudo/pseudo.h"
#include "kernel/task/machine.h"
#include "kernel/task/processes.h"
#include "kernel/task/zygote.h"
#include "kernel/time/timer.h"
#include "loader/program.h"

namespace teacup {

namespace {

// The heap's first part becomes huge pages where the host can: forty first writes then cost a new process one
// fault. Not before there are many processes: it takes 4 MiB of memory whole, and for the host first drains
// every core's page lists, 3.5 ms on a calm machine, 15 where others compute (under strace).
void collapse_heap() {
  (void)gate::advise(kArenaBase, 2 * kArenaHeaderSize, abi::kMADV_COLLAPSE);
}

void must(Result<void> result, const char* what) {
  if (result.ok()) return;
  char buffer[256];
  TextBuffer text(buffer);
  text.add(what).add(": ").add(errno_name(result.error()));
  machine_refuse(125, buffer);
}

}  // namespace

void machine_start() {
  const abi::BootConfig& config = abi::boot_config();
  timers_start();
  processes_start();
  must(mm::mm_start(), "cannot set up memory");
  must(loader_start(), "cannot set up memory");
  fs::vfs_start();
  fs::decoder_start(&wake_template);
  pseudo::pseudo_start();
  auto started = fs::fs_start(config);
  const char* problem = fs::fs_start_problem();
  must(started, problem != nullptr ? problem : "cannot mount the image");
}

void serve_as_template() {
  must(spawn_zygote(), "cannot start the first process");
  start_init(abi::boot_config(), &pseudo::open_standard_streams);
  // What happened meanwhile is in its events; the first program need not wait for it.
  spawn_kernel_task();
  bool collapsed = false;
  for (;;) {
    u32 seen = zygotes_word().load(std::memory_order_seq_cst);
    if (zygotes_wanted() > 0) {
      // Out of host processes: whoever execs meanwhile waits, or is told EAGAIN; try again when something
      // changes.
      if (spawn_zygote().ok()) continue;
    }
    if (fs::decoder()->wanted()) spawn_decoder();
    if (!collapsed && are_processes_many()) {
      collapsed = true;
      collapse_heap();
    }
    gate::futex_wait(zygotes_word(), seen, gate::kNoDeadline);
  }
}

}  // namespace teacup
