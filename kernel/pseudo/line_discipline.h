// The line discipline of terminals (termios(3)): what stands between the bytes of the line and what programs
// read and write: editing, echo, signals, output processing. Pure data and rules: no lock, no waiting, no
// processes; Tty supplies those.
#pragma once

#include <array>

#include "kernel/abi/tty.h"
#include "kernel/uaccess/guest.h"

namespace teacup::pseudo {

// What the discipline asks of the terminal it belongs to.
class TtyLine {
 public:
  virtual size_t output_room() = 0;
  // At most output_room() bytes.
  virtual void output(const u8* data, size_t size) = 0;
  virtual void flush_output() = 0;
  virtual void input_flushed() {}
  // For the foreground group; to be sent when the terminal's lock is free again.
  virtual void raise(int signal) = 0;
  // Output was stopped or started by ^S, ^Q or tcflow(3).
  virtual void flow_changed(bool stopped) = 0;

 protected:
  ~TtyLine() = default;
};

// The settings of a new terminal.
abi::Termios default_termios();

class LineDiscipline {
 public:
  static constexpr u64 kBufferSize = 4096;

  explicit LineDiscipline(TtyLine& line) : line_(line), termios_(default_termios()) {}

  const abi::Termios& termios() const { return termios_; }
  void set_termios(const abi::Termios& termios);

  // --- From the line. Takes what there is room for; the rest must wait for a read.
  size_t receive(std::span<const u8> bytes);

  // --- To the reader. EAGAIN: not enough for a read of this size (a line, VMIN bytes); 0: end of file.
  enum class Patience { kWait, kNonblocking, kTimedOut };  // kTimedOut: VTIME has run out
  Result<size_t> read(IoDest& to, Patience patience);
  bool readable() const { return can_read(termios_.cc[abi::kVTIME] == 0 ? minimum() : 1); }
  size_t input_count() const;  // TIOCINQ
  bool raw_bytes_waiting() const { return !canonical() && head_ != tail_; }
  void flush_input();

  // --- From the writer. EAGAIN: no room, or stopped.
  Result<size_t> write(IoSource& from);
  bool writable() const;
  size_t echo_pending() const { return echo_head_ - echo_tail_; }
  // There is room again: sends what was held back of the echo.
  void output_drained();

  void stop();
  void start();
  bool stopped() const { return stopped_; }
  bool canonical() const { return has_local(abi::kICANON); }
  // A character for the line as if typed: tcflow(TCIOFF)'s STOP.
  void send(u8 c) { put_echo(c); }

 private:
  static constexpr u64 kEchoSize = 4096;

  bool has_input(u32 flag) const { return (termios_.iflag & flag) != 0; }
  bool has_output(u32 flag) const { return (termios_.oflag & flag) != 0; }
  bool has_local(u32 flag) const { return (termios_.lflag & flag) != 0; }
  bool is_key(u8 c, u32 key) const { return c == termios_.cc[key] && c != abi::kVDISABLE; }
  u8& byte_at(u64 position) { return buffer_[position % kBufferSize]; }
  bool ends_line(u64 position) const;
  void set_ends_line(u64 position, bool ends);

  size_t minimum() const { return termios_.cc[abi::kVMIN] > 0 ? termios_.cc[abi::kVMIN] : 1; }
  bool can_read(size_t enough) const;
  u64 free_bytes() const { return kBufferSize - 1 - (head_ - tail_); }

  void receive_byte(u8 c);
  bool receive_control(u8 c);
  bool receive_edit(u8 c);
  void end_line(u8 c);
  void raise(int signal, u8 c);
  void store(u8 c);
  void erase(u8 key);
  void echo_erased(u8 c, u64 position, bool single);
  void finish_erasing();
  void reprint();

  void echo(u8 c);
  void echo_raw(u8 c);
  void put_echo(u8 c);
  // Turns one byte of output into what goes on the line; returns how many bytes that is.
  size_t process(u8 c, std::span<u8, 8> out);

  Result<size_t> read_line(IoDest& to);
  Result<size_t> read_raw(IoDest& to, Patience patience);

  TtyLine& line_;
  abi::Termios termios_;
  // Positions count up for ever and are taken modulo the buffer's size: tail_ <= line_start_ <= head_.
  u64 head_ = 0;        // where the next byte goes
  u64 line_start_ = 0;  // canonical: everything before is in finished lines
  u64 tail_ = 0;        // the next byte to be read
  u64 echo_head_ = 0, echo_tail_ = 0;
  u32 column_ = 0;
  u32 line_column_ = 0;  // where the line being edited starts
  bool literal_next_ = false;
  bool erasing_ = false;  // ECHOPRT: inside \.../
  bool stopped_ = false;
  std::array<u64, kBufferSize / 64> line_ends_{};
  std::array<u8, kBufferSize> buffer_{};
  std::array<u8, kEchoSize> echo_buffer_{};
};

}  // namespace teacup::pseudo
