// The ends of pipes and FIFOs, as files.
#include <algorithm>

#include "fs/inode.h"
#include "fs/pipe.h"
#include "kernel/abi/tty.h"

namespace teacup::fs {

namespace {

class PipeFile final : public File {
 public:
  PipeFile(Ref<Pipe> pipe, Ref<Inode> inode, u32 flags)
      : File(flags), pipe_(std::move(pipe)), inode_(std::move(inode)) {
    writer_opens_seen_ = inode_ ? pipe_->writer_opens() : pipe_->writer_opens() - 1;
    pipe_->add_end(readable(), writable());
  }
  ~PipeFile() override { pipe_->drop_end(readable(), writable()); }

  FileKind kind() const override { return FileKind::kPipe; }
  Pipe& pipe() { return *pipe_; }

  Result<size_t> read(IoDest& to, u64) override { return pipe_->read(to); }
  Result<size_t> write(IoSource& from, u64) override {
    return pipe_->write(from, (flags() & abi::kO_DIRECT) != 0);
  }
  u32 poll() override { return pipe_->readiness(readable(), writable(), writer_opens_seen_); }
  WaitQueue* wait_queue() override { return &pipe_->queue(); }
  Inode* inode() override { return inode_.get(); }

  Result<s64> ioctl(u32 command, GuestAddress argument) override {
    if (command != abi::kFIONREAD) return Errno::NOTTY;
    TRY(GuestOut<s32>(argument.value).write(static_cast<s32>(pipe_->available())));
    return 0;
  }

  Result<s64> control(int command, u64 argument) override {
    if (command == abi::kF_GETPIPE_SZ) return static_cast<s64>(pipe_->capacity());
    if (command != abi::kF_SETPIPE_SZ) return Errno::INVAL;
    return static_cast<s64>(TRY(pipe_->resize(static_cast<u32>(argument), false)));
  }

  Result<void> stat(abi::Stat& stat) override {
    if (inode_) return File::stat(stat);
    stat = {};
    stat.dev = kAnonymousDevice;
    stat.ino = pipe_->number();
    stat.nlink = 1;
    stat.mode = abi::kS_IFIFO | 0600;
    stat.blksize = kPageSize;
    s64 seconds = static_cast<s64>(pipe_->created() / 1'000'000'000);
    s64 rest = static_cast<s64>(pipe_->created() % 1'000'000'000);
    stat.atime = stat.mtime = stat.ctime = seconds;
    stat.atime_nsec = stat.mtime_nsec = stat.ctime_nsec = rest;
    return {};
  }

  void describe(TextBuffer& text) override { text.add("pipe:[").udec(pipe_->number()).add(']'); }

 private:
  static constexpr u64 kAnonymousDevice = 14;

  Ref<Pipe> pipe_;
  Ref<Inode> inode_;
  u32 writer_opens_seen_;  // POLLHUP is for those who have seen a writer go
};

constexpr u32 kKeptFlags = abi::kO_ACCMODE | abi::kO_NONBLOCK | abi::kO_DIRECT | abi::kO_APPEND;

}  // namespace

Result<PipeEnds> make_pipe(u32 flags) {
  Ref<Pipe> pipe = TRY(Pipe::create());
  u32 kept = flags & (abi::kO_NONBLOCK | abi::kO_DIRECT);
  PipeEnds ends;
  ends.read = TRY(make_ref<PipeFile>(pipe, Ref<Inode>(), kept | abi::kO_RDONLY));
  ends.write = TRY(make_ref<PipeFile>(pipe, Ref<Inode>(), kept | abi::kO_WRONLY));
  return ends;
}

Result<Ref<File>> open_fifo(Ref<Inode> inode, Ref<Pipe> pipe, u32 flags) {
  u32 access = flags & abi::kO_ACCMODE;
  bool nonblocking = (flags & abi::kO_NONBLOCK) != 0;
  if (access == abi::kO_WRONLY && nonblocking && pipe->readers() == 0) return Errno::NXIO;
  u32 readers_seen = pipe->reader_opens();
  u32 writers_seen = pipe->writer_opens();
  Ref<File> file = TRY(make_ref<PipeFile>(pipe, std::move(inode), flags & kKeptFlags));
  if (nonblocking || access == abi::kO_RDWR) return file;
  // Both counts were read before this end was added: the other side's is compared, never our own.
  auto met = block_on(pipe->queue(), ~u32{0}, "open of a FIFO", [&]() -> Result<void> {
    bool there = access == abi::kO_RDONLY ? pipe->writers() > 0 || pipe->writer_opens() != writers_seen
                                          : pipe->readers() > 0 || pipe->reader_opens() != readers_seen;
    if (there) return {};
    return Errno::AGAIN;
  });
  if (!met.ok()) return met.error();
  return file;
}

Pipe* pipe_of(File& file) {
  return file.kind() == FileKind::kPipe ? &static_cast<PipeFile&>(file).pipe() : nullptr;
}

}  // namespace teacup::fs
