// The way out. Pending reasons are cleared here, by the task itself, before it looks at what they stand for.
//
// A call that was interrupted says in rax how it wants to go on (Errno::RESTART*), and frame.call_number
// still has its number. Restarting means: the original number in rax, and the program counter back on the
// system-call instruction, which is two bytes before the one that the guest would see next; in a patched
// window that is the copy in the trampoline (DESIGN 5).
#include "kernel/abi/nr.h"
#include "kernel/signal/frame.h"
#include "kernel/signal/signal.h"
#include "kernel/signal/stop.h"
#include "kernel/task/debug_report.h"
#include "kernel/task/exit.h"
#include "kernel/task/process_timers.h"
#include "kernel/task/tracer.h"

namespace teacup {

namespace {

using abi::signal_bit;
using abi::SigSet;

struct Taken {
  int signal = 0;
  abi::SigInfo info{};
  abi::SigAction action{};
  u32 continue_count = 0;
};

// Takes a deliverable signal and looks up what to do with it.
Taken take(Task& task) {
  Process& process = *task.process;
  Taken taken;
  LockGuard guard(process.lock);
  SigSet allowed = ~task.signals.blocked;
  taken.signal = task.signals.queue.take(allowed, &taken.info);
  if (taken.signal == 0) taken.signal = process.queue.take(allowed, &taken.info);
  if (taken.signal == 0) return taken;
  abi::SigAction& action = process.handlers[static_cast<size_t>(taken.signal - 1)];
  taken.action = action;
  taken.continue_count = process.continue_count;
  if (action.handler > abi::kSIG_IGN && (action.flags & abi::kSA_RESETHAND) != 0) {
    action.handler = abi::kSIG_DFL;
  }
  return taken;
}

void restart_call(Task& task, Frame& frame, u64 number) {
  frame.rax = number;
  frame.rip = task.memory->kernel_pc(task.memory->guest_pc(frame.rip) - 2);
}

// What becomes of an interrupted call when `action`'s handler runs, or none (null).
void settle_call(Task& task, Frame& frame, const abi::SigAction* action) {
  if (frame.call_number == kNoCall) return;
  u64 number = frame.call_number;
  s64 result = static_cast<s64>(frame.rax);
  bool restart = false;
  switch (-result) {
    case static_cast<s64>(Errno::RESTARTSYS):
      restart = action == nullptr || (action->flags & abi::kSA_RESTART) != 0;
      break;
    case static_cast<s64>(Errno::RESTARTNOINTR):
      restart = true;
      break;
    case static_cast<s64>(Errno::RESTARTNOHAND):
      restart = action == nullptr;
      break;
    case static_cast<s64>(Errno::RESTART_RESTARTBLOCK):
      restart = action == nullptr;
      number = abi::kNR_restart_syscall;
      break;
    default:
      return;
  }
  if (restart) {
    restart_call(task, frame, number);
  } else {
    frame.rax = static_cast<u64>(-static_cast<s64>(Errno::INTR));
  }
  frame.call_number = kNoCall;
}

[[noreturn]] void die_of(Task& task, Frame& frame, const abi::SigInfo& info) {
  int signal = info.signo;
  if ((signal_bit(signal) & kCoreSignals) != 0) report_crash(task, info, context_of(task, frame));
  u32 status = static_cast<u32>(signal);
  bool core = (signal_bit(signal) & kCoreSignals) != 0 && task.process->limit(abi::kRLIMIT_CORE) > 0 &&
              task.process->dumpable;
  end_process(task, core ? status | 0x80 : status);
}

void run_handler(Task& task, Frame& frame, const Taken& taken) {
  settle_call(task, frame, &taken.action);
  if (!push_signal_frame(task, frame, taken.action, taken.info).ok()) {
    // No stack to put it on. A handler for SIGSEGV has no better one.
    if (taken.signal == abi::kSIGSEGV) die_of(task, frame, taken.info);
    force_signal(task, kernel_signal(abi::kSIGSEGV));
    return;
  }
  task.signals.restore_blocked = false;  // the frame has the old mask
  SigSet blocked = task.signals.blocked | taken.action.mask;
  if ((taken.action.flags & abi::kSA_NODEFER) == 0) blocked |= signal_bit(taken.signal);
  set_blocked(task, blocked);
}

// Returns true if a handler's frame was built.
bool deliver(Task& task, Frame& frame, const Taken& taken) {
  if (taken.action.handler == abi::kSIG_IGN) return false;
  if (taken.action.handler != abi::kSIG_DFL) {
    run_handler(task, frame, taken);
    return true;
  }
  SigSet bit = signal_bit(taken.signal);
  if ((bit & kIgnoredByDefault) != 0) return false;
  if ((bit & kStopSignals) != 0) {
    if (Tracer* trace = tracer()) trace->stopped(task, taken.signal);
    begin_stop(task, taken.signal, taken.continue_count);
    return false;
  }
  settle_call(task, frame, nullptr);
  die_of(task, frame, taken.info);
}

}  // namespace

void handle_pending(Task& task, Frame& frame) {
  for (;;) {
    u32 pending = task.pending.fetch_and(kPendingDying, std::memory_order_seq_cst);
    if ((pending & kPendingDying) != 0) end_dying(task);
    if ((pending & kPendingRemap) != 0) task.memory->bring_up_to_date();
    if ((pending & kPendingClock) != 0) look_at_thread_timers(task);
    if ((pending & kPendingStop) != 0) stand_still(task);
    Taken taken = take(task);
    if (taken.signal == 0) {
      if (task.pending.load(std::memory_order_seq_cst) != 0) continue;
      break;
    }
    if (Tracer* trace = tracer()) trace->signal_taken(task, taken.info);
    if (deliver(task, frame, taken)) {
      // Others may wait behind it: their frames are built on top of this one.
      task.pending.fetch_or(kPendingSignal, std::memory_order_seq_cst);
      return;
    }
  }
  settle_call(task, frame, nullptr);
  if (task.signals.restore_blocked) {
    task.signals.restore_blocked = false;
    set_blocked(task, task.signals.saved_blocked);
  }
}

}  // namespace teacup
