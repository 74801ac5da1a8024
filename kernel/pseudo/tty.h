// Terminals: a line discipline with a lock, readers and writers, a window, and a session (tty_ioctl(4),
// credentials(7)). Derived: the console (console.h) and the slaves of pseudoterminals (pty.h).
//
// Locks: Processes::lock guards who has it as controlling terminal; then the terminal's own (kTty). What is
// to be done without it (signals, wake-ups, ringing the broker) is noted under it and done by settle().
#pragma once

#include "kernel/pseudo/devices.h"
#include "kernel/pseudo/line_discipline.h"
#include "kernel/task/process.h"
#include "kernel/task/terminal.h"

namespace teacup::pseudo {

class VtimeTimer;

class Tty : public ControllingTerminal, protected TtyLine {
 public:
  Tty();
  ~Tty() override;

  // --- For files that are open on it.
  Result<size_t> read(IoDest& to, bool nonblocking);
  Result<size_t> write(IoSource& from);
  u32 poll();
  WaitQueue& queue() { return queue_; }
  Result<s64> ioctl(u32 command, GuestAddress argument);
  // Opened by `task`, without O_NOCTTY: becomes its session's terminal if it leads one that has none.
  void opened_by(Task& task);
  virtual void file_opened() {}
  virtual void file_closed() {}

  // --- ControllingTerminal.
  s32 foreground_group() const override { return foreground_.load(std::memory_order_relaxed); }
  void session_ended(Session& session) override;
  // Gives it to `session`, with `group` in the foreground.
  void attach_locked(Session& session, s32 group);  // Processes::lock

  // The line is gone: readers get the end, writers EIO, the session's leader SIGHUP.
  void hang_up();
  bool hung_up() const { return hung_up_.load(std::memory_order_acquire); }
  void set_window(const abi::WinSize& window);
  void vtime_expired(u64 generation);

 protected:
  // --- For the driver, under the lock.
  virtual u64 output_queued_locked() { return 0; }
  virtual void input_room_locked() {}  // a reader has made room
  virtual void after_unlock() {}       // something was output or room was made; no lock held
  virtual void termios_changed_locked(const abi::Termios&) {}
  virtual bool line_closed_locked() { return false; }  // pty: no master

  void raise(int signal) override { signals_ |= abi::signal_bit(signal); }
  void flow_changed(bool stopped) override;

  // Runs `action` under the lock, then what it caused.
  template <typename Action>
  auto with_lock(Action action) {
    LockGuard guard(lock_);
    auto result = action();
    After after = take_after_locked();
    guard.unlock();
    settle(after);
    return result;
  }
  void wake_later(u32 events) { wake_ |= events; }
  // Bytes from the line; how many were taken.
  size_t receive_locked(std::span<const u8> bytes);

  Mutex lock_{LockRank::kTty};
  LineDiscipline discipline_;
  abi::WinSize window_{};

 private:
  struct After {
    abi::SigSet signals;
    u32 wake;
  };
  After take_after_locked();
  void settle(const After& after);

  // Job control: is the caller's group in the background of this, its controlling terminal?
  Result<void> check_background(int signal);
  bool is_terminal_of_caller();
  Result<void> set_termios(const abi::Termios& termios, bool flush);
  Result<s64> ioctl_settings(u32 command, GuestAddress argument);
  Result<s64> ioctl_session(u32 command, GuestAddress argument);
  Result<s64> ioctl_line(u32 command, GuestAddress argument);
  Result<void> take_control(bool steal);
  Result<void> give_up_control();
  Result<void> set_foreground(s32 group);
  void arm_vtime_locked();

  WaitQueue queue_;
  std::atomic<bool> hung_up_{false};
  bool exclusive_ = false;
  abi::SigSet signals_ = 0;
  u32 wake_ = 0;
  Ref<VtimeTimer> vtime_timer_;
  u64 vtime_generation_ = 0;
  bool vtime_out_ = false;

  Session* session_ = nullptr;  // Processes::lock; not counted: it tells us when it ends
  std::atomic<s32> foreground_{0};
};

// A file open on a terminal.
Result<Ref<fs::File>> make_tty_file(Ref<Tty> tty, const fs::Path& path, u32 flags);

}  // namespace teacup::pseudo
