#include <algorithm>

#include "host/gate/gate.h"
#include "kernel/frame/heap.h"
#include "kernel/pseudo/event_files.h"
#include "kernel/time/timer.h"

namespace teacup::pseudo {

namespace {

constexpr u64 kSecond = 1'000'000'000;

u64 as_ns(const abi::Timespec& time) {
  u64 seconds = static_cast<u64>(time.tv_sec);
  if (seconds >= kNoDeadline / kSecond - 1) return kNoDeadline - kSecond;
  return seconds * kSecond + static_cast<u64>(time.tv_nsec);
}
abi::Timespec as_timespec(u64 ns) {
  return {static_cast<s64>(ns / kSecond), static_cast<s64>(ns % kSecond)};
}
bool is_valid(const abi::Timespec& time) {
  return time.tv_sec >= 0 && time.tv_nsec >= 0 && time.tv_nsec < static_cast<s64>(kSecond);
}

// What expires. Apart from the file: the kernel task may be at it when the file ends.
class TickTimer final : public Timer {
 public:
  Mutex lock{LockRank::kPipe};
  WaitQueue queue;
  u64 ticks = 0;     // expirations not read yet
  u64 next = 0;      // ns, monotonic, of the next one; 0: disarmed
  u64 interval = 0;  // ns; 0: once

  void expired(u64 now) override {
    u64 deadline;
    {
      LockGuard guard(lock);
      deadline = catch_up_locked(now);
    }
    if (deadline != 0) arm(deadline);
    queue.wake(abi::kPOLLIN | abi::kPOLLRDNORM);
  }

  // Counts what is due; the next deadline to arm, or 0.
  u64 catch_up_locked(u64 now) {
    if (next == 0 || now < next) return next;
    if (interval == 0) {
      ticks++;
      next = 0;
      return 0;
    }
    u64 passed = (now - next) / interval + 1;
    ticks += passed;
    next += passed * interval;
    return next;
  }
};

class TimerFile final : public fs::File {
 public:
  TimerFile(Ref<TickTimer> timer, int clock, u32 flags)
      : File(flags), timer_(std::move(timer)), realtime_(clock == abi::kCLOCK_REALTIME || clock == 8) {}
  ~TimerFile() override { timer_->cancel(); }

  fs::FileKind kind() const override { return fs::FileKind::kTimerFd; }

  Result<size_t> read(IoDest& to, u64) override {
    if (to.remaining() < sizeof(u64)) return Errno::INVAL;
    u64 ticks;
    {
      LockGuard guard(timer_->lock);
      timer_->catch_up_locked(gate::monotonic_now());
      if (timer_->ticks == 0) return Errno::AGAIN;
      ticks = timer_->ticks;
      timer_->ticks = 0;
    }
    TRY(to.put(&ticks, sizeof ticks));
    return sizeof ticks;
  }

  u32 poll() override {
    LockGuard guard(timer_->lock);
    return timer_->ticks > 0 ? u32{abi::kPOLLIN | abi::kPOLLRDNORM} : 0;
  }
  WaitQueue* wait_queue() override { return &timer_->queue; }
  Result<size_t> write(IoSource&, u64) override { return Errno::INVAL; }
  void describe(TextBuffer& text) override { text.add("anon_inode:[timerfd]"); }

  abi::ITimerspec get() {
    u64 now = gate::monotonic_now();
    LockGuard guard(timer_->lock);
    return get_locked(now);
  }

  abi::ITimerspec set(bool absolute, const abi::ITimerspec& value) {
    u64 now = gate::monotonic_now();
    u64 first = as_ns(value.value);
    u64 deadline = 0;
    if (first != 0) deadline = absolute ? from_absolute(first, now) : now + first;
    abi::ITimerspec old;
    {
      LockGuard guard(timer_->lock);
      old = get_locked(now);
      timer_->ticks = 0;
      timer_->interval = as_ns(value.interval);
      timer_->next = deadline;
    }
    if (deadline == 0) {
      timer_->cancel();
    } else {
      timer_->arm(deadline);
    }
    return old;
  }

 private:
  u64 from_absolute(u64 time, u64 now) const {
    if (!realtime_) return std::max(time, u64{1});
    u64 wall = gate::realtime_now();
    return time > wall ? now + (time - wall) : now;
  }
  abi::ITimerspec get_locked(u64 now) {
    timer_->catch_up_locked(now);
    u64 left = timer_->next > now ? timer_->next - now : 0;
    return {as_timespec(timer_->interval), as_timespec(left)};
  }

  Ref<TickTimer> timer_;
  bool realtime_;
};

}  // namespace

Result<Ref<fs::File>> make_timerfd(int clock, u32 flags) {
  if ((flags & ~static_cast<u32>(abi::kTFD_NONBLOCK | abi::kTFD_CLOEXEC)) != 0) return Errno::INVAL;
  switch (clock) {
    case abi::kCLOCK_REALTIME:
    case abi::kCLOCK_MONOTONIC:
    case abi::kCLOCK_BOOTTIME:
    case abi::kCLOCK_REALTIME_ALARM:
    case abi::kCLOCK_BOOTTIME_ALARM:
      break;
    default:
      return Errno::INVAL;
  }
  Ref<TickTimer> timer = TRY(make_ref<TickTimer>());
  u32 file_flags = abi::kO_RDWR | (flags & abi::kTFD_NONBLOCK);
  return Ref<fs::File>(TRY(make_ref<TimerFile>(std::move(timer), clock, file_flags)));
}

Result<void> timerfd_set(fs::File& file, u32 flags, const abi::ITimerspec& value, abi::ITimerspec* old) {
  constexpr u32 kKnown = abi::kTFD_TIMER_ABSTIME | abi::kTFD_TIMER_CANCEL_ON_SET;
  if (file.kind() != fs::FileKind::kTimerFd || (flags & ~kKnown) != 0) return Errno::INVAL;
  if (!is_valid(value.value) || !is_valid(value.interval)) return Errno::INVAL;
  *old = static_cast<TimerFile&>(file).set((flags & abi::kTFD_TIMER_ABSTIME) != 0, value);
  return {};
}

Result<abi::ITimerspec> timerfd_get(fs::File& file) {
  if (file.kind() != fs::FileKind::kTimerFd) return Errno::INVAL;
  return static_cast<TimerFile&>(file).get();
}

}  // namespace teacup::pseudo
