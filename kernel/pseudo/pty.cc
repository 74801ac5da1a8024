#include "kernel/pseudo/pty.h"

#include <algorithm>

#include "kernel/task/send_signal.h"

namespace teacup::pseudo {

namespace {
constexpr u32 kReadEvents = abi::kPOLLIN | abi::kPOLLRDNORM;
constexpr u32 kWriteEvents = abi::kPOLLOUT | abi::kPOLLWRNORM;
constexpr u64 kRingPages = 16;  // each way, as much as Linux's buffers of a terminal take

bool has_flow_keys(const abi::Termios& termios) {
  return (termios.iflag & abi::kIXON) != 0 && termios.cc[abi::kVSTOP] == 19 && termios.cc[abi::kVSTART] == 17;
}
}  // namespace

Result<void> Pty::create_rings() {
  TRY(output_.create(kRingPages));
  return backlog_.create(kRingPages);
}

// --- The slave's line.

void Pty::output(const u8* data, size_t size) {
  output_.put(data, size);
  wake_master();
}

void Pty::flush_output() {
  output_.clear();
  note_packet(abi::kTIOCPKT_FLUSHWRITE);
}

void Pty::note_packet(u8 event) {
  if (!packets_) return;
  packet_events_ |= event;
  wake_master();
}

void Pty::flow_changed(bool stopped) {
  Tty::flow_changed(stopped);
  packet_events_ &= static_cast<u8>(~(abi::kTIOCPKT_STOP | abi::kTIOCPKT_START));
  note_packet(stopped ? abi::kTIOCPKT_STOP : abi::kTIOCPKT_START);
}

void Pty::termios_changed_locked(const abi::Termios& termios) {
  bool now = has_flow_keys(termios);
  if (now == has_flow_keys(discipline_.termios())) return;
  packet_events_ &= static_cast<u8>(~(abi::kTIOCPKT_DOSTOP | abi::kTIOCPKT_NOSTOP));
  note_packet(now ? abi::kTIOCPKT_DOSTOP : abi::kTIOCPKT_NOSTOP);
}

void Pty::input_room_locked() {
  while (backlog_.size() > 0) {
    std::span<const u8> bytes = backlog_.front();
    size_t taken = receive_locked(bytes);
    backlog_.drop(taken);
    if (taken > 0) wake_master();
    if (taken < bytes.size()) break;
  }
}

void Pty::after_unlock() {
  if (wake_master_.exchange(false, std::memory_order_relaxed)) master_queue_.wake(~u32{0});
}

void Pty::file_opened() {
  LockGuard guard(lock_);
  slaves_++;
  slave_gone_ = false;
}

void Pty::file_closed() {
  {
    LockGuard guard(lock_);
    if (--slaves_ > 0) return;
    slave_gone_ = true;
  }
  master_queue_.wake(~u32{0});
}

// --- The master's side.

Result<size_t> Pty::master_read(IoDest& to) {
  if (to.remaining() == 0) return size_t{0};
  return with_lock([&]() -> Result<size_t> {
    if (packets_ && packet_events_ != 0) {
      size_t copied = TRY(to.put(&packet_events_, 1));
      packet_events_ = 0;
      return copied;
    }
    if (output_.size() == 0) {
      if (slave_gone_) return Errno::IO;
      return Errno::AGAIN;
    }
    size_t done = 0;
    if (packets_) {
      u8 data = abi::kTIOCPKT_DATA;
      done += TRY(to.put(&data, 1));
    }
    while (output_.size() > 0 && to.remaining() > 0) {
      std::span<const u8> bytes = output_.front();
      auto copied = to.put(bytes.data(), std::min(bytes.size(), to.remaining()));
      if (!copied.ok() && done == 0) return copied.error();
      if (!copied.ok()) break;
      output_.drop(copied.value());
      done += copied.value();
    }
    discipline_.output_drained();
    wake_later(kWriteEvents);
    return done;
  });
}

Result<size_t> Pty::master_write(IoSource& from) {
  return with_lock([&]() -> Result<size_t> {
    if (slaves_ == 0) return Errno::IO;
    size_t done = 0;
    while (from.remaining() > 0) {
      u8 chunk[512];
      size_t size = std::min<size_t>({sizeof chunk, from.remaining(), backlog_.room()});
      if (size == 0) break;
      auto taken = from.take(chunk, size);
      if (!taken.ok() && done == 0) return taken.error();
      if (!taken.ok()) break;
      std::span<const u8> bytes(chunk, taken.value());
      if (backlog_.size() == 0) bytes = bytes.subspan(receive_locked(bytes));
      backlog_.put(bytes.data(), bytes.size());
      done += taken.value();
    }
    if (done == 0 && from.remaining() > 0) return Errno::AGAIN;
    return done;
  });
}

u32 Pty::master_poll() {
  LockGuard guard(lock_);
  u32 events = 0;
  if (output_.size() > 0) events |= kReadEvents;
  if (packets_ && packet_events_ != 0) events |= kReadEvents | abi::kPOLLPRI;
  if (slave_gone_) events |= abi::kPOLLHUP;
  if (backlog_.room() > 0) events |= kWriteEvents;
  return events;
}

Result<s64> Pty::flush_master(u64 which) {
  if (which > abi::kTCIOFLUSH) return Errno::INVAL;
  return with_lock([&]() -> Result<s64> {
    if (which != abi::kTCOFLUSH) {
      output_.clear();
      discipline_.output_drained();
      wake_later(kWriteEvents);
    }
    if (which != abi::kTCIFLUSH) backlog_.clear();
    return 0;
  });
}

Result<s64> Pty::master_ioctl(u32 command, GuestAddress argument) {
  auto give = [&](auto value) -> Result<s64> {
    TRY(GuestOut<decltype(value)>(argument.value).write(value));
    return 0;
  };
  switch (command) {
    case abi::kTIOCGPTN:
      return give(index_);
    case abi::kTIOCSPTLCK:
      locked_.store(TRY(GuestIn<s32>(argument.value).read()) != 0, std::memory_order_relaxed);
      return 0;
    case abi::kTIOCGPTLCK:
      return give(s32{locked() ? 1 : 0});
    case abi::kTIOCPKT: {
      bool packets = TRY(GuestIn<s32>(argument.value).read()) != 0;
      LockGuard guard(lock_);
      if (packets && !packets_) packet_events_ = 0;
      packets_ = packets;
      return 0;
    }
    case abi::kTIOCGPKT:
      return give(s32{packets_ ? 1 : 0});
    case abi::kTIOCSIG: {
      int signal = static_cast<int>(argument.value);
      if (signal != abi::kSIGINT && signal != abi::kSIGQUIT && signal != abi::kSIGTSTP) return Errno::INVAL;
      if (s32 group = foreground_group(); group != 0)
        (void)send_signal_to_group(group, kernel_signal(signal));
      return 0;
    }
    case abi::kTIOCINQ: {
      LockGuard guard(lock_);
      s32 count = static_cast<s32>(output_.size());
      guard.unlock();
      return give(count);
    }
    case abi::kTIOCGPGRP:
      return give(foreground_group());
    case abi::kTCFLSH:
      return flush_master(argument.value);
    case abi::kTIOCSCTTY:
    case abi::kTIOCNOTTY:
      return Errno::NOTTY;
  }
  return Tty::ioctl(command, argument);  // the slave's settings
}

void Pty::master_closed() {
  {
    LockGuard guard(lock_);
    master_open_ = false;
  }
  hang_up();
}

}  // namespace teacup::pseudo
