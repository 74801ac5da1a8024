#include "kernel/syscall/pipe_calls.h"
#include "kernel/task/process_memory.h"

#include <algorithm>

#include "fs/eventfd.h"
#include "fs/inotify.h"
#include "fs/pipe.h"
#include "fs/vfs.h"
#include "kernel/abi/mm.h"
#include "kernel/abi/process.h"
#include "kernel/pseudo/event_files.h"
#include "kernel/task/processes.h"
#include "kernel/task/send_signal.h"

namespace teacup {

namespace {

u64 descriptor_limit(Task& task) {
  return task.process->limit(abi::kRLIMIT_NOFILE);
}

Result<Fd> install(Task& task, Ref<fs::File> file, bool cloexec) {
  return task.files->install(std::move(file), cloexec, descriptor_limit(task));
}

}  // namespace

// pipe2(2). EFAULT, EINVAL, EMFILE.
Result<void> sys_pipe2(Task& task, DescriptorPair ends, DescriptorFlags flags) {
  if ((flags & ~static_cast<u32>(abi::kO_CLOEXEC | abi::kO_DIRECT | abi::kO_NONBLOCK)) != 0)
    return Errno::INVAL;
  bool cloexec = (flags & abi::kO_CLOEXEC) != 0;
  fs::PipeEnds pipe = TRY(fs::make_pipe(flags));
  Fd read = TRY(install(task, std::move(pipe.read), cloexec));
  auto write = install(task, std::move(pipe.write), cloexec);
  if (!write.ok()) {
    (void)task.files->close(read);
    return write.error();
  }
  s32 numbers[2] = {read.value, write.value().value};
  auto written = copy_to_guest(ends.address(), numbers, sizeof numbers);
  if (!written.ok()) {
    (void)task.files->close(read);
    (void)task.files->close(write.value());
  }
  return written;
}

Result<void> sys_pipe(Task& task, DescriptorPair ends) {
  return sys_pipe2(task, ends, 0);
}

// --- splice(2) and its kin. Bytes go through a buffer in the heap: a pipe holds bytes, not pages.

namespace {

constexpr size_t kChunk = 64 * KiB - 64;  // with its header, a slab of the heap
constexpr u32 kSpliceFlags =
    abi::kSPLICE_F_MOVE | abi::kSPLICE_F_NONBLOCK | abi::kSPLICE_F_MORE | abi::kSPLICE_F_GIFT;

// Waits on `file` for `events` while `attempt` says EAGAIN, unless told not to.
template <typename Attempt>
auto wait_for(fs::File& file, u32 events, bool nonblocking, Attempt attempt) -> decltype(attempt()) {
  if (nonblocking || file.wait_queue() == nullptr) return attempt();
  return block_on(*file.wait_queue(), events, "splice", attempt);
}

Result<size_t> fail_with_sigpipe(Task& task) {
  (void)send_signal(task, user_signal(abi::kSIGPIPE));
  return Errno::PIPE;
}

// One side of a splice that is not a pipe: its offset is the caller's, or the file's own.
class Place {
 public:
  Place(fs::File& file, bool given, u64 offset) : file_(file), given_(given), offset_(offset) {}
  u64 offset() const { return offset_; }

  Result<size_t> read(std::span<std::byte> into) {
    IoDest to(into);
    return at_position([&](u64 offset) { return file_.read(to, offset); });
  }
  Result<size_t> write(std::span<const std::byte> data) {
    IoSource from(data);
    return at_position([&](u64 offset) { return file_.write(from, offset); });
  }

 private:
  template <typename Move>
  Result<size_t> at_position(Move move) {
    if (given_ || !file_.seekable()) {
      size_t moved = TRY(move(offset_));
      offset_ += moved;
      return moved;
    }
    LockGuard guard(file_.position_lock());
    size_t moved = TRY(move(file_.position));
    file_.position += moved;
    return moved;
  }

  fs::File& file_;
  bool given_;
  u64 offset_;
};

// Both loops move chunk after chunk until `size` is done or, once something has been moved, the source or
// the target is not ready.
Result<size_t> splice_out(Task& task, fs::File& pipe_file, fs::File& target, Place& place, size_t size,
                          bool nonblocking) {
  fs::Pipe& pipe = *fs::pipe_of(pipe_file);
  auto buffer = TRY(HeapArray<std::byte>::create(std::min(size, kChunk)));
  size_t done = 0;
  while (done < size) {
    std::span<std::byte> chunk(buffer.data(), std::min(size - done, buffer.size()));
    auto peeked =
        wait_for(pipe_file, abi::kPOLLIN, nonblocking || done > 0, [&] { return pipe.peek(chunk); });
    if (!peeked.ok() && done == 0) return peeked.error();
    if (!peeked.ok() || peeked.value() == 0) break;
    chunk = chunk.first(peeked.value());
    auto written = place.write(chunk);
    pipe.end_peek(written.value_or(0));
    if (written.is(Errno::AGAIN) && done == 0 && !nonblocking && !target.nonblocking() &&
        target.wait_queue() != nullptr) {
      auto ready = block_on(*target.wait_queue(), abi::kPOLLOUT, "splice", [&]() -> Result<void> {
        if ((target.poll() & (abi::kPOLLOUT | abi::kPOLLERR | abi::kPOLLHUP)) == 0) return Errno::AGAIN;
        return {};
      });
      if (!ready.ok()) return ready.error();
      continue;
    }
    if (written.is(Errno::PIPE) && done == 0) return fail_with_sigpipe(task);
    if (!written.ok() && done == 0) return written.error();
    if (!written.ok()) break;
    done += written.value();
    if (written.value() < chunk.size()) break;
  }
  return done;
}

Result<size_t> splice_in(Task& task, fs::File& pipe_file, fs::File& source, Place& place, size_t size,
                         bool nonblocking) {
  fs::Pipe& pipe = *fs::pipe_of(pipe_file);
  auto buffer = TRY(HeapArray<std::byte>::create(std::min(size, kChunk)));
  size_t done = 0;
  while (done < size) {
    size_t wanted = std::min(size - done, buffer.size());
    auto reserved =
        wait_for(pipe_file, abi::kPOLLOUT, nonblocking || done > 0, [&] { return pipe.begin_fill(wanted); });
    if (reserved.is(Errno::PIPE) && done == 0) return fail_with_sigpipe(task);
    if (!reserved.ok() && done == 0) return reserved.error();
    if (!reserved.ok()) break;
    std::span<std::byte> chunk(buffer.data(), reserved.value());
    auto got = place.read(chunk);
    pipe.end_fill(chunk.first(got.value_or(0)), chunk.size());
    if (got.is(Errno::AGAIN) && done == 0 && !nonblocking && !source.nonblocking() &&
        source.wait_queue() != nullptr) {
      auto ready = block_on(*source.wait_queue(), abi::kPOLLIN, "splice", [&]() -> Result<void> {
        if ((source.poll() & (abi::kPOLLIN | abi::kPOLLERR | abi::kPOLLHUP)) == 0) return Errno::AGAIN;
        return {};
      });
      if (!ready.ok()) return ready.error();
      continue;
    }
    if (!got.ok() && done == 0) return got.error();
    if (!got.ok() || got.value() == 0) break;
    done += got.value();
    if (got.value() < chunk.size()) break;
  }
  return done;
}

// Between pipes; tee(2) does not consume.
Result<size_t> pipe_to_pipe(Task& task, fs::File& in, fs::File& out, size_t size, bool nonblocking,
                            bool consume) {
  fs::Pipe& source = *fs::pipe_of(in);
  fs::Pipe& target = *fs::pipe_of(out);
  auto buffer = TRY(HeapArray<std::byte>::create(std::min(size, kChunk)));
  for (;;) {
    std::span<std::byte> chunk(buffer.data(), buffer.size());
    size_t available = TRY(wait_for(in, abi::kPOLLIN, nonblocking, [&] { return source.peek(chunk); }));
    if (available == 0) return size_t{0};
    auto reserved = target.begin_fill(available);
    size_t moved = reserved.value_or(0);
    if (reserved.ok()) target.end_fill(chunk.first(moved), moved);
    source.end_peek(consume ? moved : 0);
    if (reserved.is(Errno::PIPE)) return fail_with_sigpipe(task);
    if (reserved.ok()) return moved;
    if (!reserved.is(Errno::AGAIN) || nonblocking) return reserved.error();
    auto ready = block_on(target.queue(), abi::kPOLLOUT, "splice", [&]() -> Result<void> {
      if ((out.poll() & (abi::kPOLLOUT | abi::kPOLLERR)) == 0) return Errno::AGAIN;
      return {};
    });
    if (!ready.ok()) return ready.error();
  }
}

}  // namespace

// splice(2). EAGAIN, EBADF, EINVAL, ENOMEM, ESPIPE.
Result<size_t> sys_splice(Task& task, Fd in, OptionalOffset in_offset, Fd out, OptionalOffset out_offset,
                          size_t size, SpliceFlags flags) {
  if ((flags & ~kSpliceFlags) != 0) return Errno::INVAL;
  if (size == 0) return size_t{0};
  Ref<fs::File> from = TRY(task.files->get_io(in));
  Ref<fs::File> to = TRY(task.files->get_io(out));
  if (!from->readable() || !to->writable()) return Errno::BADF;
  fs::Pipe* source = fs::pipe_of(*from);
  fs::Pipe* target = fs::pipe_of(*to);
  if (source == nullptr && target == nullptr) return Errno::INVAL;
  if ((source != nullptr && in_offset) || (target != nullptr && out_offset)) return Errno::SPIPE;
  bool nonblocking = (flags & abi::kSPLICE_F_NONBLOCK) != 0;
  if (source != nullptr && target != nullptr) {
    if (source == target) return Errno::INVAL;
    return pipe_to_pipe(task, *from, *to, size, nonblocking || from->nonblocking() || to->nonblocking(),
                        true);
  }
  fs::File& file = source != nullptr ? *to : *from;
  GuestInOut<s64> offset_word = source != nullptr ? out_offset : in_offset;
  s64 offset = 0;
  if (offset_word) {
    if (!file.seekable()) return Errno::SPIPE;
    offset = TRY(offset_word.read());
    if (offset < 0) return Errno::INVAL;
  }
  if (source != nullptr && (to->flags() & abi::kO_APPEND) != 0) return Errno::INVAL;
  Place place(file, static_cast<bool>(offset_word), static_cast<u64>(offset));
  size_t moved = source != nullptr
                     ? TRY(splice_out(task, *from, *to, place, size, nonblocking || from->nonblocking()))
                     : TRY(splice_in(task, *to, *from, place, size, nonblocking || to->nonblocking()));
  if (offset_word) TRY(offset_word.write(static_cast<s64>(place.offset())));
  return moved;
}

// tee(2). EAGAIN, EINVAL, ENOMEM.
Result<size_t> sys_tee(Task& task, Fd in, Fd out, size_t size, SpliceFlags flags) {
  if ((flags & ~kSpliceFlags) != 0) return Errno::INVAL;
  if (size == 0) return size_t{0};
  Ref<fs::File> from = TRY(task.files->get_io(in));
  Ref<fs::File> to = TRY(task.files->get_io(out));
  if (!from->readable() || !to->writable()) return Errno::BADF;
  fs::Pipe* source = fs::pipe_of(*from);
  fs::Pipe* target = fs::pipe_of(*to);
  if (source == nullptr || target == nullptr || source == target) return Errno::INVAL;
  bool nonblocking = (flags & abi::kSPLICE_F_NONBLOCK) != 0 || from->nonblocking() || to->nonblocking();
  return pipe_to_pipe(task, *from, *to, size, nonblocking, false);
}

// vmsplice(2): a gather-write or a scatter-read. Differs from Linux: the pages are copied, never shared.
Result<size_t> sys_vmsplice(Task& task, Fd fd, GuestIn<abi::IoVec> pieces, size_t count, SpliceFlags flags) {
  constexpr size_t kMostPieces = 1024;
  if ((flags & ~kSpliceFlags) != 0 || count > kMostPieces) return Errno::INVAL;
  Ref<fs::File> file = TRY(task.files->get_io(fd));
  fs::Pipe* pipe = fs::pipe_of(*file);
  if (pipe == nullptr) return Errno::BADF;
  if (count == 0) return size_t{0};
  auto vector = TRY(HeapArray<abi::IoVec>::create(count));
  TRY(pieces.read_all({vector.data(), count}));
  bool nonblocking = (flags & abi::kSPLICE_F_NONBLOCK) != 0 || file->nonblocking();
  if (!file->writable()) {
    IoDest to(vector.data(), count);
    return wait_for(*file, abi::kPOLLIN, nonblocking, [&] { return pipe->read(to); });
  }
  IoSource from(vector.data(), count);
  while (from.remaining() > 0) {
    auto written = wait_for(*file, abi::kPOLLOUT, nonblocking, [&] { return pipe->write(from, false); });
    if (written.ok()) continue;
    if (from.done() > 0) break;
    if (written.is(Errno::PIPE)) return fail_with_sigpipe(task);
    return written.error();
  }
  return from.done();
}

// --- Event files.

Result<Fd> sys_eventfd2(Task& task, u32 initial, EventfdFlags flags) {
  return install(task, TRY(fs::make_eventfd(initial, flags)), (flags & abi::kEFD_CLOEXEC) != 0);
}

Result<Fd> sys_eventfd(Task& task, u32 initial) {
  return sys_eventfd2(task, initial, 0);
}

Result<Fd> sys_timerfd_create(Task& task, ClockId clock, TimerfdFlags flags) {
  return install(task, TRY(pseudo::make_timerfd(clock, flags)), (flags & abi::kTFD_CLOEXEC) != 0);
}

Result<void> sys_timerfd_settime(Task& task, Fd fd, TimerfdSetFlags flags, GuestIn<abi::ITimerspec> value,
                                 GuestOut<abi::ITimerspec> old) {
  abi::ITimerspec wanted = TRY(value.read());
  Ref<fs::File> file = TRY(task.files->get_io(fd));
  abi::ITimerspec before;
  TRY(pseudo::timerfd_set(*file, flags, wanted, &before));
  if (old) TRY(old.write(before));
  return {};
}

Result<void> sys_timerfd_gettime(Task& task, Fd fd, GuestOut<abi::ITimerspec> value) {
  Ref<fs::File> file = TRY(task.files->get_io(fd));
  return value.write(TRY(pseudo::timerfd_get(*file)));
}

Result<Fd> sys_signalfd4(Task& task, Fd fd, SignalSetIn mask, size_t mask_size, SignalfdFlags flags) {
  if (mask_size != sizeof(abi::SigSet)) return Errno::INVAL;
  abi::SigSet wanted = TRY(mask.read());
  if (fd.value == -1)
    return install(task, TRY(pseudo::make_signalfd(wanted, flags)), (flags & abi::kSFD_CLOEXEC) != 0);
  if ((flags & ~(abi::kSFD_NONBLOCK | abi::kSFD_CLOEXEC)) != 0) return Errno::INVAL;
  Ref<fs::File> file = TRY(task.files->get_io(fd));
  TRY(pseudo::signalfd_set_mask(*file, wanted));
  return fd;
}

Result<Fd> sys_signalfd(Task& task, Fd fd, SignalSetIn mask, size_t mask_size) {
  return sys_signalfd4(task, fd, mask, mask_size, 0);
}

// --- pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2).

Result<Fd> sys_pidfd_open(Task& task, s32 pid, PidfdFlags flags) {
  if (pid <= 0 || (flags & ~abi::kPIDFD_NONBLOCK) != 0) return Errno::INVAL;
  Ref<Process> process = processes().find_process(pid);
  if (!process) return processes().find_task(pid) ? Errno::INVAL : Errno::SRCH;
  return install(task, TRY(pseudo::make_pidfd(std::move(process), flags)), true);
}

Result<void> sys_pidfd_send_signal(Task& task, Fd fd, Signal signal, GuestIn<abi::SigInfo> info, u32 flags) {
  if (flags != 0 || signal < 0 || signal > abi::kNSIG) return Errno::INVAL;
  Ref<fs::File> file = TRY(task.files->get(fd));
  Ref<Process> by_directory;
  Process* process = pseudo::process_of_pidfd(*file);
  if (process == nullptr) {
    by_directory = TRY(pseudo::process_of_directory(*file));
    process = by_directory.get();
  }
  abi::SigInfo given = user_signal(signal);
  if (info) {
    given = TRY(info.read());
    if (given.signo != signal) return Errno::INVAL;
    bool forged = given.code >= 0 || given.code == abi::kSI_TKILL;
    if (forged && process->pid != task.pid()) return Errno::PERM;
  }
  if (process->reaped) return Errno::SRCH;
  if (!may_signal(task, *process, signal)) return Errno::PERM;
  if (signal == 0) return {};
  return send_signal(*process, given);
}

Result<Fd> sys_pidfd_getfd(Task& task, Fd fd, Fd target, u32 flags) {
  if (flags != 0) return Errno::INVAL;
  Ref<fs::File> file = TRY(task.files->get(fd));
  Process* process = pseudo::process_of_pidfd(*file);
  if (process == nullptr) return Errno::BADF;
  Ref<Task> other = processes().next_task(*process, 0);
  if (!other) return Errno::SRCH;
  TRY(check_may_trace(task, *other));
  Ref<fs::FdTable> files = files_of(*other);
  if (!files) return Errno::SRCH;
  return install(task, TRY(files->get(target)), true);
}

// --- inotify(7).

Result<Fd> sys_inotify_init1(Task& task, InotifyFlags flags) {
  if ((flags & ~static_cast<u32>(abi::kIN_NONBLOCK | abi::kIN_CLOEXEC)) != 0) return Errno::INVAL;
  return install(task, TRY(fs::make_inotify(flags)), (flags & abi::kIN_CLOEXEC) != 0);
}

Result<Fd> sys_inotify_init(Task& task) {
  return sys_inotify_init1(task, 0);
}

// EACCES, EBADF, EEXIST, EFAULT, EINVAL, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR.
Result<s32> sys_inotify_add_watch(Task& task, Fd fd, GuestString path, InotifyMask mask) {
  Ref<fs::File> file = TRY(task.files->get_io(fd));
  char storage[4096];
  std::string_view name = TRY(path.read(storage));
  u32 flags = (mask & abi::kIN_DONT_FOLLOW) != 0 ? 0 : u32{fs::kFollow};
  if ((mask & abi::kIN_ONLYDIR) != 0) flags |= fs::kDirectory;
  fs::Caller caller = task.caller();
  fs::Path found = TRY(fs::resolve(caller, nullptr, name, flags));
  TRY(fs::check_access(found.inode(), task.credentials, fs::kMayRead));
  return fs::inotify_add(*file, found, mask);
}

Result<void> sys_inotify_rm_watch(Task& task, Fd fd, s32 watch) {
  Ref<fs::File> file = TRY(task.files->get_io(fd));
  return fs::inotify_remove(*file, watch);
}

// memfd_create(2): a file of the machine's internal memory file system.
Result<Fd> sys_memfd_create(Task& task, GuestString name, MemfdFlags flags) {
  constexpr u32 kKnown = abi::kMFD_CLOEXEC | abi::kMFD_ALLOW_SEALING | abi::kMFD_HUGETLB;
  constexpr size_t kLongestName = 249;  // NAME_MAX without "memfd:"
  if ((flags & ~kKnown) != 0) return Errno::INVAL;
  if ((flags & abi::kMFD_HUGETLB) != 0) return Errno::NOSYS;
  char buffer[6 + kLongestName + 1];
  TextBuffer prefix(buffer);
  prefix.add("memfd:");
  auto given = name.read(std::span(buffer).subspan(6));
  if (given.is(Errno::NAMETOOLONG)) return Errno::INVAL;
  size_t length = TRY(std::move(given)).size();
  Ref<fs::File> file = TRY(fs::open_unnamed({buffer, 6 + length}, abi::kO_RDWR));
  if ((flags & abi::kMFD_ALLOW_SEALING) != 0) file->inode()->seals.store(0);
  return install(task, std::move(file), (flags & abi::kMFD_CLOEXEC) != 0);
}

}  // namespace teacup
