// A queue of bytes in a ring of arena pages, between a sender and a receiver: one direction of a connection.
// The two copy at the same time: each end has its own lock, held while guest memory is copied, and the
// positions are all they share. The ring grows with what waits in it (to the limit that a write names) and
// starts over at its first page whenever it is found empty. Or the ring is one of the gateway's, of fixed
// size, and the process at its other end the broker.
//
// Locks: kQueueWrite (writers; held over growth), kQueueRead (readers), in this order.
#pragma once

#include "kernel/abi/gateway.h"
#include "kernel/frame/pages.h"
#include "kernel/sync/lock.h"
#include "kernel/uaccess/guest.h"

namespace teacup::net {

class ByteQueue {
 public:
  ~ByteQueue();
  // From now on this is the machine's end of a ring that the broker has the other end of. Before any use.
  // `kept`: pages of it that are committed already.
  void share(abi::RingPositions& positions, u8* memory, u64 capacity, u64 kept);
  // The other end has used this much of a shared ring, from its start, in bytes. False: that is more memory
  // than there is.
  bool count_used(u64 furthest);
  // Pages that stay committed when the queue is gone, up to `most`; for who shared it.
  u64 leave_committed(u64 most);

  // Appends up to `most` bytes, as far as the queue then holds no more than `limit`; 0: no room. EPIPE:
  // sealed. EFAULT, ENOMEM. `most` > 0.
  Result<size_t> write(IoSource& from, size_t most, u64 limit);
  // The same with one byte that is marked urgent (TCP's out-of-band byte): it takes the mark from an earlier
  // one, which is lost if it is what would be read next and is not one like others. EAGAIN: no room.
  Result<void> write_urgent(IoSource& from, u64 limit, bool urgent_inline);

  struct ReadMode {
    bool peek = false;
    bool discard = false;        // count, but copy nothing
    bool urgent_inline = false;  // the urgent byte is one like others; else it is passed over
  };
  // What is there, up to to.remaining() bytes, but not across an urgent byte; 0: nothing.
  Result<size_t> read(IoDest& to, ReadMode mode);

  u64 used() const {
    return at_->head.load(std::memory_order_seq_cst) - at_->tail.load(std::memory_order_seq_cst);
  }
  // All that ever went in.
  u64 written() const { return at_->head.load(std::memory_order_relaxed); }
  // What a read can give now: not the urgent byte alone.
  u64 readable(bool urgent_inline);
  // Up to the urgent byte, if there is one (ioctl FIONREAD).
  u64 readable_to_mark(bool urgent_inline);

  // --- The urgent byte.
  bool has_urgent() const { return urgent_.load(std::memory_order_acquire) == Urgent::kValid; }
  bool at_mark();
  // EINVAL: there is none (any more).
  Result<u8> read_urgent(bool peek);

  // The receiver is gone: nothing more goes in. True if something was in.
  bool seal();

 private:
  enum class Urgent : u8 { kNone, kValid, kRead };

  bool is_shared() const { return at_ != &own_; }
  u64 offset(u64 position) const {
    return (position - at_->base.load(std::memory_order_relaxed)) & (capacity_ - 1);
  }
  std::byte* at(u64 position) { return memory_ + offset(position); }
  Result<void> make_room(u64 bytes, u64 limit, PageRun& old, u64& old_dirty);
  Result<u64> copy_in(IoSource& from, u64 size);
  bool is_marked(u64 position) const {
    return urgent_.load(std::memory_order_relaxed) != Urgent::kNone && urgent_at_ == position;
  }

  Mutex write_lock_{LockRank::kQueueWrite};
  Mutex read_lock_{LockRank::kQueueRead};
  // Changed under both locks.
  PageRun run_;
  std::byte* memory_ = nullptr;
  u64 capacity_ = 0;  // bytes; a power of two
  bool sealed_ = false;
  u64 committed_ = 0;  // pages counted against the memory limit; under the writers' lock
  abi::RingPositions own_;
  abi::RingPositions* at_ = &own_;
  std::atomic<Urgent> urgent_{Urgent::kNone};  // under the readers' lock
  u64 urgent_at_ = 0;
};

}  // namespace teacup::net
