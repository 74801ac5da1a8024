// Pipes and FIFOs (pipe(7), fifo(7)).
//
// A Pipe is a ring of bytes in a run of arena pages; its ends are Files that refer to it. Writes of up to
// PIPE_BUF bytes are atomic, and with O_DIRECT are packets. A write without a reader gives EPIPE: whoever
// made the call sends SIGPIPE (write(2) does so for EPIPE from any file).
//
// Locks: the pipe's own (kPipe); wake-ups after it is dropped.
#pragma once

#include "fs/file.h"
#include "kernel/frame/heap.h"
#include "kernel/frame/pages.h"

namespace teacup::fs {

inline constexpr u64 kPipeBuf = 4096;
inline constexpr u64 kDefaultPipeSize = 65536;

// The machine's /proc/sys/fs/pipe-max-size, in bytes.
u64 pipe_max_size();
Result<void> set_pipe_max_size(u64 bytes);

class Pipe : public RefCounted<Pipe> {
 public:
  static Result<Ref<Pipe>> create();
  static void destroy(Pipe* pipe);
  ~Pipe();

  Result<size_t> read(IoDest& to);
  Result<size_t> write(IoSource& from, bool packet);
  u32 poll(bool reader, bool writer);
  u64 available();  // bytes that can be read now
  u64 room();       // bytes that can be written now
  u64 capacity();
  Result<u64> resize(u64 bytes, bool privileged);  // F_SETPIPE_SZ: EPERM, EBUSY, EINVAL

  // tee(2): copies up to `size` bytes from here to `to`, consuming none. EAGAIN when nothing could move; 0
  // when this one is empty and has no writer; EPIPE when `to` has no reader.
  Result<size_t> tee(Pipe& to, u64 size);
  // splice(2) between pipes: as tee, but consumes.
  Result<size_t> move(Pipe& to, u64 size);

  // Ends come and go: counts of Files open for each side.
  void add_end(bool reader, bool writer);
  void drop_end(bool reader, bool writer);
  u32 readers() const { return readers_.load(std::memory_order_relaxed); }
  u32 writers() const { return writers_.load(std::memory_order_relaxed); }

  WaitQueue& queue() { return queue_; }
  u64 number() const { return number_; }  // as in "pipe:[7]"

 private:
  friend class PipeFile;
  friend Result<void> wait_for_fifo_peer(Pipe& pipe, u32 flags, u32 readers_seen, u32 writers_seen);

  // One stretch of the ring: of ordinary bytes, or one packet. Kept only while packets are in the ring.
  struct Stretch {
    u32 length;
    bool packet;
  };

  Result<size_t> read_locked(IoDest& to);
  Result<size_t> write_locked(IoSource& from, bool packet);
  Result<size_t> transfer(Pipe& to, u64 size, bool consume);
  Result<void> reserve_locked(u64 bytes);
  Result<void> note_written_locked(u64 bytes, bool packet);
  void consume_locked(u64 bytes);
  std::byte* at(u64 position) { return reinterpret_cast<std::byte*>(run_.address() + position % capacity_); }

  Mutex lock_{LockRank::kPipe};
  WaitQueue queue_;
  PageRun run_;
  u64 capacity_ = kDefaultPipeSize;
  u64 head_ = 0;       // position of the next byte written; positions are taken modulo the capacity
  u64 tail_ = 0;       // position of the next byte read
  u64 committed_ = 0;  // pages of the run that were counted against the memory limit
  HeapArray<Stretch> stretches_;
  u64 stretch_head_ = 0, stretch_tail_ = 0;
  std::atomic<u32> readers_{0};
  std::atomic<u32> writers_{0};
  u32 reader_opens_ = 0, writer_opens_ = 0;  // ever: open(2) of a FIFO waits for these to change
  u64 number_ = 0;
};

struct PipeEnds {
  Ref<File> read;
  Ref<File> write;
};
// pipe2(2)'s flags that concern the files: O_NONBLOCK, O_DIRECT.
Result<PipeEnds> make_pipe(u32 flags);

// open(2) of a FIFO whose inode keeps `pipe`: waits for the other end as fifo(7) says (no lock may be held),
// or gives ENXIO, ERESTARTSYS. `inode` answers fstat; the file keeps a reference to it.
Result<Ref<File>> open_fifo(Ref<Inode> inode, Ref<Pipe> pipe, u32 flags);

// The pipe behind a file, or null.
Pipe* pipe_of(File& file);

}  // namespace teacup::fs
