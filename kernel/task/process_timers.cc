// Each timer holds a reference to its process, and the process to its timers, until the process ends or
// deletes them: the kernel task may be about to run one.
//
// A CPU-time timer cannot expire before `tasks` times its remaining time divided by the number of processors
// has gone by, so it is looked at then, but at most once a millisecond.
//
// Lock order: the process's kSignal, then kTimers.
#include "kernel/task/process_timers.h"
#include "kernel/sync/wait.h"
#include "kernel/task/times.h"

#include "kernel/task/processes.h"
#include "kernel/task/send_signal.h"
#include "kernel/time/clock.h"
#include "kernel/time/timer.h"

namespace teacup {

namespace {

constexpr u64 kSamplePeriod = 1'000'000;

u64 cpu_now(Process& process) {
  CpuTimes times = cpu_times(process);
  return times.user + times.system;
}

// When to look at a timer again that is due at `due` on its clock.
u64 deadline_for(bool cpu, u64 due, u64 clock_now) {
  u64 now = gate::monotonic_now();
  u64 left = due > clock_now ? due - clock_now : 0;
  if (!cpu) return now + left;
  u64 soonest = left / arena().cpu_count;
  return now + (soonest > kSamplePeriod ? soonest : kSamplePeriod);
}

// The next expiry after `now` of a timer that was due at `due`; counts those that were missed.
u64 advance(u64 due, u64 interval, u64 now, u64* missed) {
  if (interval == 0) return 0;
  u64 periods = now > due ? (now - due) / interval : 0;
  *missed = periods;
  return due + (periods + 1) * interval;
}

}  // namespace

// One of setitimer(2)'s. The fields are under the process's lock.
class IntervalTimer : public Timer {
 public:
  IntervalTimer(Process& process, int which) : process_(Ref<Process>::share(&process)), which_(which) {}

  IntervalSetting setting_locked(u64 now) const {
    if (due_ == 0) return {};
    return {due_ > now ? due_ - now : 1, interval_};
  }
  void set_locked(const IntervalSetting& setting, u64 now) {
    due_ = setting.value == 0 ? 0 : now + setting.value;
    interval_ = setting.interval;
    if (due_ == 0) {
      cancel();
    } else {
      arm(deadline_for(is_cpu(), due_, now));
    }
  }
  u64 now() const { return is_cpu() ? cpu_now(*process_) : gate::monotonic_now(); }
  bool is_cpu() const { return which_ != abi::kITIMER_REAL; }

 protected:
  void expired(u64) override {
    u64 at = now();
    bool fire = false;
    {
      LockGuard guard(process_->lock);
      if (due_ == 0) return;
      fire = at >= due_;
      u64 missed = 0;
      if (fire) due_ = advance(due_, interval_, at, &missed);
      if (due_ != 0) arm(deadline_for(is_cpu(), due_, at));
    }
    if (!fire) return;
    constexpr int kSignals[] = {abi::kSIGALRM, abi::kSIGVTALRM, abi::kSIGPROF};
    (void)send_signal(*process_, kernel_signal(kSignals[which_]));
  }

 private:
  const Ref<Process> process_;
  const int which_;
  u64 due_ = 0;  // on its clock, ns; 0: disarmed
  u64 interval_ = 0;
};

// RLIMIT_CPU: SIGXCPU at the soft limit and each second after it, SIGKILL at the hard one.
class CpuLimitTimer : public Timer {
 public:
  explicit CpuLimitTimer(Process& process) : process_(Ref<Process>::share(&process)) {}

  void look() {
    u64 used = cpu_now(*process_);
    ResourceLimit limit;
    bool exceeded = false;
    {
      LockGuard guard(process_->lock);
      if (process_->ending) return;
      limit = process_->limits[abi::kRLIMIT_CPU];
      if (limit.soft == kUnlimited && limit.hard == kUnlimited) return;
      u64 soft = limit.soft < kMost ? limit.soft * kSecond : kNoDeadline;
      if (told_until_ < soft) told_until_ = soft;
      exceeded = used >= told_until_;
      if (exceeded) told_until_ = used / kSecond * kSecond + kSecond;
      arm(deadline_for(true, told_until_, used));
    }
    if (limit.hard < kMost && used >= limit.hard * kSecond) {
      (void)send_signal(*process_, kernel_signal(abi::kSIGKILL));
    } else if (exceeded) {
      (void)send_signal(*process_, kernel_signal(abi::kSIGXCPU));
    }
  }

 protected:
  void expired(u64) override { look(); }

 private:
  static constexpr u64 kMost = 1'000'000'000;  // seconds

  const Ref<Process> process_;
  u64 told_until_ = 0;  // process's lock: CPU time of the next SIGXCPU
};

class PosixTimer : public Timer {
 public:
  // `cpu`: for a CPU-time clock.
  PosixTimer(Process& process, s32 id, int clock, CpuClock cpu)
      : process_(Ref<Process>::share(&process)), id_(id), clock_(clock), cpu_(std::move(cpu)) {
    signal_.on_taken = &taken;
    signal_.info.code = abi::kSI_TIMER;
    signal_.info.timer.timer_id = id;
  }

  void set_event(const TimerEvent* event, Ref<Task> thread) {
    notify_ = event != nullptr ? event->notify : abi::kSIGEV_SIGNAL;
    signal_.info.signo = event != nullptr ? event->signal : abi::kSIGALRM;
    if (event != nullptr) {
      signal_.info.timer.value = event->value;
    } else {
      signal_.info.timer.value.pointer = 0;
      signal_.info.timer.value.int_value = id_;
    }
    thread_ = std::move(thread);
  }

  IntervalSetting setting_locked(u64 now) const {
    if (due_ == 0) return {};
    return {due_ > now ? due_ - now : 1, interval_};
  }
  void set_locked(const IntervalSetting& setting, bool absolute, u64 now) {
    queue().remove(signal_);
    overrun_ = last_overrun_ = 0;
    due_ = setting.value == 0 ? 0 : absolute ? setting.value : now + setting.value;
    interval_ = setting.interval;
    if (due_ == 0) {
      cancel();
    } else {
      seen_ = now;
      arm(deadline_locked());
    }
  }
  void disarm_locked() {
    queue().remove(signal_);
    due_ = 0;
    cancel();
  }
  s32 overrun() const { return last_overrun_; }
  u64 now() const { return cpu_ ? cpu_.now() : clock_now(clock_).value_or(gate::monotonic_now()); }
  // The thread whose CPU time it is that counts, if any.
  const Task* clock_thread() const { return cpu_.thread.get(); }
  // Has its time come? By the clock's thread, if it is a thread's.
  void look() {
    u64 at = now();
    SignalBatch batch;
    LockGuard guard(process_->lock);
    if (due_ == 0) return;
    seen_ = at;
    if (at >= due_) {
      u64 missed = 0;
      due_ = advance(due_, interval_, at, &missed);
      fire_locked(missed, batch);
    }
    if (due_ != 0) arm(deadline_locked());
  }

 protected:
  // A thread's clock cannot be read from here: the thread is asked to look, unless it waits, and uses none.
  void expired(u64) override {
    Task* thread = cpu_.thread.get();
    if (thread == nullptr) return look();
    switch (thread->mode.load(std::memory_order_seq_cst)) {
      case Mode::kDead:
        return;
      case Mode::kParked: {
        LockGuard guard(process_->lock);
        if (due_ != 0) arm(deadline_locked());
        return;
      }
      default:
        interrupt(*thread, kPendingClock);
    }
  }

 private:
  // When to look again, by what the clock said last. One thread's time goes no faster than the day's.
  u64 deadline_locked() const {
    if (!cpu_.thread) return deadline_for(static_cast<bool>(cpu_), due_, seen_);
    u64 left = due_ > seen_ ? due_ - seen_ : 0;
    return gate::monotonic_now() + std::max(left, kSamplePeriod);
  }
  SignalQueue& queue() { return thread_ ? thread_->signals.queue : process_->queue; }

  void fire_locked(u64 missed, SignalBatch& batch) {
    if (notify_ == abi::kSIGEV_NONE || process_->ending) return;
    if (signal_.node.linked()) {
      overrun_ += missed + 1;
      return;
    }
    overrun_ = missed;
    bool ignored = is_ignored_locked(*process_, signal_.info.signo);
    Task* reference = thread_ ? thread_.get() : process_->tasks.front();
    if (reference == nullptr) return;
    bool blocked = (reference->signals.blocked & abi::signal_bit(signal_.info.signo)) != 0;
    if (ignored && !blocked) return;
    queue().add(signal_);
    retarget_timer_signal_locked(*process_, thread_.get(), signal_.info.signo, batch);
  }

  static void taken(QueuedSignal& entry) {
    auto offset = reinterpret_cast<u64>(&static_cast<PosixTimer*>(nullptr)->signal_);
    auto& timer = *reinterpret_cast<PosixTimer*>(reinterpret_cast<u64>(&entry) - offset);
    constexpr u64 kMost = 0x7fffffff;
    timer.last_overrun_ = static_cast<s32>(timer.overrun_ < kMost ? timer.overrun_ : kMost);
    entry.info.timer.overrun = timer.last_overrun_;
    timer.overrun_ = 0;
  }

  const Ref<Process> process_;
  const s32 id_;
  const int clock_;
  const CpuClock cpu_;
  Ref<Task> thread_;  // SIGEV_THREAD_ID
  s32 notify_ = abi::kSIGEV_SIGNAL;
  QueuedSignal signal_;
  u64 due_ = 0;
  u64 interval_ = 0;
  u64 seen_ = 0;  // what the clock said last
  u64 overrun_ = 0;
  s32 last_overrun_ = 0;
};

class ProcessTimers {
 public:
  Ref<IntervalTimer> interval[3];
  Ref<CpuLimitTimer> cpu_limit;
  HeapArray<Ref<PosixTimer>> posix;  // by id
};

namespace {

// Made at the first use. Under no lock.
Result<ProcessTimers*> timers_of(Process& process) {
  {
    LockGuard guard(process.lock);
    if (process.timers != nullptr) return process.timers;
  }
  ProcessTimers* made = TRY(make<ProcessTimers>());
  for (int which = 0; which < 3; which++) {
    auto timer = make_ref<IntervalTimer>(process, which);
    if (!timer.ok()) {
      destroy(made);
      return Errno::NOMEM;
    }
    made->interval[which] = std::move(timer).value();
  }
  {
    LockGuard guard(process.lock);
    if (process.timers == nullptr) std::swap(process.timers, made);
  }
  destroy(made);  // another thread was quicker
  return process.timers;
}

Result<Ref<PosixTimer>> posix_timer(Process& process, s32 id) {
  LockGuard guard(process.lock);
  ProcessTimers* timers = process.timers;
  if (timers == nullptr || id < 0 || static_cast<size_t>(id) >= timers->posix.size()) return Errno::INVAL;
  Ref<PosixTimer> timer = timers->posix[static_cast<size_t>(id)];
  if (!timer) return Errno::INVAL;
  return timer;
}

void drop_posix(Process& process) {
  HeapArray<Ref<PosixTimer>> gone;
  {
    LockGuard guard(process.lock);
    if (process.timers == nullptr) return;
    std::swap(gone, process.timers->posix);
    for (Ref<PosixTimer>& timer : gone) {
      if (timer) timer->disarm_locked();
    }
  }
  for (Ref<PosixTimer>& timer : gone) timer = nullptr;
}

}  // namespace

Result<IntervalSetting> get_interval_timer(Process& process, int which) {
  if (which < 0 || which > 2) return Errno::INVAL;
  if (process.timers == nullptr) return IntervalSetting{};
  IntervalTimer& timer = *process.timers->interval[which];
  u64 now = timer.now();
  LockGuard guard(process.lock);
  return timer.setting_locked(now);
}

Result<IntervalSetting> set_interval_timer(Process& process, int which, const IntervalSetting& setting) {
  if (which < 0 || which > 2) return Errno::INVAL;
  if (process.timers == nullptr && setting.value == 0) return IntervalSetting{};
  IntervalTimer& timer = *TRY(timers_of(process))->interval[which];
  u64 now = timer.now();
  LockGuard guard(process.lock);
  IntervalSetting old = timer.setting_locked(now);
  timer.set_locked(setting, now);
  return old;
}

Result<s32> create_posix_timer(Task& task, int clock, const TimerEvent* event) {
  Process& process = *task.process;
  CpuClock cpu;
  if (is_cpu_clock(clock)) {
    cpu = TRY(find_cpu_clock(task, clock));
  } else {
    TRY(clock_now(clock));  // EINVAL for a clock that is none
  }
  Ref<Task> thread;
  if (event != nullptr) {
    if (event->notify != abi::kSIGEV_NONE && (event->signal < 1 || event->signal > abi::kNSIG))
      return Errno::INVAL;
    if (event->notify == abi::kSIGEV_THREAD_ID) {
      thread = processes().find_task(event->thread_id);
      if (!thread || thread->process != task.process) return Errno::INVAL;
    } else if (event->notify != abi::kSIGEV_SIGNAL && event->notify != abi::kSIGEV_NONE &&
               event->notify != abi::kSIGEV_THREAD) {
      return Errno::INVAL;
    }
  }
  TRY(timers_of(process));
  for (;;) {
    size_t size = 0;
    s32 id = -1;
    {
      LockGuard guard(process.lock);
      size = process.timers->posix.size();
      for (size_t i = 0; i < size && id < 0; i++) {
        if (!process.timers->posix[i]) id = static_cast<s32>(i);
      }
    }
    if (id < 0) {
      constexpr size_t kMost = 4096;
      if (size >= kMost) return Errno::AGAIN;
      auto larger = TRY(HeapArray<Ref<PosixTimer>>::create(size == 0 ? 8 : size * 2));
      LockGuard guard(process.lock);
      if (process.timers->posix.size() == size) {
        for (size_t i = 0; i < size; i++) larger[i] = std::move(process.timers->posix[i]);
        std::swap(process.timers->posix, larger);
      }
      continue;
    }
    Ref<PosixTimer> timer = TRY(make_ref<PosixTimer>(process, id, clock, cpu));
    timer->set_event(event, thread);
    LockGuard guard(process.lock);
    if (process.timers->posix[static_cast<size_t>(id)]) continue;  // another thread took the id
    process.timers->posix[static_cast<size_t>(id)] = std::move(timer);
    return id;
  }
}

void look_at_thread_timers(Task& task) {
  Process& process = *task.process;
  for (size_t i = 0;; i++) {
    Ref<PosixTimer> timer;
    {
      LockGuard guard(process.lock);
      if (process.timers == nullptr) return;
      auto& timers = process.timers->posix;
      while (i < timers.size() && (!timers[i] || timers[i]->clock_thread() != &task)) i++;
      if (i == timers.size()) return;
      timer = timers[i];
    }
    timer->look();
  }
}

Result<void> delete_posix_timer(Process& process, s32 id) {
  Ref<PosixTimer> timer = TRY(posix_timer(process, id));
  Ref<PosixTimer> entry;
  LockGuard guard(process.lock);
  timer->disarm_locked();
  std::swap(entry, process.timers->posix[static_cast<size_t>(id)]);
  guard.unlock();
  return {};
}

Result<IntervalSetting> get_posix_timer(Process& process, s32 id) {
  Ref<PosixTimer> timer = TRY(posix_timer(process, id));
  u64 now = timer->now();
  LockGuard guard(process.lock);
  return timer->setting_locked(now);
}

Result<IntervalSetting> set_posix_timer(Process& process, s32 id, const IntervalSetting& setting,
                                        bool absolute) {
  Ref<PosixTimer> timer = TRY(posix_timer(process, id));
  u64 now = timer->now();
  LockGuard guard(process.lock);
  IntervalSetting old = timer->setting_locked(now);
  timer->set_locked(setting, absolute, now);
  return old;
}

Result<s32> posix_timer_overrun(Process& process, s32 id) {
  Ref<PosixTimer> timer = TRY(posix_timer(process, id));
  LockGuard guard(process.lock);
  return timer->overrun();
}

void watch_cpu_limit(Process& process) {
  {
    LockGuard guard(process.lock);
    const ResourceLimit& limit = process.limits[abi::kRLIMIT_CPU];
    if (limit.soft == kUnlimited && limit.hard == kUnlimited) return;
  }
  auto timers = timers_of(process);
  auto made = make_ref<CpuLimitTimer>(process);
  if (!timers.ok() || !made.ok()) return;  // no memory: the limit is not watched
  Ref<CpuLimitTimer> watcher;
  {
    LockGuard guard(process.lock);
    if (!timers.value()->cpu_limit) timers.value()->cpu_limit = std::move(made).value();
    watcher = timers.value()->cpu_limit;
  }
  watcher->look();
}

void drop_posix_timers(Process& process) {
  drop_posix(process);
}

void drop_all_timers(Process& process) {
  if (process.timers == nullptr) return;
  drop_posix(process);
  ProcessTimers* gone = nullptr;
  {
    LockGuard guard(process.lock);
    std::swap(gone, process.timers);
    if (gone == nullptr) return;
    for (Ref<IntervalTimer>& timer : gone->interval) timer->set_locked({}, 0);
    if (gone->cpu_limit) gone->cpu_limit->cancel();
  }
  destroy(gone);
}

void free_timers(ProcessTimers* timers) {
  destroy(timers);
}

}  // namespace teacup
