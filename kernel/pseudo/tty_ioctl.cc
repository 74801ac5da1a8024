// ioctl_tty(2): settings, the line, and sessions.
#include <algorithm>

#include "kernel/pseudo/tty.h"
#include "kernel/task/processes.h"
#include "kernel/task/send_signal.h"

namespace teacup::pseudo {

namespace {

constexpr u32 kBaud38400 = 38400;

template <typename T>
Result<s64> give(GuestAddress argument, const T& value) {
  TRY(GuestOut<T>(argument.value).write(value));
  return 0;
}

abi::Termio as_termio(const abi::Termios& termios) {
  abi::Termio out{};
  out.iflag = static_cast<u16>(termios.iflag);
  out.oflag = static_cast<u16>(termios.oflag);
  out.cflag = static_cast<u16>(termios.cflag);
  out.lflag = static_cast<u16>(termios.lflag);
  out.line = termios.line;
  std::copy_n(termios.cc, sizeof out.cc, out.cc);
  return out;
}

// The upper halves of the flags stay as they are.
abi::Termios merge(abi::Termios termios, const abi::Termio& in) {
  auto low = [](u32 old, u16 value) { return (old & 0xffff0000) | value; };
  termios.iflag = low(termios.iflag, in.iflag);
  termios.oflag = low(termios.oflag, in.oflag);
  termios.cflag = low(termios.cflag, in.cflag);
  termios.lflag = low(termios.lflag, in.lflag);
  std::copy_n(in.cc, sizeof in.cc, termios.cc);
  return termios;
}

}  // namespace

Result<void> Tty::set_termios(const abi::Termios& termios, bool flush) {
  return with_lock([&]() -> Result<void> {
    if (flush) discipline_.flush_input();
    termios_changed_locked(termios);
    discipline_.set_termios(termios);
    wake_later(~u32{0});
    if (flush) input_room_locked();
    return {};
  });
}

Result<s64> Tty::ioctl(u32 command, GuestAddress argument) {
  if (hung_up()) return command == abi::kTIOCSPGRP ? Errno::NOTTY : Errno::IO;
  auto setting = ioctl_settings(command, argument);
  if (!setting.is(Errno::NOTTY)) return setting;
  auto line = ioctl_line(command, argument);
  if (!line.is(Errno::NOTTY)) return line;
  return ioctl_session(command, argument);
}

// Differs from Linux: TCSETSW does not wait for output to leave the machine; it has been processed with the
// old settings, and stays in order.
Result<s64> Tty::ioctl_settings(u32 command, GuestAddress argument) {
  switch (command) {
    case abi::kTCGETS:
      return give(argument, discipline_.termios());
    case abi::kTCGETS2:
      return give(argument, abi::Termios2{discipline_.termios(), kBaud38400, kBaud38400});
    case abi::kTCGETA:
      return give(argument, as_termio(discipline_.termios()));
    case abi::kTCSETS:
    case abi::kTCSETSW:
    case abi::kTCSETSF: {
      TRY(check_background(abi::kSIGTTOU));
      abi::Termios termios = TRY(GuestIn<abi::Termios>(argument.value).read());
      TRY(set_termios(termios, command == abi::kTCSETSF));
      return 0;
    }
    case abi::kTCSETS2:
    case abi::kTCSETSW2:
    case abi::kTCSETSF2: {
      TRY(check_background(abi::kSIGTTOU));
      abi::Termios2 termios = TRY(GuestIn<abi::Termios2>(argument.value).read());
      TRY(set_termios(termios.base, command == abi::kTCSETSF2));
      return 0;
    }
    case abi::kTCSETA:
    case abi::kTCSETAW:
    case abi::kTCSETAF: {
      TRY(check_background(abi::kSIGTTOU));
      abi::Termio termio = TRY(GuestIn<abi::Termio>(argument.value).read());
      TRY(set_termios(merge(discipline_.termios(), termio), command == abi::kTCSETAF));
      return 0;
    }
    case abi::kTIOCGLCKTRMIOS:  // no setting is locked: that takes CAP_SYS_ADMIN, which nobody has here
      return give(argument, abi::Termios{});
    case abi::kTIOCSLCKTRMIOS:
      return Errno::PERM;
    case abi::kTIOCGWINSZ:
      return give(argument, window_);
    case abi::kTIOCSWINSZ:
      set_window(TRY(GuestIn<abi::WinSize>(argument.value).read()));
      return 0;
    case abi::kTIOCGETD:
      return give(argument, s32{0});
    case abi::kTIOCSETD:
      if (TRY(GuestIn<s32>(argument.value).read()) != 0) return Errno::INVAL;
      return 0;
    case abi::kTIOCEXCL:
    case abi::kTIOCNXCL:
      exclusive_ = command == abi::kTIOCEXCL;
      return 0;
    case abi::kTIOCGEXCL:
      return give(argument, s32{exclusive_ ? 1 : 0});
    case abi::kTIOCGDEV:
      return give(argument, static_cast<u32>(device()));
  }
  return Errno::NOTTY;
}

Result<s64> Tty::ioctl_line(u32 command, GuestAddress argument) {
  switch (command) {
    case abi::kTIOCINQ: {
      s64 count = with_lock([&] { return static_cast<s64>(discipline_.input_count()); });
      return give(argument, static_cast<s32>(count));
    }
    case abi::kTIOCOUTQ: {
      s64 count =
          with_lock([&] { return static_cast<s64>(discipline_.echo_pending() + output_queued_locked()); });
      return give(argument, static_cast<s32>(count));
    }
    case abi::kTCFLSH:
      TRY(check_background(abi::kSIGTTOU));
      if (argument.value > abi::kTCIOFLUSH) return Errno::INVAL;
      with_lock([&] {
        if (argument.value != abi::kTCOFLUSH) {
          discipline_.flush_input();
          input_room_locked();
        }
        if (argument.value != abi::kTCIFLUSH) flush_output();
        wake_later(~u32{0});
        return 0;
      });
      return 0;
    case abi::kTCXONC:
      TRY(check_background(abi::kSIGTTOU));
      if (argument.value > abi::kTCION) return Errno::INVAL;
      with_lock([&] {
        const u8* keys = discipline_.termios().cc;
        if (argument.value == abi::kTCOOFF) discipline_.stop();
        if (argument.value == abi::kTCOON) discipline_.start();
        if (argument.value == abi::kTCIOFF) discipline_.send(keys[abi::kVSTOP]);
        if (argument.value == abi::kTCION) discipline_.send(keys[abi::kVSTART]);
        return 0;
      });
      return 0;
    case abi::kTCSBRK:
    case abi::kTCSBRKP:
    case abi::kTIOCSBRK:
    case abi::kTIOCCBRK:
      TRY(check_background(abi::kSIGTTOU));
      return 0;
    case abi::kTIOCSTI: {
      if (!is_terminal_of_caller() && !current_task().credentials.has(abi::kCAP_SYS_ADMIN))
        return Errno::PERM;
      u8 byte = TRY(GuestIn<u8>(argument.value).read());
      with_lock([&] { return receive_locked({&byte, 1}); });
      return 0;
    }
  }
  return Errno::NOTTY;
}

Result<s64> Tty::ioctl_session(u32 command, GuestAddress argument) {
  switch (command) {
    case abi::kTIOCSCTTY:
      TRY(take_control(argument.value == 1));
      return 0;
    case abi::kTIOCNOTTY:
      TRY(give_up_control());
      return 0;
    case abi::kTIOCGPGRP:
      if (!is_terminal_of_caller()) return Errno::NOTTY;
      return give(argument, foreground_group());
    case abi::kTIOCSPGRP:
      TRY(set_foreground(TRY(GuestIn<s32>(argument.value).read())));
      return 0;
    case abi::kTIOCGSID: {
      if (!is_terminal_of_caller()) return Errno::NOTTY;
      s32 id = 0;
      {
        LockGuard guard(processes().lock);
        if (session_ != nullptr) id = session_->id;
      }
      return give(argument, id);
    }
    case abi::kTIOCVHANGUP:
      if (!current_task().credentials.has(abi::kCAP_SYS_ADMIN)) return Errno::PERM;
      hang_up();
      return 0;
  }
  return Errno::NOTTY;
}

}  // namespace teacup::pseudo
