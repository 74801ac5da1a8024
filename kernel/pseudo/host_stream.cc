#include "kernel/pseudo/host_stream.h"

#include <algorithm>

#include "fs/inode.h"
#include "kernel/abi/tty.h"
#include "kernel/base/memory.h"
#include "kernel/pseudo/state.h"
#include "kernel/sync/doorbell.h"

namespace teacup::pseudo {

namespace {
constexpr u32 kReadEvents = abi::kPOLLIN | abi::kPOLLRDNORM;
constexpr u32 kWriteEvents = abi::kPOLLOUT | abi::kPOLLWRNORM;
constexpr u64 kHostDevice = 0x10000;  // st_dev of what lies on the host
}  // namespace

HostStream& host_stream(u32 index) {
  return state().streams[index];
}

abi::Stream& HostStream::shared() {
  return arena_at<abi::Streams>(arena().streams_offset).streams[index_];
}

// The ring of requests may be full for a moment; then whoever retries the call rings again, and the broker
// looks at the words, not at how often it was rung.
void HostStream::ring() {
  while (!ring_post(abi::RingOp::kStream, static_cast<u64>(abi::StreamOp::kNews), index_).ok()) gate::yield();
}

Result<size_t> HostStream::read(IoDest& to) {
  if (to.remaining() == 0) return size_t{0};
  LockGuard guard(lock_);
  abi::Stream& stream = shared();
  u64 tail = stream.in_tail.load(std::memory_order_relaxed);
  u64 head = stream.in_head.load(std::memory_order_acquire);
  if (head != tail) {
    u64 at = tail % abi::kStreamRing;
    u64 size = std::min<u64>(std::min(head - tail, abi::kStreamRing - at), to.remaining());
    size_t copied = TRY(to.put(stream.in_ring + at, size));
    stream.in_tail.store(tail + copied, std::memory_order_seq_cst);
    stream.readable_now.store(0, std::memory_order_relaxed);
    position_ += copied;
    return copied;
  }
  if (u32 end = stream.in_end.load(std::memory_order_acquire); end != 0) {
    // Taken note of: the next read asks anew, for the end of a terminal or a growing file is not for ever.
    stream.wanted.store(head, std::memory_order_seq_cst);
    stream.in_end.store(0, std::memory_order_seq_cst);
    stream.readable_now.store(0, std::memory_order_relaxed);
    if (end == 1) return size_t{0};
    return static_cast<Errno>(end - 1);
  }
  u64 wanted = tail + std::min<u64>(to.remaining(), abi::kStreamRing);
  guard.unlock();
  if (stream.wanted.load(std::memory_order_relaxed) < wanted) {
    stream.wanted.store(wanted, std::memory_order_seq_cst);
    ring();
  }
  return Errno::AGAIN;
}

void HostStream::ask(u64 bytes) {
  abi::Stream& stream = shared();
  u64 wanted = stream.in_tail.load(std::memory_order_relaxed) + bytes;
  if (stream.wanted.exchange(wanted, std::memory_order_seq_cst) != wanted) ring();
}

std::span<const u8> HostStream::front() {
  abi::Stream& stream = shared();
  u64 at = stream.in_tail.load(std::memory_order_relaxed) % abi::kStreamRing;
  return {stream.in_ring + at, std::min(available(), abi::kStreamRing - at)};
}

void HostStream::drop(size_t size) {
  shared().in_tail.fetch_add(size, std::memory_order_seq_cst);
}

bool HostStream::ended() {
  return available() == 0 && shared().in_end.load(std::memory_order_acquire) != 0;
}

size_t HostStream::put(const u8* data, size_t size) {
  LockGuard guard(lock_);
  abi::Stream& stream = shared();
  u64 head = stream.out_head.load(std::memory_order_relaxed);
  size = std::min(size, abi::kStreamRing - queued());
  u64 at = head % abi::kStreamRing;
  u64 first = std::min<u64>(size, abi::kStreamRing - at);
  memcpy(stream.out_ring + at, data, first);
  memcpy(stream.out_ring, data + first, size - first);
  stream.out_head.store(head + size, std::memory_order_seq_cst);
  return size;
}

Result<size_t> HostStream::write(IoSource& from) {
  if (from.remaining() == 0) return size_t{0};
  LockGuard guard(lock_);
  abi::Stream& stream = shared();
  if (u32 error = stream.out_error.exchange(0, std::memory_order_seq_cst); error != 0)
    return static_cast<Errno>(error);
  u64 head = stream.out_head.load(std::memory_order_relaxed);
  u64 room = abi::kStreamRing - (head - stream.out_tail.load(std::memory_order_acquire));
  size_t done = 0;
  while (room > 0 && from.remaining() > 0) {
    u64 at = head % abi::kStreamRing;
    u64 size = std::min<u64>(std::min(room, abi::kStreamRing - at), from.remaining());
    auto copied = from.take(stream.out_ring + at, size);
    if (!copied.ok() && done == 0) return copied.error();
    if (!copied.ok()) break;
    head += copied.value();
    room -= copied.value();
    done += copied.value();
    if (copied.value() < size) break;
  }
  if (done == 0) return Errno::AGAIN;
  position_ += done;
  stream.out_head.store(head, std::memory_order_seq_cst);
  guard.unlock();
  ring();
  return done;
}

u64 HostStream::available() {
  abi::Stream& stream = shared();
  return stream.in_head.load(std::memory_order_acquire) - stream.in_tail.load(std::memory_order_relaxed);
}

u64 HostStream::queued() {
  abi::Stream& stream = shared();
  return stream.out_head.load(std::memory_order_relaxed) - stream.out_tail.load(std::memory_order_acquire);
}

u32 HostStream::poll(bool readable, bool writable) {
  abi::Stream& stream = shared();
  u32 events = 0;
  if (readable) {
    u32 end = stream.in_end.load(std::memory_order_acquire);
    if (available() > 0 || end != 0 || stream.readable_now.load(std::memory_order_acquire) != 0) {
      events |= kReadEvents;
    } else if (auto ready = control(abi::StreamOp::kReady); ready.ok() && ready.value() == 1) {
      // Asked, not guessed: a poll(2) that does not wait must see what is there.
      stream.readable_now.store(1, std::memory_order_seq_cst);
      events |= kReadEvents;
    } else if (stream.poll_wanted.exchange(1, std::memory_order_seq_cst) == 0) {
      ring();
    }
  }
  if (writable) {
    if (stream.out_error.load(std::memory_order_relaxed) != 0) events |= abi::kPOLLERR | kWriteEvents;
    if (queued() < abi::kStreamRing) events |= kWriteEvents;
  }
  return events;
}

Result<s64> HostStream::control(abi::StreamOp op, u64 a, u64 b) {
  s64 result = ring_call(abi::RingOp::kStream, static_cast<u64>(op), index_, a, b);
  if (result < 0) return static_cast<Errno>(-result);
  return result;
}

Result<void> HostStream::seek_to(u64 offset) {
  if (position_ == offset && available() == 0) return {};
  if (queued() > 0) return Errno::AGAIN;
  abi::Stream& stream = shared();
  stream.in_tail.store(stream.in_head.load(std::memory_order_seq_cst), std::memory_order_seq_cst);
  TRY(control(abi::StreamOp::kSeek, offset, abi::kSEEK_SET));
  position_ = offset;
  return {};
}

namespace {

class StreamFile final : public fs::File {
 public:
  StreamFile(HostStream& stream, const abi::BootStream& config, u32 flags)
      : File(flags), stream_(stream), config_(config) {}

  bool seekable() const override { return config_.kind == abi::StreamKind::kFile; }

  Result<size_t> read(IoDest& to, u64 offset) override {
    // What has arrived and was not taken yet is what lies at the stream's position.
    if (seekable() && stream_.position() != offset) TRY(stream_.seek_to(offset));
    return stream_.read(to);
  }
  Result<size_t> write(IoSource& from, u64 offset) override {
    if (seekable() && (flags() & abi::kO_APPEND) == 0) TRY(stream_.seek_to(offset));
    return stream_.write(from);
  }
  Result<u64> seek(s64 offset, int whence) override {
    if (!seekable()) return Errno::SPIPE;
    u64 from = 0;
    if (whence == abi::kSEEK_CUR) from = position;
    if (whence == abi::kSEEK_END) from = TRY(size());
    if (whence < abi::kSEEK_SET || whence > abi::kSEEK_END) return Errno::INVAL;
    if (static_cast<s64>(from) + offset < 0) return Errno::INVAL;
    return from + static_cast<u64>(offset);
  }
  Result<void> truncate(u64 size) override {
    if (!seekable()) return Errno::INVAL;
    TRY(stream_.control(abi::StreamOp::kTruncate, size));
    return {};
  }
  // /dev/stdout and its like (/proc/PID/fd/N). Differs from Linux: of a pipe both are one end, as the host
  // has it open once.
  Result<Ref<fs::File>> reopen(u32 flags) override {
    u32 access = flags & abi::kO_ACCMODE;
    if (access != abi::kO_WRONLY && config_.readable == 0) return Errno::ACCES;
    if (access != abi::kO_RDONLY && config_.writable == 0) return Errno::ACCES;
    auto file =
        TRY(make_ref<StreamFile>(stream_, config_, access | (flags & (abi::kO_APPEND | abi::kO_NONBLOCK))));
    if (seekable() && (flags & abi::kO_TRUNC) != 0) TRY(file->truncate(0));
    return Ref<fs::File>(std::move(file));
  }
  u32 poll() override {
    if (seekable()) return kReadEvents | kWriteEvents;
    return stream_.poll(readable(), writable());
  }
  WaitQueue* wait_queue() override { return &stream_.queue(); }

  Result<s64> ioctl(u32 command, GuestAddress argument) override {
    if (command != abi::kFIONREAD) return Errno::NOTTY;
    u64 count = stream_.available();
    if (seekable()) {
      u64 end = TRY(size());
      count = end > position ? end - position : 0;
    }
    TRY(GuestOut<s32>(argument.value).write(static_cast<s32>(count)));
    return 0;
  }

  Result<void> stat(abi::Stat& stat) override {
    stat = {};
    stat.dev = kHostDevice;
    stat.ino = config_.same_as + 1;
    stat.nlink = 1;
    stat.blksize = kPageSize;
    switch (config_.kind) {
      case abi::StreamKind::kFile:
        stat.mode = abi::kS_IFREG | 0644;
        stat.size = static_cast<s64>(TRY(size()));
        stat.blocks = (stat.size + 511) / 512;
        break;
      case abi::StreamKind::kPipe:
        stat.mode = abi::kS_IFIFO | 0600;
        break;
      default:
        stat.mode = abi::kS_IFCHR | 0666;
        stat.rdev = 0x103;  // as /dev/null: what a character device that is no terminal usually is here
    }
    return {};
  }

  void describe(TextBuffer& text) override {
    if (config_.kind == abi::StreamKind::kPipe) {
      text.add("pipe:[host").udec(config_.same_as).add(']');
    } else {
      text.add("/dev/fd/").udec(config_.same_as);
    }
  }

 private:
  // With what is still on its way.
  Result<u64> size() {
    u64 on_host = static_cast<u64>(TRY(stream_.control(abi::StreamOp::kSize)));
    return stream_.queued() > 0 ? std::max(on_host, u64{position}) : on_host;
  }

  HostStream& stream_;
  const abi::BootStream config_;
};

}  // namespace

Result<Ref<fs::File>> make_stream_file(u32 index, const abi::BootStream& config) {
  u32 access = abi::kO_RDONLY;
  if (config.writable != 0) access = config.readable != 0 ? abi::kO_RDWR : abi::kO_WRONLY;
  HostStream& stream = host_stream(index);
  auto file = TRY(make_ref<StreamFile>(stream, config, access));
  if (config.kind == abi::StreamKind::kFile) {
    auto offset = stream.control(abi::StreamOp::kSeek, 0, abi::kSEEK_CUR);
    if (offset.ok()) {
      file->position = static_cast<u64>(offset.value());
      stream.set_position(file->position);
    }
  }
  return Ref<fs::File>(std::move(file));
}

}  // namespace teacup::pseudo
