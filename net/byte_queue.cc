#include "net/byte_queue.h"

#include <algorithm>
#include <bit>

#include "kernel/base/memory.h"

namespace teacup::net {

namespace {
constexpr u64 kFirstCapacity = 64 * KiB;
constexpr u64 kStartOver = abi::kGatewayStartOver;
}  // namespace

ByteQueue::~ByteQueue() {
  release_run(run_, is_shared() ? 0 : committed_);
  uncommit_pages(committed_);
}

void ByteQueue::share(abi::RingPositions& positions, u8* memory, u64 capacity, u64 kept) {
  committed_ = kept;
  at_ = &positions;
  memory_ = reinterpret_cast<std::byte*>(memory);
  capacity_ = capacity;
}

bool ByteQueue::count_used(u64 furthest) {
  LockGuard guard(write_lock_);
  u64 pages = page_up(std::min(furthest, capacity_)) / kPageSize;
  if (pages <= committed_) return true;
  if (!commit_pages(pages - committed_)) return false;
  committed_ = pages;
  return true;
}

u64 ByteQueue::leave_committed(u64 most) {
  LockGuard guard(write_lock_);
  u64 left = std::min(committed_, most);
  committed_ -= left;
  return left;
}

// --- In.

// Sees to memory for `bytes` more. The writers' lock is held. `old`: a run that is to be released once it is
// not.
Result<void> ByteQueue::make_room(u64 bytes, u64 limit, PageRun& old, u64& old_dirty) {
  u64 head = at_->head.load(std::memory_order_relaxed);
  u64 waiting = head - at_->tail.load(std::memory_order_acquire);
  if (waiting + bytes > capacity_ && !is_shared()) {
    u64 wanted =
        std::bit_ceil(std::max(std::min(std::max(waiting + bytes, capacity_ * 2), limit), waiting + bytes));
    wanted = std::max(wanted, kFirstCapacity);
    PageRun larger = TRY(allocate_run(wanted / kPageSize));
    LockGuard guard(read_lock_);
    u64 tail = at_->tail.load(std::memory_order_relaxed);
    waiting = head - tail;
    u64 needed = page_up(waiting) / kPageSize;
    if (needed > committed_ && !commit_pages(needed - committed_)) {
      old = larger;
      old_dirty = 0;
      return Errno::NOMEM;
    }
    auto* into = reinterpret_cast<std::byte*>(larger.address());
    u64 first = std::min(waiting, capacity_ - (capacity_ != 0 ? offset(tail) : 0));
    if (waiting > 0) {
      memcpy(into, at(tail), first);
      memcpy(into + first, memory_, waiting - first);
    }
    old = std::exchange(run_, larger);
    old_dirty = committed_;
    if (needed < committed_) uncommit_pages(committed_ - needed);
    committed_ = needed;
    capacity_ = wanted;
    memory_ = into;
    at_->base.store(tail, std::memory_order_relaxed);
  } else if (waiting == 0 && offset(head) + bytes > kStartOver && offset(head) != 0) {
    LockGuard guard(read_lock_);
    at_->base.store(head, std::memory_order_relaxed);
  }
  u64 pages = page_up(std::min(offset(head) + bytes, capacity_)) / kPageSize;
  if (pages <= committed_) return {};
  if (!commit_pages(pages - committed_)) return Errno::NOMEM;
  committed_ = pages;
  return {};
}

Result<u64> ByteQueue::copy_in(IoSource& from, u64 size) {
  u64 head = at_->head.load(std::memory_order_relaxed);
  u64 done = 0;
  while (done < size) {
    u64 piece = std::min(size - done, capacity_ - offset(head + done));
    auto copied = from.take(at(head + done), piece);
    if (!copied.ok()) {
      if (done == 0) return copied.error();
      break;
    }
    done += copied.value();
    if (copied.value() < piece) break;
  }
  return done;
}

Result<size_t> ByteQueue::write(IoSource& from, size_t most, u64 limit) {
  PageRun old;
  u64 old_dirty = 0;
  Result<size_t> result = [&]() -> Result<size_t> {
    LockGuard guard(write_lock_);
    if (sealed_) return Errno::PIPE;
    if (is_shared()) limit = std::min(limit, capacity_);
    u64 waiting = used();
    if (waiting >= limit) return size_t{0};
    u64 size = std::min<u64>({from.remaining(), most, limit - waiting});
    TRY(make_room(size, limit, old, old_dirty));
    u64 done = TRY(copy_in(from, size));
    at_->head.store(at_->head.load(std::memory_order_relaxed) + done, std::memory_order_seq_cst);
    return done;
  }();
  release_run(old, old_dirty);
  return result;
}

Result<void> ByteQueue::write_urgent(IoSource& from, u64 limit, bool urgent_inline) {
  PageRun old;
  u64 old_dirty = 0;
  Result<void> result = [&]() -> Result<void> {
    LockGuard guard(write_lock_);
    if (sealed_) return Errno::PIPE;
    if (used() >= limit) return Errno::AGAIN;
    TRY(make_room(1, limit, old, old_dirty));
    TRY(copy_in(from, 1));
    LockGuard read_guard(read_lock_);
    u64 tail = at_->tail.load(std::memory_order_relaxed);
    if (!urgent_inline && is_marked(tail) && used() != 0)
      at_->tail.store(tail + 1, std::memory_order_seq_cst);
    urgent_at_ = at_->head.load(std::memory_order_relaxed);
    urgent_.store(Urgent::kValid, std::memory_order_release);
    at_->head.store(urgent_at_ + 1, std::memory_order_seq_cst);
    return {};
  }();
  release_run(old, old_dirty);
  return result;
}

bool ByteQueue::seal() {
  LockGuard guard(write_lock_);
  LockGuard read_guard(read_lock_);
  sealed_ = true;
  u64 head = at_->head.load(std::memory_order_relaxed);
  return at_->tail.exchange(head, std::memory_order_seq_cst) != head;
}

// --- Out.

Result<size_t> ByteQueue::read(IoDest& to, ReadMode mode) {
  if (used() == 0) return size_t{0};
  LockGuard guard(read_lock_);
  u64 tail = at_->tail.load(std::memory_order_relaxed);
  u64 head = at_->head.load(std::memory_order_acquire);
  bool urgent = urgent_.load(std::memory_order_relaxed) != Urgent::kNone;
  if (urgent && !mode.urgent_inline && is_marked(tail) && head != tail) tail++;
  u64 end = std::min<u64>(head, tail + to.remaining());
  if (urgent && urgent_at_ > tail && urgent_at_ < end) end = urgent_at_;
  u64 at_now = tail;
  while (at_now < end) {
    u64 piece = std::min(end - at_now, capacity_ - offset(at_now));
    if (!mode.discard) {
      auto put = to.put(at(at_now), piece);
      if (!put.ok()) {
        if (at_now == tail) return put.error();
        break;
      }
      at_now += put.value();
      if (put.value() < piece) break;
    } else {
      to.skip(piece);
      at_now += piece;
    }
  }
  if (!mode.peek) {
    if (urgent && at_now > urgent_at_) urgent_.store(Urgent::kNone, std::memory_order_release);
    at_->tail.store(at_now, std::memory_order_seq_cst);
  }
  return at_now - tail;
}

u64 ByteQueue::readable(bool urgent_inline) {
  u64 waiting = used();
  if (waiting == 0 || urgent_inline || urgent_.load(std::memory_order_acquire) == Urgent::kNone)
    return waiting;
  LockGuard guard(read_lock_);
  return used() - (is_marked(at_->tail.load(std::memory_order_relaxed)) ? 1 : 0);
}

u64 ByteQueue::readable_to_mark(bool urgent_inline) {
  LockGuard guard(read_lock_);
  u64 tail = at_->tail.load(std::memory_order_relaxed);
  if (!urgent_inline && urgent_.load(std::memory_order_relaxed) != Urgent::kNone && urgent_at_ >= tail)
    return urgent_at_ - tail;
  return used();
}

bool ByteQueue::at_mark() {
  LockGuard guard(read_lock_);
  return is_marked(at_->tail.load(std::memory_order_relaxed));
}

Result<u8> ByteQueue::read_urgent(bool peek) {
  LockGuard guard(read_lock_);
  if (urgent_.load(std::memory_order_relaxed) != Urgent::kValid) return Errno::INVAL;
  u8 byte = static_cast<u8>(*at(urgent_at_));
  if (!peek) urgent_.store(Urgent::kRead, std::memory_order_release);
  return byte;
}

}  // namespace teacup::net
