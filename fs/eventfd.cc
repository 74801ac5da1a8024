#include "fs/eventfd.h"

#include "kernel/abi/ipc.h"
#include "kernel/frame/heap.h"

namespace teacup::fs {

namespace {

constexpr u64 kMost = ~u64{0} - 1;

class EventFile final : public File {
 public:
  EventFile(u64 count, u32 flags, bool semaphore) : File(flags), semaphore_(semaphore), count_(count) {}

  FileKind kind() const override { return FileKind::kEventFd; }

  Result<size_t> read(IoDest& to, u64) override {
    if (to.remaining() < sizeof(u64)) return Errno::INVAL;
    u64 value;
    {
      LockGuard guard(lock_);
      if (count_ == 0) return Errno::AGAIN;
      value = semaphore_ ? 1 : count_;
      count_ -= value;
    }
    queue_.wake(abi::kPOLLOUT);
    TRY(to.put(&value, sizeof value));
    return sizeof value;
  }

  Result<size_t> write(IoSource& from, u64) override {
    if (from.remaining() < sizeof(u64)) return Errno::INVAL;
    u64 value;
    TRY(from.peek(&value, sizeof value));
    if (value == ~u64{0}) return Errno::INVAL;
    {
      LockGuard guard(lock_);
      if (value > kMost - count_) return Errno::AGAIN;
      count_ += value;
    }
    queue_.wake(abi::kPOLLIN);
    TRY(from.take(&value, sizeof value));
    return sizeof value;
  }

  u32 poll() override {
    LockGuard guard(lock_);
    return (count_ > 0 ? abi::kPOLLIN : 0) | (count_ < kMost ? abi::kPOLLOUT : 0);
  }
  WaitQueue* wait_queue() override { return &queue_; }
  void describe(TextBuffer& text) override { text.add("anon_inode:[eventfd]"); }

 private:
  Mutex lock_{LockRank::kPipe};
  WaitQueue queue_;
  bool semaphore_;
  u64 count_;
};

}  // namespace

Result<Ref<File>> make_eventfd(u32 initial, u32 flags) {
  if ((flags & ~(abi::kEFD_SEMAPHORE | abi::kEFD_NONBLOCK | abi::kEFD_CLOEXEC)) != 0) return Errno::INVAL;
  u32 file_flags = abi::kO_RDWR | (flags & abi::kEFD_NONBLOCK);
  return Ref<File>(TRY(make_ref<EventFile>(initial, file_flags, (flags & abi::kEFD_SEMAPHORE) != 0)));
}

}  // namespace teacup::fs
