#include "kernel/entry/kernel_task.h"

#include "fs/decoder.h"
#include "fs/file.h"
#include "host/gate/gate.h"
#include "kernel/abi/stats.h"
#include "kernel/base/panic.h"
#include "kernel/frame/heap.h"
#include "kernel/pseudo/pseudo.h"
#include "kernel/sync/wait.h"
#include "kernel/task/enter.h"
#include "kernel/task/machine.h"
#include "kernel/task/processes.h"
#include "kernel/task/send_signal.h"
#include "kernel/time/timer.h"
#include "net/gateway.h"

namespace teacup {

namespace {

// A signal of the host for the machine: to pid 1, which takes default actions for it (^C ends the machine).
// One that comes before pid 1 exists waits: start_init() raises the event again.
void forward_signals(abi::Events& events) {
  Ref<Process> init = processes().find_process(1);
  if (!init) return;
  u64 signals = events.signals.exchange(0, std::memory_order_seq_cst);
  for (int signal = 1; signal <= abi::kNSIG; signal++) {
    if ((signals & abi::signal_bit(signal)) == 0) continue;
    (void)send_signal(*init, kernel_signal(signal));
  }
}

void reap_host_processes() {
  abi::Events& events = abi::events();
  u32 head = events.dead_head.load(std::memory_order_seq_cst);
  for (u32 tail = events.dead_tail.load(std::memory_order_relaxed); tail != head; tail++) {
    auto dead = events.dead[tail % abi::kDeadRing];
    events.dead_tail.store(tail + 1, std::memory_order_seq_cst);
    if (!fs::decoder()->host_process_ended(dead.host_pid) ||
        !host_process_ended(dead.host_pid, dead.status)) {
      machine_refuse(125,
                     "a host process of the machine was killed from outside while it was inside the kernel");
    }
  }
}

void dump_line(void*, std::string_view text) {
  // From the heap: the broker reads messages in the arena.
  auto* copy = static_cast<char*>(heap_allocate(text.size() + 1));
  if (copy == nullptr) return;
  TextBuffer({copy, text.size() + 1}).add(text);
  machine_message(copy, text.size());
  heap_free(copy);
}

void handle_events(u32 flags) {
  abi::Events& events = abi::events();
  if ((flags & abi::kEventWinch) != 0) {  // before input that was typed after it
    u32 window = events.window.load(std::memory_order_relaxed);
    pseudo::window_event(window >> 16, window & 0xffff);
  }
  for (u32 stream = 0; stream < 3; stream++) {
    if ((flags & (abi::kEventStream0 << stream)) != 0) pseudo::stream_event(stream);
  }
  if ((flags & abi::kEventGateway) != 0) net::gateway_news();
  if ((flags & abi::kEventDied) != 0) {
    reap_host_processes();
    take_outside_news();  // who was woken for it may be among the dead
  }
  if ((flags & abi::kEventSignals) != 0) forward_signals(events);
  if ((flags & abi::kEventDump) != 0) dump_tasks(&dump_line, nullptr);
}

[[noreturn]] void kernel_task_main() {
  abi::Events& events = abi::events();
  for (;;) {
    u32 seen = events.word.load(std::memory_order_seq_cst);
    u32 flags = events.flags.exchange(0, std::memory_order_seq_cst);
    if (flags != 0) {
      handle_events(flags);
      continue;
    }
    u64 deadline = timers_run(gate::monotonic_now());
    gate::futex_wait(events.word, seen, deadline);
  }
}

}  // namespace

void spawn_kernel_task() {
  auto core = make<TaskCore>();
  if (!core.ok()) machine_refuse(125, "no memory for the kernel task");
  auto pid = gate::spawn_process(&core.value()->host_pid);
  if (!pid.ok()) machine_refuse(125, "the host gives no more processes (ulimit -u)");
  if (pid.value() != 0) return;
  gate::set_task(core.value());
  gate::die_with_broker();
  kernel_task_main();
}

}  // namespace teacup
