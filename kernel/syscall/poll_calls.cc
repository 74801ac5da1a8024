#include "kernel/syscall/poll_calls.h"

#include <algorithm>

#include "fs/epoll.h"
#include "kernel/abi/ipc.h"
#include "kernel/task/process.h"
#include "kernel/task/send_signal.h"
#include "kernel/task/task.h"

namespace teacup {

namespace {

constexpr u32 kReadBits = abi::kPOLLIN | abi::kPOLLRDNORM | abi::kPOLLRDBAND | abi::kPOLLHUP | abi::kPOLLERR;
constexpr u32 kWriteBits = abi::kPOLLOUT | abi::kPOLLWRNORM | abi::kPOLLWRBAND | abi::kPOLLERR;
constexpr u32 kExceptBits = abi::kPOLLPRI;
constexpr u32 kSmall = 16;  // files that are polled without asking the heap for the request itself
constexpr s64 kSecond = 1'000'000'000;

// --- Deadlines.

Result<u64> deadline_after(s64 seconds, s64 nanoseconds) {
  if (seconds < 0 || nanoseconds < 0 || nanoseconds >= kSecond) return Errno::INVAL;
  u64 now = gate::monotonic_now();
  if (static_cast<u64>(seconds) > (kNoDeadline - 1 - now) / kSecond - 1) return kNoDeadline - 1;
  return now + static_cast<u64>(seconds * kSecond + nanoseconds);
}

u64 deadline_after_ms(s32 timeout) {
  if (timeout < 0) return kNoDeadline;
  return gate::monotonic_now() + static_cast<u64>(timeout) * 1'000'000;
}

u64 time_left(u64 deadline) {
  u64 now = gate::monotonic_now();
  return deadline > now ? deadline - now : 0;
}

// An array on the stack while it is short. HeapArray's restrictions apply.
template <typename T>
class ShortArray {
 public:
  Result<std::span<T>> allocate(size_t size) {
    if (size <= kSmall) return std::span<T>(few_, size);
    many_ = TRY(HeapArray<T>::create(size));
    return std::span<T>(many_.data(), size);
  }

 private:
  T few_[kSmall] = {};
  HeapArray<T> many_;
};

// --- Waiting for several files at once.

struct PollRequest {
  s32 fd;
  u32 wanted;  // POLLERR and POLLHUP are always
  u32 got;
  fs::File* file;  // counted
};

class PollSet {
 public:
  PollSet(Task& task, std::span<PollRequest> requests) : task_(task), requests_(requests) {}
  PollSet(const PollSet&) = delete;
  PollSet& operator=(const PollSet&) = delete;
  ~PollSet() {
    stop_listening();
    for (PollRequest& request : requests_) {
      if (request.file != nullptr) request.file->unref();
    }
  }

  void find_files() {
    for (PollRequest& request : requests_) {
      if (request.fd < 0) continue;
      auto file = task_.files->get_io(Fd{request.fd});
      if (file.ok()) request.file = file.value().leak();
    }
  }

  // How many are ready now.
  u32 look() {
    u32 ready = 0;
    for (PollRequest& request : requests_) {
      request.got = 0;
      if (request.file != nullptr) {
        request.got = request.file->poll() & request.wanted;
      } else if (request.fd >= 0) {
        request.got = abi::kPOLLNVAL;
      }
      if (request.got != 0) ready++;
    }
    return ready;
  }

  Result<void> listen() {
    size_t queues = 0;
    for (PollRequest& request : requests_) {
      if (request.file != nullptr && request.file->wait_queue() != nullptr) queues++;
    }
    std::span<WaitEntry> entries = task_.wait_entries;
    if (queues > entries.size()) {
      entries_ = TRY(HeapArray<WaitEntry>::create(queues));
      entries = {entries_.data(), queues};
    }
    for (PollRequest& request : requests_) {
      WaitQueue* queue = request.file != nullptr ? request.file->wait_queue() : nullptr;
      if (queue != nullptr) queue->add(entries[listening_++], request.wanted);
    }
    return {};
  }

  // The number that are ready; 0 at the deadline.
  Result<u32> wait(u64 deadline) {
    find_files();
    u32 ready = look();
    if (ready > 0 || deadline == 0) return ready;
    TRY(listen());
    for (;;) {
      ready = look();
      if (ready > 0) return ready;
      Woken woken = park("poll", deadline);
      if (woken == Woken::kInterrupted) return Errno::RESTARTNOHAND;
      if (woken == Woken::kTimeout) return look();
    }
  }

 private:
  void stop_listening() {
    WaitEntry* entries = entries_.size() > 0 ? entries_.data() : task_.wait_entries;
    for (size_t i = 0; i < listening_; i++) WaitQueue::remove(entries[i]);
    listening_ = 0;
  }

  Task& task_;
  std::span<PollRequest> requests_;
  HeapArray<WaitEntry> entries_;
  size_t listening_ = 0;
};

Result<s32> do_poll(Task& task, GuestInOut<abi::PollFd> files, u32 count, u64 deadline) {
  if (count > task.process->limit(abi::kRLIMIT_NOFILE)) return Errno::INVAL;
  ShortArray<PollRequest> storage;
  std::span<PollRequest> requests = TRY(storage.allocate(count));
  for (u32 i = 0; i < count; i++) {
    abi::PollFd file = TRY(files.at(i));
    requests[i].fd = file.fd;
    requests[i].wanted = static_cast<u16>(file.events) | abi::kPOLLERR | abi::kPOLLHUP;
  }
  PollSet set(task, requests);
  u32 ready = TRY(set.wait(deadline));
  // Written back whether or not anything is ready.
  for (u32 i = 0; i < count; i++) {
    s16 revents = static_cast<s16>(requests[i].got);
    u64 address = files.address() + i * sizeof(abi::PollFd) + offsetof(abi::PollFd, revents);
    TRY(GuestOut<s16>(address).write(revents));
  }
  return static_cast<s32>(ready);
}

Result<void> use_mask(TemporaryMask& temporary, GuestIn<abi::SigSet> mask, size_t size) {
  if (!mask) return {};
  if (size != sizeof(abi::SigSet)) return Errno::INVAL;
  temporary.set(TRY(mask.read()));
  return {};
}

// --- select(2): three sets of bits, each `words` long.
class BitSets {
 public:
  Result<void> read(size_t count, std::array<GuestInOut<u64>, 3> sets) {
    count_ = count;
    words_ = (count + 63) / 64;
    bits_ = TRY(storage_.allocate(words_ * 3));
    sets_ = sets;
    for (size_t i = 0; i < 3; i++) {
      if (sets[i]) TRY(sets[i].read_all(bits_.subspan(i * words_, words_)));
    }
    return {};
  }
  bool has(size_t set, size_t fd) const { return (bits_[set * words_ + fd / 64] >> (fd % 64) & 1) != 0; }
  void remove(size_t set, size_t fd) { bits_[set * words_ + fd / 64] &= ~(u64{1} << (fd % 64)); }
  Result<void> write() {
    for (size_t i = 0; i < 3; i++) {
      std::span<const u64> bits = bits_.subspan(i * words_, words_);
      if (sets_[i]) TRY(sets_[i].out().write_all(bits));
    }
    return {};
  }

 private:
  size_t count_ = 0, words_ = 0;
  ShortArray<u64> storage_;
  std::span<u64> bits_;
  std::array<GuestInOut<u64>, 3> sets_;
};

constexpr u32 kSetBits[3] = {kReadBits, kWriteBits, kExceptBits};

Result<s32> do_select(Task& task, s32 count, std::array<GuestInOut<u64>, 3> sets, u64 deadline) {
  if (count < 0) return Errno::INVAL;
  size_t limit = std::min<size_t>(static_cast<size_t>(count), task.process->limit(abi::kRLIMIT_NOFILE));
  BitSets bits;
  TRY(bits.read(limit, sets));
  u32 watched = 0;
  auto wanted_of = [&](size_t fd) {
    u32 wanted = 0;
    for (size_t set = 0; set < 3; set++) wanted |= bits.has(set, fd) ? kSetBits[set] : 0;
    return wanted;
  };
  for (size_t fd = 0; fd < limit; fd++) watched += wanted_of(fd) != 0 ? 1 : 0;
  ShortArray<PollRequest> storage;
  std::span<PollRequest> requests = TRY(storage.allocate(watched));
  size_t at = 0;
  for (size_t fd = 0; fd < limit; fd++) {
    u32 wanted = wanted_of(fd);
    if (wanted == 0) continue;
    if (!task.files->get_io(Fd{static_cast<s32>(fd)}).ok()) return Errno::BADF;
    requests[at++] = {static_cast<s32>(fd), wanted, 0, nullptr};
  }
  PollSet set(task, requests);
  TRY(set.wait(deadline));
  s32 found = 0;
  for (PollRequest& request : requests) {
    size_t fd = static_cast<size_t>(request.fd);
    for (size_t i = 0; i < 3; i++) {
      if (!bits.has(i, fd)) continue;
      if ((request.got & kSetBits[i]) != 0) {
        found++;
      } else {
        bits.remove(i, fd);
      }
    }
  }
  TRY(bits.write());
  return found;
}

abi::Timespec as_timespec(u64 ns) {
  return {static_cast<s64>(ns / kSecond), static_cast<s64>(ns % kSecond)};
}

// poll(2) after a stop or an ignored signal: the deadline stays what it was.
s64 resume_poll(Task& task, RestartBlock& block) {
  auto result =
      do_poll(task, GuestInOut<abi::PollFd>(block.data[0]), static_cast<u32>(block.data[1]), block.data[2]);
  if (result.is(Errno::RESTARTNOHAND)) return -static_cast<s64>(Errno::RESTART_RESTARTBLOCK);
  return result.ok() ? result.value() : -static_cast<s64>(result.error());
}

}  // namespace

// poll(2). EFAULT, EINTR, EINVAL, ENOMEM.
Result<s32> sys_poll(Task& task, PollFds files, u32 count, s32 timeout_ms) {
  u64 deadline = timeout_ms == 0 ? 0 : deadline_after_ms(timeout_ms);
  auto result = do_poll(task, files, count, deadline);
  if (!result.is(Errno::RESTARTNOHAND)) return result;
  task.restart.resume = &resume_poll;
  task.restart.data[0] = files.address();
  task.restart.data[1] = count;
  task.restart.data[2] = deadline;
  return Errno::RESTART_RESTARTBLOCK;
}

// What is left of the timeout is written back, as Linux's system call does (glibc hides it).
Result<s32> sys_ppoll(Task& task, PollFds files, u32 count, PselectTimeout timeout, SignalSetIn mask,
                      size_t mask_size) {
  u64 deadline = kNoDeadline;
  if (timeout) {
    abi::Timespec time = TRY(timeout.read());
    deadline = TRY(deadline_after(time.tv_sec, time.tv_nsec));
    if (time.tv_sec == 0 && time.tv_nsec == 0) deadline = 0;
  }
  TemporaryMask temporary(task);
  TRY(use_mask(temporary, mask, mask_size));
  auto result = temporary.finish(do_poll(task, files, count, deadline));
  if (timeout) (void)timeout.write(as_timespec(deadline == 0 ? 0 : time_left(deadline)));
  return result;
}

// select(2). EBADF, EINTR, EINVAL, ENOMEM.
Result<s32> sys_select(Task& task, s32 count, FdSet read, FdSet write, FdSet except, SelectTimeout timeout) {
  u64 deadline = kNoDeadline;
  if (timeout) {
    abi::Timeval time = TRY(timeout.read());
    if (time.tv_sec < 0 || time.tv_usec < 0) return Errno::INVAL;
    deadline = TRY(deadline_after(time.tv_sec + time.tv_usec / 1'000'000, time.tv_usec % 1'000'000 * 1000));
    if (time.tv_sec == 0 && time.tv_usec == 0) deadline = 0;
  }
  auto result = do_select(task, count, {read, write, except}, deadline);
  if (timeout) {
    u64 left = deadline == 0 ? 0 : time_left(deadline);
    (void)timeout.write({static_cast<s64>(left / kSecond), static_cast<s64>(left % kSecond / 1000)});
  }
  return result;
}

Result<s32> sys_pselect6(Task& task, s32 count, FdSet read, FdSet write, FdSet except, PselectTimeout timeout,
                         GuestIn<SelectMask> mask) {
  u64 deadline = kNoDeadline;
  if (timeout) {
    abi::Timespec time = TRY(timeout.read());
    deadline = TRY(deadline_after(time.tv_sec, time.tv_nsec));
    if (time.tv_sec == 0 && time.tv_nsec == 0) deadline = 0;
  }
  TemporaryMask temporary(task);
  if (mask) {
    SelectMask given = TRY(mask.read());
    TRY(use_mask(temporary, GuestIn<abi::SigSet>(given.mask), given.size));
  }
  auto result = temporary.finish(do_select(task, count, {read, write, except}, deadline));
  if (timeout) (void)timeout.write(as_timespec(deadline == 0 ? 0 : time_left(deadline)));
  return result;
}

// --- epoll(7).

namespace {

Result<Ref<fs::File>> get_epoll(Task& task, Fd fd) {
  Ref<fs::File> file = TRY(task.files->get_io(fd));
  if (fs::epoll_of(*file) == nullptr) return Errno::INVAL;
  return file;
}

constexpr s32 kMostEvents = 0x7fffffff / static_cast<s32>(sizeof(abi::EpollEvent));

Result<size_t> collect_to_guest(fs::Epoll& epoll, GuestOut<abi::EpollEvent> events, size_t count) {
  // In one helping: a second would give level-triggered events twice. What becomes ready from here on is for
  // the next call.
  count = std::min(count, fs::epoll_ready(epoll));
  if (count == 0) return Errno::AGAIN;
  ShortArray<abi::EpollEvent> storage;
  std::span<abi::EpollEvent> found = TRY(storage.allocate(count));
  size_t size = TRY(fs::epoll_collect(epoll, found));
  TRY(copy_to_guest(events.address(), found.data(), size * sizeof(abi::EpollEvent)));
  return size;
}

Result<s32> do_epoll_wait(Task& task, Fd fd, GuestOut<abi::EpollEvent> events, s32 count, u64 deadline) {
  if (count <= 0 || count > kMostEvents) return Errno::INVAL;
  Ref<fs::File> file = TRY(get_epoll(task, fd));
  fs::Epoll& epoll = *fs::epoll_of(*file);
  auto attempt = [&] { return collect_to_guest(epoll, events, static_cast<size_t>(count)); };
  auto result = attempt();
  if (deadline == 0 || !result.is(Errno::AGAIN)) {
    if (result.is(Errno::AGAIN)) return 0;
    return static_cast<s32>(TRY(std::move(result)));
  }
  // Exclusive waiters: one event wakes one of several threads. Whoever was woken tries before it gives up,
  // so that the event is not lost with it.
  WaitEntry& entry = task.wait_entries[0];
  WaitQueue& queue = *file->wait_queue();
  for (;;) {
    queue.add(entry, abi::kPOLLIN, true);
    auto first = attempt();
    Woken woken = Woken::kNews;
    if (first.is(Errno::AGAIN)) woken = park("epoll_wait", deadline);
    WaitQueue::remove(entry);
    if (!first.is(Errno::AGAIN)) return static_cast<s32>(TRY(std::move(first)));
    auto second = attempt();
    if (!second.is(Errno::AGAIN)) return static_cast<s32>(TRY(std::move(second)));
    if (woken == Woken::kInterrupted) return Errno::INTR;
    if (woken == Woken::kTimeout) return 0;
  }
}

}  // namespace

Result<Fd> sys_epoll_create(Task& task, s32 size) {
  if (size <= 0) return Errno::INVAL;
  return sys_epoll_create1(task, 0);
}

Result<Fd> sys_epoll_create1(Task& task, EpollFlags flags) {
  if ((flags & ~abi::kEPOLL_CLOEXEC) != 0) return Errno::INVAL;
  return task.files->install(TRY(fs::make_epoll()), flags != 0, task.process->limit(abi::kRLIMIT_NOFILE));
}

// epoll_ctl(2). EBADF, EEXIST, EINVAL, ELOOP, ENOENT, ENOMEM, EPERM.
Result<void> sys_epoll_ctl(Task& task, Fd epoll, EpollOperation operation, Fd fd,
                           GuestIn<abi::EpollEvent> event) {
  abi::EpollEvent wanted{};
  if (operation != abi::kEPOLL_CTL_DEL) wanted = TRY(event.read());
  Ref<fs::File> epoll_file = TRY(task.files->get_io(epoll));
  Ref<fs::File> file = TRY(task.files->get_io(fd));
  if (file->wait_queue() == nullptr) return Errno::PERM;
  fs::Epoll* instance = fs::epoll_of(*epoll_file);
  if (instance == nullptr || file == epoll_file) return Errno::INVAL;
  switch (operation) {
    case abi::kEPOLL_CTL_ADD:
      return fs::epoll_add(*instance, *file, fd, wanted);
    case abi::kEPOLL_CTL_MOD:
      return fs::epoll_modify(*instance, *file, fd, wanted);
    case abi::kEPOLL_CTL_DEL:
      return fs::epoll_remove(*instance, *file, fd);
  }
  return Errno::INVAL;
}

Result<s32> sys_epoll_wait(Task& task, Fd epoll, EpollEvents events, s32 count, s32 timeout_ms) {
  return do_epoll_wait(task, epoll, events, count, timeout_ms == 0 ? 0 : deadline_after_ms(timeout_ms));
}

Result<s32> sys_epoll_pwait(Task& task, Fd epoll, EpollEvents events, s32 count, s32 timeout_ms,
                            SignalSetIn mask, size_t mask_size) {
  TemporaryMask temporary(task);
  TRY(use_mask(temporary, mask, mask_size));
  return temporary.finish(sys_epoll_wait(task, epoll, events, count, timeout_ms));
}

Result<s32> sys_epoll_pwait2(Task& task, Fd epoll, EpollEvents events, s32 count,
                             GuestIn<abi::Timespec> timeout, SignalSetIn mask, size_t mask_size) {
  u64 deadline = kNoDeadline;
  if (timeout) {
    abi::Timespec time = TRY(timeout.read());
    deadline = TRY(deadline_after(time.tv_sec, time.tv_nsec));
    if (time.tv_sec == 0 && time.tv_nsec == 0) deadline = 0;
  }
  TemporaryMask temporary(task);
  TRY(use_mask(temporary, mask, mask_size));
  return temporary.finish(do_epoll_wait(task, epoll, events, count, deadline));
}

}  // namespace teacup
