// Pseudoterminals (pty(7), pts(4)): a terminal whose line is a file, the master; and the file system that
// shows their slaves, devpts.
//
// Locks: both ends share the slave's lock (kTty). The table of numbers has its own (kTtyPeer's rank is taken
// inside no tty's lock here: kFdTable is the rank, taken first and alone).
#pragma once

#include "fs/inode.h"
#include "kernel/pseudo/byte_ring.h"
#include "kernel/pseudo/tty.h"

namespace teacup::pseudo {

class Pty final : public Tty {
 public:
  Pty(u32 index) : index_(index) {}
  Result<void> create_rings();

  u64 device() const override { return u64{kPtsMajor} << 8 | (index_ & 0xff) | (u64{index_} >> 8 << 20); }
  u32 index() const { return index_; }
  void file_opened() override;
  void file_closed() override;
  bool locked() const { return locked_.load(std::memory_order_relaxed); }

  // --- The master's side.
  Result<size_t> master_read(IoDest& to);
  Result<size_t> master_write(IoSource& from);
  u32 master_poll();
  Result<s64> master_ioctl(u32 command, GuestAddress argument);
  WaitQueue& master_queue() { return master_queue_; }
  void master_closed();

 private:
  size_t output_room() override { return output_.room(); }
  void output(const u8* data, size_t size) override;
  void flush_output() override;
  void input_flushed() override { note_packet(abi::kTIOCPKT_FLUSHREAD); }
  void flow_changed(bool stopped) override;
  void termios_changed_locked(const abi::Termios& termios) override;
  u64 output_queued_locked() override { return 0; }
  void input_room_locked() override;
  void after_unlock() override;
  bool line_closed_locked() override { return !master_open_; }
  void note_packet(u8 event);
  void wake_master() { wake_master_.store(true, std::memory_order_relaxed); }
  Result<s64> flush_master(u64 which);

  const u32 index_;
  ByteRing output_;   // from the slave's programs to the master
  ByteRing backlog_;  // from the master, while the discipline has no room
  WaitQueue master_queue_;
  std::atomic<bool> wake_master_{false};
  std::atomic<bool> locked_{true};
  bool master_open_ = true;
  bool slave_gone_ = false;  // was open, and is no longer
  u32 slaves_ = 0;           // files open on the slave
  bool packets_ = false;     // TIOCPKT
  u8 packet_events_ = 0;
};

// Registers "devpts", the multiplexer (5, 2) and the slaves.
void register_ptys();

}  // namespace teacup::pseudo
