// Pending signals, masks and handlers: the data. Sending is send_signal.h, delivery kernel/signal.
//
// Locks: all of it is guarded by the Process's lock (kSignal); a task reads its own mask without.
#pragma once

#include <array>

#include "kernel/abi/signal.h"
#include "kernel/base/list.h"

namespace teacup {

// One queued signal with its siginfo. From the heap, or part of a POSIX timer (which is told when it is
// taken).
struct QueuedSignal {
  ListNode node;
  abi::SigInfo info{};
  void (*on_taken)(QueuedSignal&) = nullptr;  // null: a heap object, freed when taken
};

// Signals pending for a task or for a process. A standard signal is queued once, a real-time signal as often
// as it is sent. When memory for an entry is short a signal is pending without its details.
class SignalQueue {
 public:
  SignalQueue() = default;
  ~SignalQueue() { discard(~abi::SigSet{0}); }

  abi::SigSet pending() const { return pending_; }
  bool has(int signal) const { return (pending_ & abi::signal_bit(signal)) != 0; }
  // False: a real-time signal for which there is no memory (or more than `limit` are queued).
  bool add(const abi::SigInfo& info, u64 limit);
  void add(QueuedSignal& entry);
  // Takes the first of the lowest-numbered signal in `allowed` (synchronous ones before others); 0: none.
  int take(abi::SigSet allowed, abi::SigInfo* info);
  void discard(abi::SigSet signals);
  void remove(QueuedSignal& entry);  // harmless if not queued
  u32 length() const { return length_; }

 private:
  void drop(QueuedSignal& entry);

  abi::SigSet pending_ = 0;
  u32 length_ = 0;
  List<QueuedSignal, &QueuedSignal::node> entries_;
};

// A task's own part.
struct TaskSignals {
  abi::SigSet blocked = 0;
  // sigsuspend, ppoll…: the mask to go back to once a handler's frame has been built, or none was.
  abi::SigSet saved_blocked = 0;
  bool restore_blocked = false;
  abi::SigSet awaited = 0;  // sigtimedwait: these wake although blocked
  abi::SigAltStack alt_stack{0, abi::kSS_DISABLE, 0, 0};
  SignalQueue queue;
};

inline constexpr abi::SigSet kUnblockable = abi::signal_bit(abi::kSIGKILL) | abi::signal_bit(abi::kSIGSTOP);
inline constexpr abi::SigSet kStopSignals = abi::signal_bit(abi::kSIGSTOP) | abi::signal_bit(abi::kSIGTSTP) |
                                            abi::signal_bit(abi::kSIGTTIN) | abi::signal_bit(abi::kSIGTTOU);
inline constexpr abi::SigSet kSynchronousSignals =
    abi::signal_bit(abi::kSIGSEGV) | abi::signal_bit(abi::kSIGBUS) | abi::signal_bit(abi::kSIGILL) |
    abi::signal_bit(abi::kSIGTRAP) | abi::signal_bit(abi::kSIGFPE) | abi::signal_bit(abi::kSIGSYS);
inline constexpr abi::SigSet kIgnoredByDefault =
    abi::signal_bit(abi::kSIGCHLD) | abi::signal_bit(abi::kSIGURG) | abi::signal_bit(abi::kSIGWINCH) |
    abi::signal_bit(abi::kSIGCONT);
inline constexpr abi::SigSet kCoreSignals = kSynchronousSignals | abi::signal_bit(abi::kSIGQUIT) |
                                            abi::signal_bit(abi::kSIGABRT) | abi::signal_bit(abi::kSIGXCPU) |
                                            abi::signal_bit(abi::kSIGXFSZ);

using SignalHandlers = std::array<abi::SigAction, abi::kNSIG>;  // [signal - 1]

}  // namespace teacup
