// Pipes and FIFOs (pipe(7), fifo(7)).
//
// A Pipe is a ring of bytes in a run of arena pages; its ends are Files that refer to it. Writes of up to
// PIPE_BUF bytes are atomic, and with O_DIRECT are packets. A write without a reader gives EPIPE: whoever
// made the call sends SIGPIPE (write(2) does so for EPIPE from any file).
//
// Locks: the pipe's own (kPipe); wake-ups after it is dropped. No operation holds two pipes' locks.
#pragma once

#include "fs/file.h"
#include "kernel/frame/heap.h"
#include "kernel/frame/pages.h"

namespace teacup::fs {

inline constexpr u64 kPipeBuf = 4096;
inline constexpr u64 kDefaultPipeSize = 65536;

// Creates the machine's pipe settings; once, before the first pipe.
void pipes_start();
// The machine's /proc/sys/fs/pipe-max-size, in bytes.
u64 pipe_max_size();
Result<void> set_pipe_max_size(u64 bytes);
// A number for a file without a place in any tree: "pipe:[7]", "socket:[8]".
u64 next_anonymous_number();

class Pipe : public RefCounted<Pipe> {
 public:
  static Result<Ref<Pipe>> create();
  static void destroy(Pipe* pipe);
  ~Pipe();

  // As File::read and write. EAGAIN: empty or full; 0 from read: empty, and nobody can write.
  Result<size_t> read(IoDest& to);
  Result<size_t> write(IoSource& from, bool packet);

  u64 available();  // bytes that can be read now
  // POLL* bits. A reader that has not seen a writer yet (`hangup` false) is not told that there is none.
  u32 readiness(bool reader, bool writer, bool hangup);
  u64 capacity() const { return capacity_; }
  // F_SETPIPE_SZ; the new capacity. EPERM above the limit unless privileged, EBUSY when too much is in it.
  Result<u64> resize(u64 bytes, bool privileged);

  // --- For splice(2) and tee(2), which move bytes between a pipe and another file in two steps.
  // Copies from the front without consuming, and keeps other readers out (EAGAIN) until end_peek(). EAGAIN:
  // empty; 0: empty, and nobody can write: then there is no end_peek().
  Result<size_t> peek(std::span<std::byte> into);
  void end_peek(size_t consumed);
  // Reserves room for up to `wanted` > 0 bytes; end_fill() takes no more than that. EAGAIN, EPIPE.
  Result<size_t> begin_fill(size_t wanted);
  void end_fill(std::span<const std::byte> data, size_t reserved);

  // Counts of Files open for each side.
  void add_end(bool reader, bool writer);
  void drop_end(bool reader, bool writer);
  u32 readers() const { return readers_.load(std::memory_order_relaxed); }
  u32 writers() const { return writers_.load(std::memory_order_relaxed); }
  // How often a side was ever opened: open(2) of a FIFO waits for the other side's to change.
  u32 reader_opens() const { return reader_opens_.load(std::memory_order_relaxed); }
  u32 writer_opens() const { return writer_opens_.load(std::memory_order_relaxed); }

  WaitQueue& queue() { return queue_; }
  u64 number() const { return number_; }
  u64 created() const { return created_; }

 private:
  // One stretch of the ring: of ordinary bytes, or one packet. Kept only while packets are in the ring.
  struct Stretch {
    u32 length;
    bool packet;
  };

  Result<size_t> read_locked(IoDest& to);
  Result<size_t> write_locked(IoSource& from, bool packet);
  Result<void> prepare_locked(u64 bytes);
  Result<void> open_stretch_locked(bool packet);
  void close_stretch_locked(u64 bytes, bool packet);
  void consume_locked(u64 bytes);
  Result<void> keep_stretches_locked();
  Result<size_t> put_locked(IoSource& from, u64 size);
  u64 used_locked() const { return head_ - tail_; }
  u64 room_locked() const { return capacity_ - reserved_ - used_locked(); }
  bool has_stretches_locked() const { return stretch_head_ != stretch_tail_; }
  Stretch& stretch(u64 index) { return stretches_[index % stretches_.size()]; }
  std::byte* at(u64 position) { return reinterpret_cast<std::byte*>(run_.address() + position % capacity_); }

  Mutex lock_{LockRank::kPipe};
  WaitQueue queue_;
  PageRun run_;  // taken at the first write
  u64 capacity_ = kDefaultPipeSize;
  u64 head_ = 0;       // position of the next byte written; positions are taken modulo the capacity
  u64 tail_ = 0;       // position of the next byte read
  u64 reserved_ = 0;   // bytes that begin_fill() promised
  u64 committed_ = 0;  // pages of the run that were counted against the memory limit
  bool peeking_ = false;
  HeapArray<Stretch> stretches_;
  u64 stretch_head_ = 0, stretch_tail_ = 0;
  std::atomic<u32> readers_{0};
  std::atomic<u32> writers_{0};
  std::atomic<u32> reader_opens_{0};
  std::atomic<u32> writer_opens_{0};
  u64 number_ = 0;
  u64 created_ = 0;  // ns, CLOCK_REALTIME
};

struct PipeEnds {
  Ref<File> read;
  Ref<File> write;
};
// pipe2(2)'s flags that concern the files: O_NONBLOCK, O_DIRECT.
Result<PipeEnds> make_pipe(u32 flags);

// FsHooks::open_fifo. The pipe hangs on the inode from the first open on. finish_open() of the file says
// EAGAIN until the other side has come (fifo(7)). ENXIO: O_WRONLY | O_NONBLOCK, and no reader.
Result<Ref<File>> open_fifo(const Path& path, u32 flags);

// The pipe behind a file, or null.
Pipe* pipe_of(File& file);

}  // namespace teacup::fs
