// Locks: kInode where said in inode.h.
#include "fs/inode.h"

#include "fs/file_locks.h"
#include "fs/node_file.h"
#include "fs/path.h"
#include "fs/vfs_state.h"
#include "host/gate/gate.h"

namespace teacup::fs {

abi::Timespec timestamp_now() {
  u64 now = gate::realtime_now();
  return {static_cast<s64>(now / 1'000'000'000), static_cast<s64>(now % 1'000'000'000)};
}

Inode::Inode(FileSystem& file_system, u64 ino_, u32 mode_)
    : mode(mode_), ino(ino_), file_system_(&file_system) {
  file_system.ref();
}

Inode::~Inode() {
  teacup::destroy(extras_.load());
  file_system_->unref();
}

InodeExtras::~InodeExtras() {
  teacup::destroy(locks.load());
}

namespace {

// What `place` points to, made if there is nothing.
template <typename T>
Result<T*> make_once(std::atomic<T*>& place) {
  T* there = place.load(std::memory_order_acquire);
  if (there != nullptr) return there;
  T* made = TRY(make<T>());
  if (place.compare_exchange_strong(there, made)) return made;
  teacup::destroy(made);
  return there;
}

}  // namespace

Result<InodeExtras*> Inode::make_extras() {
  return make_once(extras_);
}

FileLocks& Inode::locks() {
  auto made = make_extras();
  KERNEL_ASSERT(made.ok());
  auto locks = make_once(made.value()->locks);
  KERNEL_ASSERT(locks.ok());
  return *locks.value();
}

void Inode::touch_ctime() {
  ctime = timestamp_now();
}
void Inode::touch_mtime() {
  ctime = mtime = timestamp_now();
}

Result<void> Inode::stat(abi::Stat& stat) {
  stat = {};
  stat.dev = file_system_->device();
  stat.ino = ino;
  stat.nlink = nlink;
  stat.mode = mode;
  stat.uid = uid;
  stat.gid = gid;
  stat.rdev = rdev;
  u64 bytes = size.load(std::memory_order_relaxed);
  stat.size = static_cast<s64>(bytes);
  stat.blksize = kPageSize;
  stat.blocks = static_cast<s64>((bytes + 511) / 512);
  stat.atime = atime.tv_sec;
  stat.atime_nsec = atime.tv_nsec;
  stat.mtime = mtime.tv_sec;
  stat.mtime_nsec = mtime.tv_nsec;
  stat.ctime = ctime.tv_sec;
  stat.ctime_nsec = ctime.tv_nsec;
  return {};
}

Result<void> Inode::set_attributes(const AttributeChange& change) {
  LockGuard guard(lock);
  if ((change.mask & kSetMode) != 0) mode = type() | (change.mode & 07777);
  if ((change.mask & kSetUid) != 0) uid = change.uid;
  if ((change.mask & kSetGid) != 0) gid = change.gid;
  if ((change.mask & kSetAtime) != 0) atime = change.atime;
  if ((change.mask & kSetMtime) != 0) mtime = change.mtime;
  touch_ctime();
  return {};
}

Result<Ref<File>> Inode::open(const Path& path, u32 flags) {
  flags &= ~kOpenCreated;
  switch (type()) {
    case abi::kS_IFREG:
    case abi::kS_IFDIR:
      return make_node_file(path, flags);
    case abi::kS_IFCHR: {
      Registry& registry = vfs_state().registry;
      u32 major = device_major(rdev);
      u32 minor = device_minor(rdev);
      for (size_t i = 0; i < registry.device_count; i++) {
        auto& device = registry.devices[i];
        if (device.major == major && minor >= device.first && minor - device.first < device.count) {
          return device.open(path, flags, minor);
        }
      }
      return Errno::NXIO;
    }
    case abi::kS_IFIFO:
      if (fs_hooks().open_fifo != nullptr) return fs_hooks().open_fifo(path, flags);
      return Errno::NXIO;
    case abi::kS_IFLNK:
      return Errno::LOOP;
    default:
      return Errno::NXIO;
  }
}

Result<void> Inode::add_observer(MapObserver& observer) {
  InodeExtras* made = TRY(make_extras());
  LockGuard guard(lock);
  made->observers.push_back(observer);
  return {};
}
void Inode::remove_observer(MapObserver& observer) {
  LockGuard guard(lock);
  extras()->observers.remove(observer);
}
void Inode::notify_observers(u64 offset, u64 length) {
  if (!has_observers()) return;
  for (MapObserver& observer : extras()->observers) observer.pages_changed(offset, length);
}

// What a file system does not do.
Result<Ref<Inode>> Inode::lookup(std::string_view) {
  return is_directory() ? Errno::NOENT : Errno::NOTDIR;
}
Result<Ref<Inode>> Inode::create(std::string_view, const NewNode&, NameChange&) {
  return is_directory() ? Errno::PERM : Errno::NOTDIR;
}
Result<void> Inode::link(std::string_view, Inode&, NameChange&) {
  return is_directory() ? Errno::PERM : Errno::NOTDIR;
}
Result<void> Inode::unlink(std::string_view, Inode&, NameChange&) {
  return is_directory() ? Errno::PERM : Errno::NOTDIR;
}
Result<void> Inode::remove_directory(std::string_view, Inode&, NameChange&) {
  return is_directory() ? Errno::PERM : Errno::NOTDIR;
}
Result<void> Inode::rename(std::string_view, Inode&, Inode&, std::string_view, Inode*, const RenameHow&,
                           NameChange&) {
  return is_directory() ? Errno::PERM : Errno::NOTDIR;
}
Result<void> Inode::read_directory(DirSink&, u64&) {
  if (is_directory()) return {};
  return Errno::NOTDIR;
}
Result<Ref<Inode>> Inode::create_unnamed(const NewNode&) {
  return Errno::NOTSUP;
}
Result<size_t> Inode::readlink(std::span<char>) {
  return Errno::INVAL;
}
Result<Path> Inode::follow(const Caller&) {
  return Errno::LOOP;
}
Result<size_t> Inode::read(IoDest&, u64) {
  return is_directory() ? Errno::ISDIR : Errno::INVAL;
}
Result<size_t> Inode::write(IoSource&, u64, bool, u64&) {
  return Errno::INVAL;
}
Result<void> Inode::truncate(u64) {
  return is_directory() ? Errno::ISDIR : Errno::INVAL;
}
Result<void> Inode::allocate(int, u64, u64) {
  return is_directory() ? Errno::ISDIR : Errno::NODEV;
}
Result<u64> Inode::seek_data(u64 offset, bool hole) {
  // All data, and the hole that every file ends in.
  u64 end = size.load(std::memory_order_relaxed);
  if (offset >= end) return Errno::NXIO;
  return hole ? end : offset;
}
Result<size_t> Inode::map_pieces(u64, u64, bool, std::span<MapPiece>) {
  return Errno::NODEV;
}
Result<void> Inode::write_back(u64, u64) {
  version.fetch_add(1, std::memory_order_release);
  return {};
}
Result<size_t> Inode::get_xattr(std::string_view, std::span<std::byte>) {
  return Errno::NOTSUP;
}
Result<void> Inode::set_xattr(std::string_view, std::span<const std::byte>, u32) {
  return Errno::NOTSUP;
}
Result<void> Inode::remove_xattr(std::string_view) {
  return Errno::NOTSUP;
}
Result<size_t> Inode::list_xattrs(std::span<char>) {
  return size_t{0};
}

}  // namespace teacup::fs
