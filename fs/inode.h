// Inode: a file as its file system knows it, whatever its names. In the arena, counted; shared by all names,
// open files and mappings of it. Each file system derives its own and overrides what it can do; what it does
// not override fails as Linux fails it (the errno is said at each function).
//
// Locks: `lock` (kInode) guards attributes and content; the functions here take what they need themselves and
// are called with none held. Attributes are machine words that may be read without it.
// The last reference may give memory back to the host, so no reference is dropped under a lock.
#pragma once

#include <atomic>
#include <string_view>

#include "fs/credentials.h"
#include "fs/file.h"
#include "kernel/abi/fs.h"
#include "kernel/abi/time.h"
#include "kernel/base/ref.h"
#include "kernel/base/result.h"
#include "kernel/frame/heap.h"
#include "kernel/sync/lock.h"

namespace teacup::fs {

class FileSystem;
class FileLocks;
class Path;
struct Caller;

// What hangs on an inode for another subsystem: a FIFO's pipe, a bound socket, patched text, inotify marks.
class Attachment : public RefCounted<Attachment> {
 public:
  virtual ~Attachment() = default;
  static void destroy(Attachment* attachment) { delete attachment; }
  static void operator delete(void* block) { heap_free(block); }
};

// Somebody who has pages of the inode mapped (kernel/mm has one for each address space and inode). Called
// under the inode's lock: may only set flags and interrupt tasks.
class MapObserver {
 public:
  // What map_pieces() said of [offset, offset + length) holds no more: content moved (copy-up), or the end of
  // the file did.
  virtual void pages_changed(u64 offset, u64 length) = 0;
  ListNode observer_node;

 protected:
  ~MapObserver() = default;
};

// What a new file is to be. `mode` has its type and the permissions after umask; owner as decided by the VFS.
struct NewNode {
  u32 mode = 0;
  u32 uid = 0;
  u32 gid = 0;
  u64 rdev = 0;             // devices
  std::string_view target;  // symbolic links
  bool linkable = true;     // of one without a name: it may get one (open(2), O_TMPFILE)
};

struct RenameHow {
  u32 flags = 0;                      // renameat2(2)'s; what RENAME_NOREPLACE asks for the VFS has seen to
  const NewNode* whiteout = nullptr;  // RENAME_WHITEOUT: what is left at the old name
};

// Called by a file system once it has changed a name, before anybody else can change it again: where the file
// system has a lock for that, under it. So the cache of names never says what is not so any more.
class NameChange {
 public:
  virtual void changed() = 0;

 protected:
  ~NameChange() = default;
};

// For names that nobody can have looked up yet.
class NothingCached final : public NameChange {
 public:
  void changed() override {}
};

inline constexpr u32 kOpenCreated = 1u << 31;

enum AttributeMask : u32 { kSetMode = 1, kSetUid = 2, kSetGid = 4, kSetAtime = 8, kSetMtime = 16 };
struct AttributeChange {
  u32 mask = 0;
  u32 mode = 0;  // permission bits
  u32 uid = 0;
  u32 gid = 0;
  abi::Timespec atime{};
  abi::Timespec mtime{};
};

// What stat(2) and statx(2) tell.
struct FileStatus {
  abi::Stat stat;
  abi::Timespec birth{};  // 0: nobody knows
  u32 mount = 0;          // its mount's number
  bool is_mount_root = false;
};

// A time in twelve bytes.
struct [[gnu::packed, gnu::aligned(4)]] TimeStamp {
  TimeStamp() = default;
  TimeStamp(const abi::Timespec& time) : tv_sec(time.tv_sec), tv_nsec(static_cast<u32>(time.tv_nsec)) {}
  operator abi::Timespec() const {
    return {tv_sec, tv_nsec};
  }

  s64 tv_sec = 0;
  u32 tv_nsec = 0;
};

// What few inodes have: files that are mapped, locked or watched, FIFOs, bound sockets.
struct InodeExtras {
  ~InodeExtras();

  Ref<Attachment> attachment;  // FIFO, bound socket
  Ref<Attachment> text;        // kernel/mm's patched text
  Ref<Attachment> marks;       // inotify
  std::atomic<FileLocks*> locks{nullptr};
  List<MapObserver, &MapObserver::observer_node> observers;
  // A shared mapping has been written to, which the times do not show yet (kernel/mm/first_writes.h). Set
  // without a lock; who wants the times takes it back and calls mapping_written().
  std::atomic<bool> written_unseen{false};
};

class Inode : public RefCounted<Inode> {
 public:
  Inode(FileSystem& file_system, u64 ino, u32 mode);
  virtual ~Inode();
  static void destroy(Inode* inode) { inode->last_reference(); }
  static void operator delete(void* block) { heap_free(block); }

  FileSystem& file_system() const { return *file_system_; }
  u32 type() const { return mode & abi::kS_IFMT; }
  bool is_directory() const { return type() == abi::kS_IFDIR; }
  bool is_regular() const { return type() == abi::kS_IFREG; }
  bool is_symlink() const { return type() == abi::kS_IFLNK; }

  // --- Attributes. Written under `lock`. In an order without gaps: there are as many inodes as names in use.
  u32 mode;
  u64 ino;
  u32 uid = 0;
  u32 gid = 0;
  u32 nlink = 1;
  u32 rdev = 0;
  std::atomic<u64> size{0};
  TimeStamp atime{}, mtime{}, ctime{}, btime{};
  // Changes with each change of content: what was derived from the content (patched text) is keyed by it.
  std::atomic<u64> version{1};
  // Changes with each change of a directory's entries, before the call that made it returns.
  std::atomic<u64> entries_version{1};
  // Open files that may write (> 0), or running programs that forbid it (< 0): ETXTBSY. See vfs.h.
  std::atomic<s32> writers{0};
  // inotify: union of the masks of all watches on it; 0: none, and no event is reported.
  std::atomic<u32> watch_mask{0};

  Mutex lock{LockRank::kInode};

  // Null: it has none. What is in them is under `lock`.
  InodeExtras* extras() const { return extras_.load(std::memory_order_acquire); }
  Result<InodeExtras*> make_extras();
  FileLocks& locks();  // POSIX, OFD and flock(2) locks; made at the first use
  bool has_locks() const {
    InodeExtras* found = extras();
    return found != nullptr && found->locks.load(std::memory_order_acquire) != nullptr;
  }

  virtual Result<void> stat(abi::Stat& stat);
  // Attributes a caller may set, already checked; sets ctime. EPERM, EROFS.
  virtual Result<void> set_attributes(const AttributeChange& change);

  // --- Directories (ENOTDIR). Names have been checked: 1 to 255 bytes, no '/', not "." or "..".
  virtual Result<Ref<Inode>> lookup(std::string_view name);  // ENOENT
  // What stat() would say of an entry that no cache has, where that can be told without making an inode of
  // it, and seems better than that; false: lookup() has to be asked. Never of a directory.
  virtual bool peek(std::string_view /*name*/, FileStatus& /*status*/) { return false; }
  // EEXIST if the name is there. EPERM where nothing can be made.
  virtual Result<Ref<Inode>> create(std::string_view name, const NewNode& node, NameChange& change);
  virtual Result<void> link(std::string_view name, Inode& target, NameChange& change);
  // `victim` is what the name was found to be; OVERTAKEN if it no longer is: the VFS looks again.
  virtual Result<void> unlink(std::string_view name, Inode& victim, NameChange& change);
  virtual Result<void> remove_directory(std::string_view name, Inode& victim,
                                        NameChange& change);  // ENOTEMPTY
  // `victim`: what is at the new name, or null.
  virtual Result<void> rename(std::string_view name, Inode& moved, Inode& new_parent,
                              std::string_view new_name, Inode* victim, const RenameHow& how,
                              NameChange& change);
  // Entries but "." and ".." from `position` (>= 2) on; leaves it behind the last one taken.
  virtual Result<void> read_directory(DirSink& sink, u64& position);
  // Unnamed (O_TMPFILE). EOPNOTSUPP.
  virtual Result<Ref<Inode>> create_unnamed(const NewNode& node);

  // --- Symbolic links (EINVAL). readlink: bytes stored, cut at into's end.
  virtual Result<size_t> readlink(std::span<char> into);
  virtual bool is_magic_link() const { return false; }
  // Magic links (/proc/PID/fd/N, exe, cwd): what they lead to, whatever the text says.
  virtual Result<Path> follow(const Caller& caller);

  // --- Opening. The default knows regular files (FileOf the data functions below), directories, devices
  // (by number, filesystem.h) and FIFOs. ENXIO.
  // kOpenCreated among the flags: the file has been made by the call that opens it.
  virtual Result<Ref<File>> open(const Path& path, u32 flags);

  // --- Regular files' content (EINVAL).
  virtual Result<size_t> read(IoDest& to, u64 offset);
  // `append`: at the end, whatever `offset`. `end` is where the next byte would go. ENOSPC, EFBIG.
  virtual Result<size_t> write(IoSource& from, u64 offset, bool append, u64& end);
  virtual Result<void> truncate(u64 new_size);
  virtual Result<void> allocate(int mode, u64 offset, u64 length);  // fallocate(2); EOPNOTSUPP
  virtual Result<u64> seek_data(u64 offset, bool hole);             // SEEK_DATA, SEEK_HOLE; ENXIO
  virtual Result<size_t> map_pieces(u64 offset, u64 length, bool shared_writable,
                                    std::span<MapPiece> pieces);  // ENODEV
  virtual Result<void> sync() { return {}; }
  // Shared writable mappings write behind the kernel's back. Told at msync, munmap and exit: what they
  // changed must reach the backing (writable host directories), and what was derived from the content is out
  // of date.
  virtual Result<void> write_back(u64 offset, u64 length);
  // A write to a shared mapping has been noticed, or may have been one since (msync): counts as a write, for
  // the times.
  virtual void mapping_written() {}

  // --- Extended attributes (xattr(7)); EOPNOTSUPP, ENODATA, ERANGE. Sizes: an empty span asks for the size.
  virtual Result<size_t> get_xattr(std::string_view name, std::span<std::byte> value);
  virtual Result<void> set_xattr(std::string_view name, std::span<const std::byte> value, u32 flags);
  virtual Result<void> remove_xattr(std::string_view name);
  virtual Result<size_t> list_xattrs(std::span<char> names);

  // --- Mappings.
  Result<void> add_observer(MapObserver& observer);
  void remove_observer(MapObserver& observer);

  // Sets ctime, or mtime and ctime, to now. Under lock.
  void touch_ctime();
  void touch_mtime();

 protected:
  // The last reference went. The default deletes; a cache of inodes may keep it.
  virtual void last_reference() { delete this; }
  void notify_observers(u64 offset, u64 length);  // under lock
  bool has_observers() const {
    InodeExtras* found = extras();
    return found != nullptr && !found->observers.empty();
  }

 private:
  FileSystem* file_system_;  // counted
  std::atomic<InodeExtras*> extras_{nullptr};

 public:
  // F_SEAL_* of memory files (memfd_create(2)); kF_SEAL_SEAL: none may be added. The last, so that what is
  // derived has its own flags in the same word.
  std::atomic<u8> seals{abi::kF_SEAL_SEAL};
};

// Now, for time stamps.
abi::Timespec timestamp_now();

}  // namespace teacup::fs
