// The machine's standard streams as files (kernel/abi/stream.h says how bytes travel), and as the line of the
// console.
//
// Locks: each stream's own (kTtyPeer: the console uses streams under its lock).
#pragma once

#include "fs/file.h"
#include "kernel/abi/boot.h"
#include "kernel/abi/stream.h"

namespace teacup::pseudo {

class HostStream {
 public:
  explicit HostStream(u32 index) : index_(index) {}

  // As File::read and write: EAGAIN, 0 at the end, what the host's write gave.
  Result<size_t> read(IoDest& to);
  Result<size_t> write(IoSource& from);
  // POLL* bits. Asking for input makes the broker look, without reading.
  u32 poll(bool readable, bool writable);
  u64 available();  // bytes that have arrived and were not read
  u64 queued();     // bytes that the host has not taken yet

  // --- For the console, under whose lock these are called (but ask() and ring(), which are not).
  size_t put(const u8* data, size_t size);  // how many there was room for; ring() later
  std::span<const u8> front();              // input that has arrived, the first contiguous piece
  void drop(size_t size);
  bool ended();  // the line is gone
  // Input is read ahead: lets the broker read until `bytes` wait here.
  void ask(u64 bytes);
  void ring();

  // News from the broker.
  void event() { queue_.wake_all(); }

  // Regular files: moves the host's offset once all output is out (EAGAIN until then).
  Result<void> seek_to(u64 offset);
  Result<s64> control(abi::StreamOp op, u64 a = 0, u64 b = 0);
  u64 position() const { return position_; }
  void set_position(u64 offset) { position_ = offset; }

  WaitQueue& queue() { return queue_; }
  u32 index() const { return index_; }

 private:
  abi::Stream& shared();

  u32 index_;
  Mutex lock_{LockRank::kTtyPeer};
  WaitQueue queue_;
  u64 position_ = 0;  // regular files: where the host's offset will be once the rings are empty
};

// Streams 0-2. Created by host_streams_start().
void host_streams_start();
HostStream& host_stream(u32 index);

// A file for a stream that is not a terminal.
Result<Ref<fs::File>> make_stream_file(u32 index, const abi::BootStream& config);

}  // namespace teacup::pseudo
