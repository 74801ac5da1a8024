// The ends of pipes and FIFOs, as files.
#include "fs/inode.h"
#include "fs/path.h"
#include "fs/pipe.h"
#include "fs/vfs.h"
#include "kernel/abi/tty.h"

namespace teacup::fs {

namespace {

constexpr u64 kPipeDevice = 14;  // st_dev of pipes without a name
constexpr u32 kKeptFlags = abi::kO_ACCMODE | abi::kO_NONBLOCK | abi::kO_DIRECT | abi::kO_APPEND;

// A FIFO's pipe, on its inode.
struct FifoState final : Attachment {
  Ref<Pipe> pipe;
};

class PipeFile final : public File {
 public:
  PipeFile(Ref<Pipe> pipe, const Path& path, u32 flags) : File(flags), pipe_(std::move(pipe)), path_(path) {
    others_seen_ = opens_of_the_other_side();
    // One that waits for us may be gone again, satisfied, as soon as we are there.
    met_ = readable() ? pipe_->writers() > 0 : pipe_->readers() > 0;
    // POLLHUP is for those who have seen a writer go.
    bool early = path && nonblocking() && pipe_->writers() == 0;
    writer_opens_seen_ = early ? pipe_->writer_opens() : ~u32{0};
    pipe_->add_end(readable(), writable());
  }
  ~PipeFile() override { pipe_->drop_end(readable(), writable()); }

  FileKind kind() const override { return FileKind::kPipe; }
  Pipe& pipe() { return *pipe_; }

  Result<size_t> read(IoDest& to, u64) override {
    size_t count = TRY(pipe_->read(to));
    if (path_ && count > 0 && (flags() & abi::kO_NOATIME) == 0) touch_access_time(path_, true);
    return count;
  }
  Result<size_t> write(IoSource& from, u64) override {
    size_t count = TRY(pipe_->write(from, (flags() & abi::kO_DIRECT) != 0));
    if (path_ && count > 0) touch_modification_time(path_);
    return count;
  }
  u32 poll() override {
    return pipe_->readiness(readable(), writable(), pipe_->writer_opens() != writer_opens_seen_);
  }
  WaitQueue* wait_queue() override { return &pipe_->queue(); }
  Inode* inode() override { return path_ ? &path_.inode() : nullptr; }
  const Path* path() override { return path_ ? &path_ : nullptr; }

  Result<void> finish_open() override {
    if (!path_ || nonblocking() || (readable() && writable())) return {};
    bool there = readable() ? pipe_->writers() > 0 : pipe_->readers() > 0;
    // One that came and went again counts too.
    if (met_ || there || opens_of_the_other_side() != others_seen_) return {};
    return Errno::AGAIN;
  }

  // /proc/PID/fd/N: another end of the same pipe.
  Result<Ref<File>> reopen(u32 new_flags) override {
    if (path_) return open_fifo(path_, new_flags);
    return Ref<File>(TRY(make_ref<PipeFile>(pipe_, Path(), new_flags & kKeptFlags)));
  }

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
    if (path_) return path_.inode().stat(stat);
    stat = {};
    stat.dev = kPipeDevice;
    stat.ino = pipe_->number();
    stat.nlink = 1;
    stat.mode = abi::kS_IFIFO | 0600;
    stat.blksize = kPageSize;
    stat.atime = stat.mtime = stat.ctime = static_cast<s64>(pipe_->created() / 1'000'000'000);
    stat.atime_nsec = stat.mtime_nsec = stat.ctime_nsec = static_cast<s64>(pipe_->created() % 1'000'000'000);
    return {};
  }

  void describe(TextBuffer& text) override { text.add("pipe:[").udec(pipe_->number()).add(']'); }

 private:
  u32 opens_of_the_other_side() const { return readable() ? pipe_->writer_opens() : pipe_->reader_opens(); }

  Ref<Pipe> pipe_;
  Path path_;  // empty without a name
  u32 others_seen_;
  bool met_;  // the other side was open before this end was
  u32 writer_opens_seen_;
};

Result<Ref<Pipe>> pipe_of_inode(Inode& inode) {
  Ref<Attachment>& attachment = TRY(inode.make_extras())->attachment;
  {
    LockGuard guard(inode.lock);
    if (attachment) return static_cast<FifoState*>(attachment.get())->pipe;
  }
  Ref<FifoState> state = Ref<FifoState>::adopt(TRY(make<FifoState>()));
  state->pipe = TRY(Pipe::create());
  LockGuard guard(inode.lock);
  if (!attachment) attachment = state;
  return static_cast<FifoState*>(attachment.get())->pipe;
}

}  // namespace

Result<PipeEnds> make_pipe(u32 flags) {
  Ref<Pipe> pipe = TRY(Pipe::create());
  u32 kept = flags & (abi::kO_NONBLOCK | abi::kO_DIRECT);
  PipeEnds ends;
  ends.read = TRY(make_ref<PipeFile>(pipe, Path(), kept | abi::kO_RDONLY));
  ends.write = TRY(make_ref<PipeFile>(pipe, Path(), kept | abi::kO_WRONLY));
  return ends;
}

Result<Ref<File>> open_fifo(const Path& path, u32 flags) {
  Ref<Pipe> pipe = TRY(pipe_of_inode(path.inode()));
  bool lonely_writer = (flags & abi::kO_ACCMODE) == abi::kO_WRONLY && pipe->readers() == 0;
  if (lonely_writer && (flags & abi::kO_NONBLOCK) != 0) return Errno::NXIO;
  return Ref<File>(TRY(make_ref<PipeFile>(std::move(pipe), path, flags)));
}

Pipe* pipe_of(File& file) {
  return file.kind() == FileKind::kPipe ? &static_cast<PipeFile&>(file).pipe() : nullptr;
}

}  // namespace teacup::fs
