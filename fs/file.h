// File: an open file description (open(2)): what a descriptor refers to, shared by dup and fork. Regular
// files and directories, pipes, sockets, ttys, epoll instances… each derive from it.
//
// A File never sleeps for an event: where the call would block it returns EAGAIN, and the system call that
// uses it waits on wait_queue() in the one blocking loop (kernel/sync/wait.h), unless the file is
// nonblocking. What a File may do is take its own locks, and trips to the broker or importer for data that
// are sure to be answered.
//
// Locks: none is held when these are called. Readiness changes are announced by wait_queue().wake(events).
#pragma once

#include "fs/credentials.h"
#include "kernel/abi/fs.h"
#include "kernel/base/format.h"
#include "kernel/base/ref.h"
#include "kernel/base/result.h"
#include "kernel/frame/heap.h"
#include "kernel/sync/wait.h"
#include "kernel/uaccess/guest.h"

namespace teacup::fs {

class Inode;
class Path;

// What a memory mapping of a file is made of, for kernel/mm: ranges of host objects (the arena or an image).
struct MapPiece {
  int fd;           // kArenaFd, kFirstImageFd + n, or kAnonymousPiece
  u64 host_offset;  // page aligned
  u64 length;       // bytes, page aligned
};

// A whole mapping that is anonymous memory (/dev/zero).
inline constexpr int kAnonymousPiece = -1;

// Takes directory entries from readdir; returns false when it has no room for this one (it is then offered
// again).
class DirSink {
 public:
  virtual bool add(std::string_view name, u64 ino, u8 type, u64 next_offset) = 0;

 protected:
  ~DirSink() = default;
};

// Kinds of file that calls treat specially; there is no RTTI in the kernel.
enum class FileKind : u8 {
  kOther,
  kPipe,
  kEpoll,
  kSocket,
  kTty,
  kEventFd,
  kTimerFd,
  kSignalFd,
  kPidFd,
  kInotify,
  kMqueue
};

class File;
class FileOwner;
void epoll_forget(File& file);  // fs/epoll.h
void owner_forget(File& file);  // fs/file_owner.h

class File : public RefCounted<File> {
 public:
  // Descriptors are looked up without a lock (fs/fd_table.cc).
  static constexpr HeapFamily kHeapFamily = HeapFamily::kFiles;

  explicit File(u32 flags) : flags_(flags) {}
  virtual ~File() = default;
  static void destroy(File* file);
  static void operator delete(void* block) { heap_free(block); }

  // O_ACCMODE, O_APPEND, O_NONBLOCK, O_DIRECT, O_PATH… as fcntl(F_GETFL) shows them.
  u32 flags() const { return flags_.load(std::memory_order_relaxed); }
  void set_flags(u32 flags) { flags_.store(flags, std::memory_order_relaxed); }
  bool readable() const {
    return (flags() & abi::kO_ACCMODE) != abi::kO_WRONLY && (flags() & abi::kO_PATH) == 0;
  }
  bool writable() const {
    return (flags() & abi::kO_ACCMODE) != abi::kO_RDONLY && (flags() & abi::kO_PATH) == 0;
  }
  virtual FileKind kind() const { return FileKind::kOther; }
  bool nonblocking() const { return (flags() & abi::kO_NONBLOCK) != 0; }

  // --- Data. For seekable files at `offset`; others ignore it. Short counts as read(2)/write(2) allow; 0
  // from read is the end. EAGAIN: would block (or only part of it could be written: then the part is
  // returned).
  virtual Result<size_t> read(IoDest& to, u64 offset);
  virtual Result<size_t> write(IoSource& from, u64 offset);
  // O_APPEND of a seekable file: at its end; `end` is where the position then is.
  virtual Result<size_t> append(IoSource& from, u64& end);
  virtual bool seekable() const { return false; }
  // Moves `position`. The default is that of text made when it is read: it has no end to go to (EINVAL), nor
  // have files that are not seekable a position (ESPIPE).
  virtual Result<u64> seek(s64 offset, int whence);
  // For seekable files: the position under its lock, so that read() of a shared description is atomic
  // (POSIX).
  Mutex& position_lock() { return position_lock_; }
  u64 position = 0;

  // --- Readiness: POLL* bits that hold now. The default: always ready for reading and writing.
  virtual u32 poll() { return abi::kPOLLIN | abi::kPOLLOUT | abi::kPOLLRDNORM | abi::kPOLLWRNORM; }
  // Wakes with the same bits as they come true. Null: always ready (regular files).
  virtual WaitQueue* wait_queue() { return nullptr; }
  // For how long read(2) or write(2) waits at most, in ns; 0: for ever (SO_RCVTIMEO, SO_SNDTIMEO).
  virtual u64 wait_limit(bool writing) const {
    (void)writing;
    return 0;
  }

  // --- The rest of the calls on descriptors.
  virtual Result<s64> ioctl(u32 command, GuestAddress argument);  // ENOTTY
  virtual Result<void> stat(abi::Stat& stat);
  virtual Result<void> read_directory(DirSink& sink);  // from `position` on; ENOTDIR
  virtual Result<void> truncate(u64 size);
  virtual Result<void> sync() { return {}; }
  virtual Result<void> allocate(int mode, u64 offset, u64 length);  // fallocate(2)
  // fcntl commands that a kind of file adds (F_SETPIPE_SZ, F_ADD_SEALS…). EINVAL.
  virtual Result<s64> control(int command, u64 argument);
  // One descriptor that referred to it was closed (by `owner`: see FdTable); POSIX locks, epoll and flush
  // errors want it.
  virtual Result<void> flush(const void* owner);
  // Opening is not over until this succeeds; EAGAIN: wait on wait_queue() (a FIFO waits for its other end).
  virtual Result<void> finish_open() { return {}; }
  // open(2) of /proc/PID/fd/N for a file that has no path: another description of the same thing. ENXIO.
  virtual Result<Ref<File>> reopen(u32 flags);

  // The inode, or null for what has none (epoll); and the path it was opened by, empty where there is none.
  virtual Inode* inode() { return nullptr; }
  virtual const Path* path() { return nullptr; }
  // A short name for /proc/PID/fd where there is no path ("pipe:[7]", "anon_inode:[eventpoll]").
  virtual void describe(TextBuffer& text);

  // --- Mapping. The pieces that make up [offset, offset + length), in order, both page aligned; past the end
  // of the file the pieces stop. `shared_writable`: the mapping may write to the file (the inode must own its
  // pages: copy-up). Returns how many pieces were stored. ENODEV: cannot be mapped.
  virtual Result<size_t> map_pieces(u64 offset, u64 length, bool shared_writable, std::span<MapPiece> pieces);

  // Who is told by signal (fs/file_owner.h); counted. Null until fcntl(F_SETOWN) or O_ASYNC first asks for
  // it.
  std::atomic<FileOwner*> owner{nullptr};

  ListNode epoll_items;  // next: the first item of an epoll that watches it (fs/epoll.cc)

 private:
  std::atomic<u32> flags_;
  Mutex position_lock_{LockRank::kFilePosition};
};

}  // namespace teacup::fs
