// Reading and writing, read(2) to copy_file_range(2). The blocking loop of files is here: a File says EAGAIN,
// the call waits on its queue, unless the description is nonblocking.
//
// Locks: a shared description's position, around one attempt (never around a wait).
#include "kernel/syscall/fd_calls.h"

#include <algorithm>

#include "fs/vfs.h"
#include "kernel/abi/net.h"
#include "kernel/task/process.h"
#include "kernel/task/send_signal.h"
#include "net/socket.h"

namespace teacup {

namespace {

constexpr size_t kMaxCount = 0x7ffff000;  // MAX_RW_COUNT
constexpr size_t kMaxPieces = 1024;       // UIO_MAXIOV

// A buffer that reaches beyond all user memory is refused as a whole, whatever would come of its start.
Result<void> check_buffer(u64 address, size_t count) {
  if (count > kGuestHighEnd || address > kGuestHighEnd - count) return Errno::FAULT;
  return {};
}
constexpr u32 kReadEvents = abi::kPOLLIN | abi::kPOLLRDNORM | abi::kPOLLHUP | abi::kPOLLERR;
constexpr u32 kWriteEvents = abi::kPOLLOUT | abi::kPOLLWRNORM | abi::kPOLLHUP | abi::kPOLLERR;

// preadv2(2).
constexpr u32 kRwfHighPriority = 1, kRwfDsync = 2, kRwfSync = 4, kRwfNoWait = 8, kRwfAppend = 16;

struct How {
  bool at_position = true;  // else at `offset`
  u64 offset = 0;
  bool append = false;
  bool no_wait = false;
};

// Runs `attempt(position)` on the description's position, which it moves.
template <typename Attempt>
auto with_position(const fs::FdFile& file, Attempt attempt) {
  if (file.exclusive()) return attempt(file->position);
  LockGuard guard(file->position_lock());
  return attempt(file->position);
}

Result<size_t> read_once(const fs::FdFile& file, IoDest& to, const How& how) {
  if (!how.at_position || !file->seekable()) return file->read(to, how.offset);
  return with_position(file, [&](u64& position) -> Result<size_t> {
    size_t count = TRY(file->read(to, position));
    position += count;
    return count;
  });
}

u64 deadline_of(const fs::File& file, bool writing) {
  u64 limit = file.wait_limit(writing);
  return limit == 0 ? kNoDeadline : gate::monotonic_now() + limit;
}

Result<size_t> do_read(const fs::FdFile& file, IoDest& to, const How& how) {
  if (!file->readable()) return Errno::BADF;
  WaitQueue* queue = file->wait_queue();
  if (queue == nullptr || how.no_wait || file->nonblocking()) return read_once(file, to, how);
  return block_on(
      *queue, kReadEvents, "read", [&] { return read_once(file, to, how); }, deadline_of(*file, false));
}

// Who writes to a socket of unix(7) may be named to the receiver.
Result<size_t> write_as(Task& task, net::Socket& socket, IoSource& from) {
  fs::Caller names = task.caller();
  net::Caller caller{names, {task.pid(), task.credentials.euid, task.credentials.egid}};
  net::SendRequest request;
  request.data = &from;
  return socket.send(caller, request);
}

Result<size_t> write_once(Task& task, const fs::FdFile& file, IoSource& from, const How& how) {
  if (net::Socket* socket = net::socket_of(*file); socket != nullptr && socket->family() == abi::kAF_UNIX)
    return write_as(task, *socket, from);
  if (!file->seekable()) return file->write(from, how.offset);
  bool append = how.append || (file->flags() & abi::kO_APPEND) != 0;
  if (!how.at_position) {
    u64 end;
    return how.append ? file->append(from, end) : file->write(from, how.offset);
  }
  return with_position(file, [&](u64& position) -> Result<size_t> {
    if (append) return file->append(from, position);
    size_t count = TRY(file->write(from, position));
    position += count;
    return count;
  });
}

// setrlimit(2), RLIMIT_FSIZE: how much may be written at `offset`; SIGXFSZ and EFBIG for nothing.
Result<size_t> file_size_limit(Task& task, const fs::FdFile& file, const How& how, size_t count) {
  u64 limit = task.process->limit(abi::kRLIMIT_FSIZE);
  if (limit == kUnlimited) return count;
  fs::Inode* inode = file->inode();
  if (inode == nullptr || !inode->is_regular()) return count;
  u64 at = how.at_position ? file->position : how.offset;
  if (how.append || (file->flags() & abi::kO_APPEND) != 0) at = inode->size.load();
  if (at >= limit) {
    (void)send_signal(task, user_signal(abi::kSIGXFSZ));
    return Errno::FBIG;
  }
  return static_cast<size_t>(std::min<u64>(count, limit - at));
}

Result<size_t> do_write(Task& task, const fs::FdFile& file, IoSource& from, const How& how) {
  if (!file->writable()) return Errno::BADF;
  WaitQueue* queue = file->wait_queue();
  Result<size_t> result = [&]() -> Result<size_t> {
    if (queue == nullptr || how.no_wait || file->nonblocking()) return write_once(task, file, from, how);
    // A pipe takes what it has room for: go on until all is written, or as far as it goes.
    size_t done = 0;
    u64 deadline = deadline_of(*file, true);
    do {
      auto part = block_on(
          *queue, kWriteEvents, "write", [&] { return write_once(task, file, from, how); }, deadline);
      if (!part.ok()) {
        if (done > 0) return done;
        return part.error();
      }
      done += part.value();
      if (part.value() == 0) break;
    } while (from.remaining() > 0 && !file->seekable());
    return done;
  }();
  if (result.is(Errno::PIPE)) (void)send_signal(task, user_signal(abi::kSIGPIPE));
  if (result.ok() && result.value() > 0) {
    if (fs::Inode* inode = file->inode();
        inode != nullptr && (inode->mode & (abi::kS_ISUID | abi::kS_ISGID)) != 0) {
      fs::drop_privilege_bits(*inode, task.credentials);
    }
    if ((file->flags() & (abi::kO_SYNC | abi::kO_DSYNC)) != 0) TRY(file->sync());
  }
  return result;
}

// iovec arrays: short ones on the stack.
class Pieces {
 public:
  Result<void> read(GuestIn<abi::IoVec> from, size_t count) {
    if (count > kMaxPieces) return Errno::INVAL;
    count_ = count;
    if (count > kInline) {
      array_ = TRY(HeapArray<abi::IoVec>::create(count));
      pieces_ = array_.data();
    }
    TRY(from.read_all({pieces_, count}));
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
      if (pieces_[i].length > ~size_t{0} >> 1) return Errno::INVAL;
      pieces_[i].length = std::min<u64>(pieces_[i].length, kMaxCount - total);
      total += pieces_[i].length;
    }
    return {};
  }
  const abi::IoVec* data() const { return pieces_; }
  size_t count() const { return count_; }
  // No more than `limit` bytes in all.
  void cut(size_t limit) {
    for (size_t i = 0; i < count_; i++) {
      pieces_[i].length = std::min<u64>(pieces_[i].length, limit);
      limit -= pieces_[i].length;
    }
  }
  size_t total() const {
    size_t sum = 0;
    for (size_t i = 0; i < count_; i++) sum += pieces_[i].length;
    return sum;
  }

 private:
  static constexpr size_t kInline = 8;
  abi::IoVec inline_[kInline];
  HeapArray<abi::IoVec> array_;
  abi::IoVec* pieces_ = inline_;
  size_t count_ = 0;
};

Result<How> at_offset(const fs::FdFile& file, s64 offset) {
  if (offset < 0) return Errno::INVAL;
  if (!file->seekable()) return Errno::SPIPE;
  How how;
  how.at_position = false;
  how.offset = static_cast<u64>(offset);
  return how;
}

Result<size_t> readv_with(const fs::FdFile& file, GuestIn<abi::IoVec> vector, size_t count, const How& how) {
  if (!file->readable()) return Errno::BADF;
  Pieces pieces;
  TRY(pieces.read(vector, count));
  IoDest to(pieces.data(), pieces.count());
  return do_read(file, to, how);
}

Result<size_t> writev_with(Task& task, const fs::FdFile& file, GuestIn<abi::IoVec> vector, size_t count,
                           const How& how) {
  if (!file->writable()) return Errno::BADF;
  Pieces pieces;
  TRY(pieces.read(vector, count));
  size_t total = pieces.total();
  size_t allowed = TRY(file_size_limit(task, file, how, total));
  if (allowed < total) pieces.cut(allowed);
  IoSource from(pieces.data(), pieces.count());
  return do_write(task, file, from, how);
}

}  // namespace

// read(2).
Result<size_t> sys_read(Task& task, Fd fd, GuestOut<std::byte> buffer, size_t count) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  TRY(check_buffer(buffer.address(), count));
  IoDest to(buffer.address(), std::min(count, kMaxCount));
  return do_read(file, to, How{});
}

// write(2).
Result<size_t> sys_write(Task& task, Fd fd, GuestIn<std::byte> buffer, size_t count) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  if (!file->writable()) return Errno::BADF;
  TRY(check_buffer(buffer.address(), count));
  count = TRY(file_size_limit(task, file, How{}, std::min(count, kMaxCount)));
  IoSource from(buffer.address(), count);
  return do_write(task, file, from, How{});
}

// pread(2).
Result<size_t> sys_pread64(Task& task, Fd fd, GuestOut<std::byte> buffer, size_t count, s64 offset) {
  if (offset < 0) return Errno::INVAL;
  fs::FdFile file = TRY(task.files->use_io(fd));
  How how = TRY(at_offset(file, offset));
  TRY(check_buffer(buffer.address(), count));
  IoDest to(buffer.address(), std::min(count, kMaxCount));
  return do_read(file, to, how);
}

Result<size_t> sys_pwrite64(Task& task, Fd fd, GuestIn<std::byte> buffer, size_t count, s64 offset) {
  if (offset < 0) return Errno::INVAL;
  fs::FdFile file = TRY(task.files->use_io(fd));
  How how = TRY(at_offset(file, offset));
  if (!file->writable()) return Errno::BADF;
  TRY(check_buffer(buffer.address(), count));
  count = TRY(file_size_limit(task, file, how, std::min(count, kMaxCount)));
  IoSource from(buffer.address(), count);
  return do_write(task, file, from, how);
}

// readv(2).
Result<size_t> sys_readv(Task& task, Fd fd, IovecsOut pieces, size_t count) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  return readv_with(file, pieces, count, How{});
}

Result<size_t> sys_writev(Task& task, Fd fd, GuestIn<abi::IoVec> pieces, size_t count) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  return writev_with(task, file, pieces, count, How{});
}

Result<size_t> sys_preadv(Task& task, Fd fd, IovecsOut pieces, size_t count, s64 offset) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  How how = TRY(at_offset(file, offset));
  return readv_with(file, pieces, count, how);
}

Result<size_t> sys_pwritev(Task& task, Fd fd, GuestIn<abi::IoVec> pieces, size_t count, s64 offset) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  How how = TRY(at_offset(file, offset));
  return writev_with(task, file, pieces, count, how);
}

namespace {

Result<How> how_of(const fs::FdFile& file, s64 offset, u32 flags, u32 allowed) {
  if ((flags & ~allowed) != 0) return Errno::NOTSUP;
  How how;
  if (offset != -1) how = TRY(at_offset(file, offset));
  how.append = (flags & kRwfAppend) != 0;
  how.no_wait = (flags & kRwfNoWait) != 0;
  return how;
}

}  // namespace

// preadv2(2). An offset of -1 is the file's position. The upper half of the offset counts on 32 bits only.
Result<size_t> sys_preadv2(Task& task, Fd fd, IovecsOut pieces, size_t count, s64 offset, u64, u32 flags) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  How how = TRY(how_of(file, offset, flags, kRwfHighPriority | kRwfDsync | kRwfSync | kRwfNoWait));
  return readv_with(file, pieces, count, how);
}

Result<size_t> sys_pwritev2(Task& task, Fd fd, GuestIn<abi::IoVec> pieces, size_t count, s64 offset, u64,
                            u32 flags) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  How how =
      TRY(how_of(file, offset, flags, kRwfHighPriority | kRwfDsync | kRwfSync | kRwfNoWait | kRwfAppend));
  size_t written = TRY(writev_with(task, file, pieces, count, how));
  if ((flags & (kRwfDsync | kRwfSync)) != 0) TRY(file->sync());
  return written;
}

// --- From one file to another, through a buffer of the kernel's.

namespace {

constexpr size_t kChunk = 60 * KiB;  // with its header, a slab of the heap

// Copies up to `count` bytes. What could not be written is not counted as read.
Result<size_t> copy_between(Task& task, const fs::FdFile& in, How from, const fs::FdFile& out, How to,
                            size_t count, bool regular_only) {
  auto buffer = TRY(HeapArray<std::byte>::create(std::min(count, kChunk)));
  size_t done = 0;
  u64 start = from.at_position ? in->position : from.offset;
  while (done < count) {
    How at;
    at.at_position = false;
    at.offset = start + done;
    size_t wanted = std::min(buffer.size(), count - done);
    IoDest dest(std::span<std::byte>(buffer.data(), wanted));
    auto got = do_read(in, dest, at);
    if (!got.ok()) {
      if (done > 0) break;
      return got.error();
    }
    if (got.value() == 0) break;
    size_t written = 0;
    while (written < got.value()) {
      size_t allowed = got.value() - written;
      IoSource source(std::span<const std::byte>(buffer.data() + written, allowed));
      How target = to;
      if (!to.at_position) target.offset = to.offset + done + written;
      auto put = do_write(task, out, source, target);
      if (!put.ok()) {
        if (done + written > 0) {
          done += written;
          goto finished;
        }
        return put.error();
      }
      if (put.value() == 0) break;
      written += put.value();
      if (out->nonblocking() && put.value() < allowed) break;
    }
    done += written;
    if (written < got.value()) break;
    if (got.value() < wanted && !regular_only) break;
  }
finished:
  if (from.at_position) {
    with_position(in, [&](u64& position) { return position = start + done; });
  }
  return done;
}

}  // namespace

// sendfile(2): EINVAL if `in` cannot be read at an offset, or `out` appends.
Result<size_t> sys_sendfile(Task& task, Fd out_fd, Fd in_fd, OptionalOffset offset, size_t count) {
  fs::FdFile in = TRY(task.files->use_io(in_fd));
  if (!in->readable()) return Errno::BADF;
  How from;
  if (offset) {
    s64 value = TRY(offset.read());
    if (!in->seekable()) return Errno::SPIPE;
    if (value < 0) return Errno::INVAL;
    from.at_position = false;
    from.offset = static_cast<u64>(value);
  }
  fs::FdFile out = TRY(task.files->use_io(out_fd));
  if (!out->writable()) return Errno::BADF;
  if (!in->seekable()) return Errno::INVAL;
  if (fs::Inode* inode = in->inode(); inode != nullptr && inode->is_directory()) return Errno::INVAL;
  if ((out->flags() & abi::kO_APPEND) != 0) return Errno::INVAL;
  size_t done = TRY(copy_between(task, in, from, out, How{}, std::min(count, kMaxCount), false));
  if (offset) TRY(offset.write(static_cast<s64>(from.offset + done)));
  return done;
}

// copy_file_range(2).
Result<size_t> sys_copy_file_range(Task& task, Fd in_fd, OptionalOffset in_offset, Fd out_fd,
                                   OptionalOffset out_offset, size_t count, u32 flags) {
  if (flags != 0) return Errno::INVAL;
  fs::FdFile in = TRY(task.files->use_io(in_fd));
  fs::FdFile out = TRY(task.files->use_io(out_fd));
  fs::Inode* in_inode = in->inode();
  fs::Inode* out_inode = out->inode();
  if (in_inode != nullptr && in_inode->is_directory()) return Errno::ISDIR;
  if (out_inode != nullptr && out_inode->is_directory()) return Errno::ISDIR;
  if (in_inode == nullptr || out_inode == nullptr || !in_inode->is_regular() || !out_inode->is_regular()) {
    return Errno::INVAL;
  }
  if (!in->readable() || !out->writable() || (out->flags() & abi::kO_APPEND) != 0) return Errno::BADF;
  How from, to;
  if (in_offset) {
    from.at_position = false;
    from.offset = static_cast<u64>(TRY(in_offset.read()));
  }
  if (out_offset) {
    to.at_position = false;
    to.offset = static_cast<u64>(TRY(out_offset.read()));
  }
  u64 start = from.at_position ? in->position : from.offset;
  u64 target = to.at_position ? out->position : to.offset;
  constexpr u64 kLargest = ~u64{0} >> 1;
  // Linux lets a range end anywhere below 2^64; so callers may ask for all there is.
  if (start + count < start || target + count < target) return Errno::OVERFLOW;
  if (start > kLargest || target > kLargest) return Errno::INVAL;
  count = std::min(count, kMaxCount);
  u64 size = in_inode->size.load();
  count = start >= size ? 0 : static_cast<size_t>(std::min<u64>(count, size - start));
  if (in_inode == out_inode && start < target + count && target < start + count) return Errno::INVAL;
  if (count == 0) return size_t{0};
  size_t allowed = TRY(file_size_limit(task, out, to, count));
  size_t done = TRY(copy_between(task, in, from, out, to, allowed, true));
  if (in_offset) TRY(in_offset.write(static_cast<s64>(start + done)));
  if (out_offset) TRY(out_offset.write(static_cast<s64>(target + done)));
  return done;
}

}  // namespace teacup
