// The ring starts over at its first page whenever it runs empty, so a pipe that hands small messages to and
// fro stays in one page of cache, and a pipe costs the machine only the pages it ever filled. The lock is
// held while guest memory is copied: guest memory is paged in by the host, never by the kernel, so the copy
// cannot wait for the holder. Against a list of page buffers, as Linux has it, the ring saves the allocation
// per write (0.2 us) and makes F_SETPIPE_SZ exact in bytes; what it gives up is moving pages in splice(2).
#include "fs/pipe.h"

#include <algorithm>
#include <bit>

#include "kernel/abi/tty.h"
#include "kernel/base/memory.h"

namespace teacup::fs {

namespace {

constexpr u32 kReadEvents = abi::kPOLLIN | abi::kPOLLRDNORM;
constexpr u32 kWriteEvents = abi::kPOLLOUT | abi::kPOLLWRNORM;
constexpr u64 kLargestPipe = u64{1} << 31;

struct PipeSettings {
  std::atomic<u64> max_size{1 * MiB};
  std::atomic<u64> next_number{1};
};

PipeSettings& settings() {
  return *root<PipeSettings>(Root::kPipes);
}

}  // namespace

void pipes_start() {
  auto created = make<PipeSettings>();
  KERNEL_ASSERT(created.ok());
  set_root(Root::kPipes, created.value());
}

u64 pipe_max_size() {
  return settings().max_size.load(std::memory_order_relaxed);
}

Result<void> set_pipe_max_size(u64 bytes) {
  if (bytes > kLargestPipe) return Errno::INVAL;
  u64 size = std::bit_ceil(std::max(bytes, u64{kPageSize}));
  settings().max_size.store(size, std::memory_order_relaxed);
  return {};
}

u64 next_anonymous_number() {
  return settings().next_number.fetch_add(1, std::memory_order_relaxed);
}

Result<Ref<Pipe>> Pipe::create() {
  Ref<Pipe> pipe = TRY(make_ref<Pipe>());
  pipe->number_ = next_anonymous_number();
  pipe->created_ = gate::realtime_now();
  pipe->capacity_ = std::min(kDefaultPipeSize, pipe_max_size());
  return pipe;
}

void Pipe::destroy(Pipe* pipe) {
  teacup::destroy(pipe);
}

Pipe::~Pipe() {
  release_run(run_, committed_);
  uncommit_pages(committed_);
}

// --- The ring.

// Makes the ring's memory good for `bytes` more at head_.
Result<void> Pipe::prepare_locked(u64 bytes) {
  if (head_ == tail_ && reserved_ == 0 && !peeking_) head_ = tail_ = 0;
  if (run_.empty()) run_ = TRY(allocate_run(capacity_ / kPageSize));
  u64 end = std::min(head_ + reserved_ + bytes, capacity_);
  u64 pages = page_up(end) / kPageSize;
  if (pages <= committed_) return {};
  if (!commit_pages(pages - committed_)) return Errno::NOMEM;
  committed_ = pages;
  return {};
}

Result<size_t> Pipe::put_locked(IoSource& from, u64 size) {
  u64 done = 0;
  while (done < size) {
    u64 position = head_ % capacity_;
    u64 piece = std::min(size - done, capacity_ - position);
    auto copied = from.take(at(head_), piece);
    if (!copied.ok()) {
      if (done > 0) break;
      return copied.error();
    }
    head_ += copied.value();
    done += copied.value();
    if (copied.value() < piece) break;
  }
  return done;
}

// From here on the ring's content is described by stretches: what is in it already is one.
Result<void> Pipe::keep_stretches_locked() {
  u64 slots = capacity_ / kPageSize;
  if (stretches_.size() < slots) {
    auto larger = TRY(HeapArray<Stretch>::create(slots));
    u64 count = 0;
    for (u64 i = stretch_tail_; i != stretch_head_; i++) larger[count++] = stretch(i);
    stretches_ = std::move(larger);
    stretch_tail_ = 0;
    stretch_head_ = count;
  }
  if (!has_stretches_locked() && used_locked() > 0)
    stretch(stretch_head_++) = {static_cast<u32>(used_locked()), false};
  return {};
}

// Makes sure that close_stretch_locked() has a place: EAGAIN when there is none.
Result<void> Pipe::open_stretch_locked(bool packet) {
  if (!packet && !has_stretches_locked()) return {};
  TRY(keep_stretches_locked());
  bool extends = !packet && has_stretches_locked() && !stretch(stretch_head_ - 1).packet;
  if (!extends && stretch_head_ - stretch_tail_ == stretches_.size()) return Errno::AGAIN;
  return {};
}

void Pipe::close_stretch_locked(u64 bytes, bool packet) {
  if (bytes == 0 || (!packet && !has_stretches_locked())) return;
  if (!packet && !stretch(stretch_head_ - 1).packet) {
    stretch(stretch_head_ - 1).length += static_cast<u32>(bytes);
  } else {
    stretch(stretch_head_++) = {static_cast<u32>(bytes), packet};
  }
}

void Pipe::consume_locked(u64 bytes) {
  tail_ += bytes;
  while (bytes > 0 && has_stretches_locked()) {
    Stretch& first = stretch(stretch_tail_);
    u64 part = std::min<u64>(first.length, bytes);
    first.length -= static_cast<u32>(part);
    bytes -= part;
    if (first.length == 0) stretch_tail_++;
  }
}

Result<size_t> Pipe::read_locked(IoDest& to) {
  if (peeking_) return Errno::AGAIN;
  u64 size = std::min<u64>(used_locked(), to.remaining());
  if (used_locked() == 0) {
    if (writers() == 0) return size_t{0};
    return Errno::AGAIN;
  }
  u64 whole_packet = 0;
  if (has_stretches_locked()) {
    Stretch& first = stretch(stretch_tail_);
    size = std::min<u64>(size, first.length);
    if (first.packet) whole_packet = first.length;
  }
  u64 done = 0;
  while (done < size) {
    u64 position = tail_ + done;
    u64 piece = std::min(size - done, capacity_ - position % capacity_);
    auto copied = to.put(at(position), piece);
    if (!copied.ok()) {
      if (done > 0) break;
      return copied.error();
    }
    done += copied.value();
    if (copied.value() < piece) break;
  }
  consume_locked(whole_packet != 0 ? whole_packet : done);  // what is left of a packet is dropped (pipe(2))
  return done;
}

Result<size_t> Pipe::write_locked(IoSource& from, bool packet) {
  if (readers() == 0) return Errno::PIPE;
  u64 done = 0;
  while (from.remaining() > 0) {
    u64 size = from.remaining();
    if (packet) size = std::min(size, kPipeBuf);
    u64 room = room_locked();
    bool atomic = size <= kPipeBuf && (packet || done == 0);
    if (room == 0 || (atomic && room < size)) break;
    size = std::min(size, room);
    if (auto opened = open_stretch_locked(packet); !opened.ok()) {
      if (done > 0 || opened.is(Errno::AGAIN)) break;
      return opened.error();
    }
    TRY(prepare_locked(size));
    auto copied = put_locked(from, size);
    if (!copied.ok()) {
      if (done > 0) break;
      return copied.error();
    }
    close_stretch_locked(copied.value(), packet);
    done += copied.value();
    if (copied.value() < size) break;
  }
  if (done == 0) return Errno::AGAIN;
  return done;
}

Result<size_t> Pipe::read(IoDest& to) {
  if (to.remaining() == 0) return size_t{0};
  LockGuard guard(lock_);
  auto result = read_locked(to);
  guard.unlock();
  if (result.ok() && !queue_.empty()) queue_.wake(kWriteEvents);
  return result;
}

Result<size_t> Pipe::write(IoSource& from, bool packet) {
  if (from.remaining() == 0) return size_t{0};
  LockGuard guard(lock_);
  auto result = write_locked(from, packet);
  guard.unlock();
  if (result.ok() && !queue_.empty()) queue_.wake(kReadEvents);
  return result;
}

u64 Pipe::available() {
  LockGuard guard(lock_);
  return used_locked();
}

u32 Pipe::readiness(bool reader, bool writer, bool hangup) {
  LockGuard guard(lock_);
  u32 events = 0;
  if (reader) {
    if (used_locked() > 0 && !peeking_) events |= kReadEvents;
    if (writers() == 0 && hangup) events |= abi::kPOLLHUP;
  }
  if (writer) {
    bool slots = !has_stretches_locked() || stretch_head_ - stretch_tail_ < stretches_.size();
    if (room_locked() >= kPipeBuf && slots) events |= kWriteEvents;
    if (readers() == 0) events |= abi::kPOLLERR;
  }
  return events;
}

Result<u64> Pipe::resize(u64 bytes, bool privileged) {
  if (bytes > kLargestPipe) return Errno::INVAL;
  u64 capacity = std::bit_ceil(std::max(bytes, u64{kPageSize}));
  if (capacity > capacity_ && capacity > pipe_max_size() && !privileged) return Errno::PERM;
  PageRun old;
  u64 old_committed = 0;
  {
    LockGuard guard(lock_);
    if (capacity == capacity_) return capacity;
    u64 used = used_locked();
    if (used > capacity || reserved_ > 0 || peeking_) return Errno::BUSY;
    if (stretch_head_ - stretch_tail_ > capacity / kPageSize) return Errno::BUSY;
    if (!run_.empty()) {
      PageRun run = TRY(allocate_run(capacity / kPageSize));
      u64 pages = page_up(used) / kPageSize;
      if (!commit_pages(pages)) {
        release_run(run, 0);
        return Errno::NOMEM;
      }
      auto* to = reinterpret_cast<std::byte*>(run.address());
      u64 first = std::min(used, capacity_ - tail_ % capacity_);
      memcpy(to, at(tail_), first);
      memcpy(to + first, at(0), used - first);
      old = run_;
      old_committed = committed_;
      run_ = run;
      committed_ = pages;
    }
    tail_ = 0;
    head_ = used;
    capacity_ = capacity;
  }
  release_run(old, old_committed);
  uncommit_pages(old_committed);
  queue_.wake(kWriteEvents);
  return capacity;
}

// --- Splicing.

Result<size_t> Pipe::peek(std::span<std::byte> into) {
  LockGuard guard(lock_);
  if (peeking_) return Errno::AGAIN;
  u64 size = std::min<u64>(used_locked(), into.size());
  if (size == 0) {
    if (writers() == 0 || into.empty()) return size_t{0};
    return Errno::AGAIN;
  }
  u64 first = std::min(size, capacity_ - tail_ % capacity_);
  memcpy(into.data(), at(tail_), first);
  memcpy(into.data() + first, at(tail_ + first), size - first);
  peeking_ = true;
  return size;
}

void Pipe::end_peek(size_t consumed) {
  bool more;
  {
    LockGuard guard(lock_);
    consume_locked(consumed);
    peeking_ = false;
    more = used_locked() > 0 || writers() == 0;
  }
  queue_.wake((more ? kReadEvents : 0) | (consumed > 0 ? kWriteEvents : 0));
}

Result<size_t> Pipe::begin_fill(size_t wanted) {
  LockGuard guard(lock_);
  if (readers() == 0) return Errno::PIPE;
  u64 size = std::min<u64>(wanted, room_locked());
  if (size == 0) return Errno::AGAIN;
  TRY(open_stretch_locked(false));
  TRY(prepare_locked(size));
  reserved_ += size;
  return size;
}

void Pipe::end_fill(std::span<const std::byte> data, size_t reserved) {
  KERNEL_ASSERT(data.size() <= reserved);
  {
    LockGuard guard(lock_);
    reserved_ -= reserved;
    IoSource from(data);
    auto put = put_locked(from, data.size());
    // Packets may have taken the last stretch meanwhile; the ring of stretches is as long as it has pages,
    // and each packet leaves its page's worth of room unpromised, so one more is always free.
    if (put.ok()) close_stretch_locked(put.value(), false);
  }
  queue_.wake(data.empty() ? kWriteEvents : kReadEvents);
}

// --- Ends.

void Pipe::add_end(bool reader, bool writer) {
  if (reader) {
    readers_.fetch_add(1, std::memory_order_relaxed);
    reader_opens_.fetch_add(1, std::memory_order_relaxed);
  }
  if (writer) {
    writers_.fetch_add(1, std::memory_order_relaxed);
    writer_opens_.fetch_add(1, std::memory_order_relaxed);
  }
  queue_.wake_all();
}

void Pipe::drop_end(bool reader, bool writer) {
  {
    LockGuard guard(lock_);
    if (reader) readers_.fetch_sub(1, std::memory_order_relaxed);
    if (writer) writers_.fetch_sub(1, std::memory_order_relaxed);
    if (readers() == 0 && writers() == 0 && !peeking_) {  // a FIFO that nobody has open forgets its bytes
      head_ = tail_ = 0;
      stretch_head_ = stretch_tail_ = 0;
    }
  }
  queue_.wake_all();
}

}  // namespace teacup::fs
