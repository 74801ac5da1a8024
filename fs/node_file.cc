#include "fs/node_file.h"

#include "fs/vfs.h"
#include "fs/vfs_state.h"
#include "kernel/abi/tty.h"

namespace teacup::fs {

NodeFile::~NodeFile() {
  if (!path_) return;
  Inode& inode = path_.inode();
  if (writer_share_ != 0) inode.writers.fetch_sub(writer_share_);
  if ((flags() & abi::kO_PATH) == 0) {
    notify_path(path_, writable() ? abi::kIN_CLOSE_WRITE : abi::kIN_CLOSE_NOWRITE);
  }
}

Result<void> check_seals_for_size(const Inode& inode, u64 size) {
  u32 seals = inode.seals.load(std::memory_order_relaxed);
  u64 now = inode.size.load();
  if (size < now && (seals & abi::kF_SEAL_SHRINK) != 0) return Errno::PERM;
  if (size > now && (seals & abi::kF_SEAL_GROW) != 0) return Errno::PERM;
  return {};
}

namespace {

constexpr u64 kMaxFileSize = 0x7fff'ffff'ffff'f000;  // MAX_LFS_FILESIZE

class RegularFile final : public NodeFile {
 public:
  using NodeFile::NodeFile;

  bool seekable() const override { return true; }

  Result<size_t> read(IoDest& to, u64 offset) override {
    size_t count = TRY(inode()->read(to, offset));
    accessed();
    if (count > 0) notify_path(*path(), abi::kIN_ACCESS);
    return count;
  }

  Result<size_t> write(IoSource& from, u64 offset) override {
    u64 end;
    return write_to(from, offset, (flags() & abi::kO_APPEND) != 0, end);
  }
  Result<size_t> append(IoSource& from, u64& end) override { return write_to(from, 0, true, end); }

  Result<u64> seek(s64 offset, int whence) override {
    s64 target;
    switch (whence) {
      case abi::kSEEK_SET:
        target = offset;
        break;
      case abi::kSEEK_CUR:
        if (__builtin_add_overflow(static_cast<s64>(position), offset, &target)) return Errno::OVERFLOW;
        break;
      case abi::kSEEK_END:
        if (__builtin_add_overflow(static_cast<s64>(inode()->size.load()), offset, &target))
          return Errno::OVERFLOW;
        break;
      case abi::kSEEK_DATA:
      case abi::kSEEK_HOLE:
        if (offset < 0) return Errno::NXIO;
        target =
            static_cast<s64>(TRY(inode()->seek_data(static_cast<u64>(offset), whence == abi::kSEEK_HOLE)));
        break;
      default:
        return Errno::INVAL;
    }
    if (target < 0) return Errno::INVAL;
    position = static_cast<u64>(target);
    return position;
  }

  Result<void> truncate(u64 size) override {
    TRY(check_seals_for_size(*inode(), size));
    TRY(inode()->truncate(size));
    notify_path(*path(), abi::kIN_MODIFY);
    return {};
  }
  Result<void> allocate(int mode, u64 offset, u64 length) override {
    constexpr int kChanging = abi::kFALLOC_FL_PUNCH_HOLE | abi::kFALLOC_FL_ZERO_RANGE;
    if ((mode & kChanging) != 0 && (inode()->seals.load() & kNoWriting) != 0) return Errno::PERM;
    if ((mode & abi::kFALLOC_FL_KEEP_SIZE) == 0 && offset + length > inode()->size.load()) {
      TRY(check_seals_for_size(*inode(), offset + length));
    }
    TRY(inode()->allocate(mode, offset, length));
    notify_path(*path(), abi::kIN_MODIFY);
    return {};
  }
  Result<void> sync() override { return inode()->sync(); }
  Result<size_t> map_pieces(u64 offset, u64 length, bool shared_writable,
                            std::span<MapPiece> pieces) override {
    if (shared_writable && (inode()->seals.load() & kNoWriting) != 0) return Errno::PERM;
    accessed();
    return inode()->map_pieces(offset, length, shared_writable, pieces);
  }
  // fcntl(F_ADD_SEALS, F_GET_SEALS): of memory files. That nothing maps it for writing is the caller's to see
  // to.
  Result<s64> control(int command, u64 argument) override {
    u8 seals = inode()->seals.load();
    if (command == abi::kF_GET_SEALS) return is_sealable() ? Result<s64>(seals) : Errno::INVAL;
    if (command != abi::kF_ADD_SEALS) return File::control(command, argument);
    if (!is_sealable()) return Errno::INVAL;
    constexpr u64 kAll = abi::kF_SEAL_SEAL | abi::kF_SEAL_SHRINK | abi::kF_SEAL_GROW | kNoWriting;
    if ((argument & ~kAll) != 0) return Errno::INVAL;
    if (!writable()) return Errno::PERM;
    do {
      if ((seals & abi::kF_SEAL_SEAL) != 0) return Errno::PERM;
    } while (!inode()->seals.compare_exchange_weak(seals, static_cast<u8>(seals | argument)));
    return 0;
  }
  Result<s64> ioctl(u32 command, GuestAddress argument) override {
    if (command == abi::kFIONREAD) {
      u64 size = inode()->size.load();
      s32 left = size > position ? static_cast<s32>(std::min<u64>(size - position, 0x7fffffff)) : 0;
      TRY(GuestOut<s32>(argument.value).write(left));
      return 0;
    }
    return Errno::NOTTY;
  }

 private:
  static constexpr u32 kNoWriting = abi::kF_SEAL_WRITE | abi::kF_SEAL_FUTURE_WRITE;
  // The clock is asked once for each open file: it costs as much as the rest of a short read.
  void accessed() {
    if ((flags() & abi::kO_NOATIME) != 0) return;
    touch_access_time(*path(), !clock_asked_);
    clock_asked_ = true;
  }
  bool is_sealable() { return inode()->file_system().magic() == abi::kTMPFS_MAGIC; }

  Result<size_t> write_to(IoSource& from, u64 offset, bool append, u64& end) {
    if (from.remaining() == 0) {
      if (!append) end = offset;  // appending nothing does not move
      return size_t{0};
    }
    if (!append && offset >= kMaxFileSize) return Errno::FBIG;
    if (u32 seals = inode()->seals.load(); seals != abi::kF_SEAL_SEAL) [[unlikely]] {
      if ((seals & kNoWriting) != 0) return Errno::PERM;
      u64 size = inode()->size.load();
      if ((seals & abi::kF_SEAL_GROW) != 0 && (append || offset + from.remaining() > size))
        return Errno::PERM;
    }
    size_t count = TRY(inode()->write(from, offset, append, end));
    notify_path(*path(), abi::kIN_MODIFY);
    return count;
  }

  bool clock_asked_ = false;
};

// "." and ".." are the VFS's: a directory's parent is known by its dentry.
class DirectoryFile final : public NodeFile {
 public:
  using NodeFile::NodeFile;

  Result<size_t> read(IoDest&, u64) override { return Errno::ISDIR; }
  bool seekable() const override { return true; }
  Result<u64> seek(s64 offset, int whence) override {
    if (whence == abi::kSEEK_CUR) offset += static_cast<s64>(position);
    if (whence != abi::kSEEK_SET && whence != abi::kSEEK_CUR) return Errno::INVAL;
    if (offset < 0) return Errno::INVAL;
    position = static_cast<u64>(offset);
    return position;
  }

  Result<void> read_directory(DirSink& sink) override {
    Dentry& dentry = path()->dentry();
    if (dentry.is_deleted()) return Errno::NOENT;
    if (position == 0) {
      if (!sink.add(".", inode()->ino, abi::kDT_DIR, 1)) return {};
      position = 1;
    }
    if (position == 1) {
      if (!sink.add("..", parent_ino(), abi::kDT_DIR, 2)) return {};
      position = 2;
    }
    TRY(inode()->read_directory(sink, position));
    if ((flags() & abi::kO_NOATIME) == 0) touch_access_time(*path(), true);
    notify_path(*path(), abi::kIN_ACCESS);
    return {};
  }
  Result<void> sync() override { return inode()->sync(); }

 private:
  u64 parent_ino();
};

u64 DirectoryFile::parent_ino() {
  Path at = *path();
  while (&at.dentry() == &at.mount().root()) {
    Ref<Mount> mount;
    Ref<Dentry> mountpoint;
    if (!vfs_state().mounts.above(at.mount(), mount, mountpoint)) return at.inode().ino;
    at = Path(std::move(mount), std::move(mountpoint));
  }
  Ref<Dentry> parent;
  char name[256];
  size_t length;
  if (!dcache().parent_and_name(at.dentry(), parent, name, length)) return at.inode().ino;
  return parent->inode()->ino;
}

// O_PATH: a place, not an open file.
class PathFile final : public NodeFile {
 public:
  using NodeFile::NodeFile;
};

}  // namespace

Result<Ref<File>> make_node_file(const Path& path, u32 flags) {
  if ((flags & abi::kO_PATH) != 0) return Ref<File>(TRY(make_ref<PathFile>(path, flags)));
  if (path.inode().is_directory()) return Ref<File>(TRY(make_ref<DirectoryFile>(path, flags)));
  if ((flags & abi::kO_ACCMODE) == abi::kO_RDONLY) return Ref<File>(TRY(make_ref<RegularFile>(path, flags)));
  // Counted as a writer as long as it is open: such a file is not executed, nor the other way round.
  Inode& inode = path.inode();
  s32 writers = inode.writers.load();
  do {
    if (writers < 0) return Errno::TXTBSY;
  } while (!inode.writers.compare_exchange_weak(writers, writers + 1));
  auto file = make_ref<RegularFile>(path, flags);
  if (!file.ok()) {
    inode.writers.fetch_sub(1);
    return file.error();
  }
  file.value()->set_writer_share(1);
  return Ref<File>(std::move(file).value());
}

}  // namespace teacup::fs
