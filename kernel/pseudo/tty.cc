#include "kernel/pseudo/tty.h"

#include "host/gate/gate.h"
#include "kernel/task/processes.h"
#include "kernel/task/send_signal.h"
#include "kernel/time/timer.h"

namespace teacup::pseudo {

namespace {
constexpr u32 kReadEvents = abi::kPOLLIN | abi::kPOLLRDNORM;
constexpr u32 kWriteEvents = abi::kPOLLOUT | abi::kPOLLWRNORM;
constexpr u64 kTenth = 100'000'000;  // VTIME's unit, in ns
}  // namespace

// Ends a raw read that has waited for VTIME. Holds the terminal while armed; what it reports counts only if
// no read was satisfied since it was armed.
class VtimeTimer final : public Timer {
 public:
  void start(Ref<ControllingTerminal> tty, u64 generation, u64 deadline) {
    {
      LockGuard guard(lock_);
      tty_ = std::move(tty);
      generation_ = generation;
    }
    arm(deadline);
  }
  void expired(u64) override {
    Ref<ControllingTerminal> tty;
    u64 generation;
    {
      LockGuard guard(lock_);
      tty = std::move(tty_);
      generation = generation_;
    }
    if (tty) static_cast<Tty&>(*tty).vtime_expired(generation);
  }

 private:
  Mutex lock_{LockRank::kTtyPeer};
  Ref<ControllingTerminal> tty_;
  u64 generation_ = 0;
};

Tty::Tty() : discipline_(*this) {}
Tty::~Tty() {
  if (vtime_timer_) vtime_timer_->cancel();
}

Tty::After Tty::take_after_locked() {
  After after{signals_, wake_};
  signals_ = 0;
  wake_ = 0;
  return after;
}

void Tty::settle(const After& after) {
  s32 group = foreground_group();
  for (int signal = 1; after.signals != 0 && group != 0 && signal <= abi::kNSIG; signal++) {
    if ((after.signals & abi::signal_bit(signal)) != 0)
      (void)send_signal_to_group(group, kernel_signal(signal));
  }
  after_unlock();
  if (after.wake != 0) queue_.wake(after.wake);
}

void Tty::flow_changed(bool) {
  wake_later(kWriteEvents);
}

size_t Tty::receive_locked(std::span<const u8> bytes) {
  size_t taken = discipline_.receive(bytes);
  // Also when a raw reader does not have enough yet: its VTIME starts anew.
  if (taken > 0) wake_later(kReadEvents);
  return taken;
}

// --- Reading and writing.

Result<size_t> Tty::read(IoDest& to, bool nonblocking) {
  using Patience = LineDiscipline::Patience;
  if (hung_up()) return size_t{0};
  TRY(check_background(abi::kSIGTTIN));
  if (to.remaining() == 0) return size_t{0};
  return with_lock([&]() -> Result<size_t> {
    Patience patience = nonblocking  ? Patience::kNonblocking
                        : vtime_out_ ? Patience::kTimedOut
                                     : Patience::kWait;
    auto result = discipline_.read(to, patience);
    if (result.is(Errno::AGAIN) && line_closed_locked()) return size_t{0};
    if (result.is(Errno::AGAIN)) {
      if (!nonblocking) arm_vtime_locked();
      return result;
    }
    vtime_out_ = false;
    vtime_generation_++;
    input_room_locked();
    return result;
  });
}

void Tty::arm_vtime_locked() {
  const abi::Termios& termios = discipline_.termios();
  u64 time = termios.cc[abi::kVTIME];
  if (time == 0 || discipline_.canonical()) return;
  // With VMIN the clock runs between bytes: from the first one on.
  if (termios.cc[abi::kVMIN] > 0 && !discipline_.raw_bytes_waiting()) return;
  if (!vtime_timer_) {
    auto timer = make_ref<VtimeTimer>();
    if (!timer.ok()) return;  // the read waits for its bytes
    vtime_timer_ = std::move(timer).value();
  }
  Ref<ControllingTerminal> self = Ref<ControllingTerminal>::share(this);
  vtime_timer_->start(std::move(self), vtime_generation_, gate::monotonic_now() + time * kTenth);
}

void Tty::vtime_expired(u64 generation) {
  with_lock([&] {
    if (generation == vtime_generation_) {
      vtime_out_ = true;
      wake_later(kReadEvents);
    }
    return 0;
  });
}

Result<size_t> Tty::write(IoSource& from) {
  if (hung_up()) return Errno::IO;
  if ((discipline_.termios().lflag & abi::kTOSTOP) != 0) TRY(check_background(abi::kSIGTTOU));
  return with_lock([&]() -> Result<size_t> {
    if (line_closed_locked()) return Errno::IO;
    return discipline_.write(from);
  });
}

u32 Tty::poll() {
  if (hung_up()) return kReadEvents | kWriteEvents | abi::kPOLLHUP | abi::kPOLLERR;
  LockGuard guard(lock_);
  u32 events = 0;
  if (line_closed_locked()) events |= kReadEvents | abi::kPOLLHUP;
  if (discipline_.readable()) events |= kReadEvents;
  if (discipline_.writable()) events |= kWriteEvents;
  return events;
}

// --- The session's side.

// The caller's group is in the background, and the terminal is its session's: as POSIX says, the signal, or
// EIO where nobody would continue it.
Result<void> Tty::check_background(int signal) {
  Task& task = current_task();
  s32 group_id;
  bool orphaned;
  {
    LockGuard guard(processes().lock);
    ProcessGroup* group = task.process->group.get();
    if (group == nullptr || group->session.get() != session_) return {};
    group_id = group->id;
    if (foreground_group() == 0 || group_id == foreground_group()) return {};
    orphaned = processes().is_orphaned_locked(*group);
  }
  bool refused = (task.signals.blocked & abi::signal_bit(signal)) != 0 ||
                 task.process->handlers[static_cast<size_t>(signal - 1)].handler == abi::kSIG_IGN;
  if (refused) {
    if (signal == abi::kSIGTTIN) return Errno::IO;
    return {};
  }
  if (orphaned) return Errno::IO;
  (void)send_signal_to_group(group_id, kernel_signal(signal));
  return Errno::RESTARTSYS;
}

bool Tty::is_terminal_of_caller() {
  LockGuard guard(processes().lock);
  ProcessGroup* group = current_task().process->group.get();
  return group != nullptr && session_ != nullptr && group->session.get() == session_;
}

void Tty::attach_locked(Session& session, s32 group) {
  session_ = &session;
  session.terminal = Ref<ControllingTerminal>::share(this);
  foreground_.store(group, std::memory_order_relaxed);
}

void Tty::opened_by(Task& task) {
  LockGuard guard(processes().lock);
  ProcessGroup* group = task.process->group.get();
  if (group == nullptr || session_ != nullptr) return;
  Session& session = *group->session;
  if (session.id != task.pid() || session.terminal) return;
  attach_locked(session, group->id);
}

// TIOCSCTTY.
Result<void> Tty::take_control(bool steal) {
  Task& task = current_task();
  Ref<ControllingTerminal> dropped;
  LockGuard guard(processes().lock);
  ProcessGroup* group = task.process->group.get();
  if (group == nullptr) return Errno::PERM;
  Session& session = *group->session;
  if (session.id == task.pid() && session_ == &session) return {};
  if (session.id != task.pid() || session.terminal) return Errno::PERM;
  if (session_ != nullptr) {
    if (!steal || !task.credentials.has(abi::kCAP_SYS_ADMIN)) return Errno::PERM;
    dropped = std::move(session_->terminal);
  }
  attach_locked(session, group->id);
  guard.unlock();
  return {};
}

// TIOCNOTTY. Differs from Linux: the terminal is the session's, so only its leader can give it up.
Result<void> Tty::give_up_control() {
  if (!is_terminal_of_caller()) return Errno::NOTTY;
  s32 group = 0;
  Ref<ControllingTerminal> dropped;
  {
    LockGuard guard(processes().lock);
    if (session_ == nullptr || session_->id != current_task().pid()) return {};
    group = foreground_.exchange(0, std::memory_order_relaxed);
    dropped = std::move(session_->terminal);
    session_ = nullptr;
  }
  if (group != 0) {
    (void)send_signal_to_group(group, kernel_signal(abi::kSIGHUP));
    (void)send_signal_to_group(group, kernel_signal(abi::kSIGCONT));
  }
  return {};
}

// TIOCSPGRP: tcsetpgrp(3).
Result<void> Tty::set_foreground(s32 group) {
  auto allowed = check_background(abi::kSIGTTOU);
  if (allowed.is(Errno::IO)) return Errno::NOTTY;
  TRY(std::move(allowed));
  if (group < 0) return Errno::INVAL;
  LockGuard guard(processes().lock);
  ProcessGroup* own = current_task().process->group.get();
  if (own == nullptr || session_ == nullptr || own->session.get() != session_) return Errno::NOTTY;
  ProcessGroup* wanted = processes().group_locked(group);
  if (wanted == nullptr) return Errno::SRCH;
  if (wanted->session.get() != session_) return Errno::PERM;
  foreground_.store(group, std::memory_order_relaxed);
  return {};
}

void Tty::session_ended(Session& session) {
  LockGuard guard(processes().lock);
  if (session_ != &session) return;
  session_ = nullptr;
  foreground_.store(0, std::memory_order_relaxed);
}

void Tty::hang_up() {
  if (hung_up_.exchange(true, std::memory_order_acq_rel)) return;
  Ref<Process> leader;
  Ref<ControllingTerminal> dropped;
  {
    LockGuard guard(processes().lock);
    if (session_ != nullptr) {
      Process* process = processes().process_locked(session_->id);
      if (process != nullptr) leader = Ref<Process>::share(process);
      dropped = std::move(session_->terminal);
      session_ = nullptr;
      foreground_.store(0, std::memory_order_relaxed);
    }
  }
  if (leader) {
    (void)send_signal(*leader, kernel_signal(abi::kSIGHUP));
    (void)send_signal(*leader, kernel_signal(abi::kSIGCONT));
  }
  queue_.wake_all();
}

void Tty::set_window(const abi::WinSize& window) {
  with_lock([&] {
    bool changed = window.rows != window_.rows || window.columns != window_.columns ||
                   window.x_pixels != window_.x_pixels || window.y_pixels != window_.y_pixels;
    window_ = window;
    if (changed) raise(abi::kSIGWINCH);
    return 0;
  });
}

// --- Files.

namespace {

class TtyFile final : public DeviceFile {
 public:
  TtyFile(Ref<Tty> tty, const fs::Path& path, u32 flags) : DeviceFile(path, flags), tty_(std::move(tty)) {
    tty_->file_opened();
  }
  ~TtyFile() override { tty_->file_closed(); }

  fs::FileKind kind() const override { return fs::FileKind::kTty; }
  Result<size_t> read(IoDest& to, u64) override { return tty_->read(to, nonblocking()); }
  Result<size_t> write(IoSource& from, u64) override { return tty_->write(from); }
  u32 poll() override { return tty_->poll(); }
  WaitQueue* wait_queue() override { return &tty_->queue(); }
  Result<s64> ioctl(u32 command, GuestAddress argument) override { return tty_->ioctl(command, argument); }

 private:
  Ref<Tty> tty_;
};

}  // namespace

Result<Ref<fs::File>> make_tty_file(Ref<Tty> tty, const fs::Path& path, u32 flags) {
  return Ref<fs::File>(TRY(make_ref<TtyFile>(std::move(tty), path, flags)));
}

}  // namespace teacup::pseudo
