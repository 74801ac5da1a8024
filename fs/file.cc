// What a kind of file does not do.
#include "fs/file.h"

#include "fs/file_locks.h"
#include "fs/inode.h"

#include "kernel/base/format.h"

namespace teacup::fs {

void File::destroy(File* file) {
  if (file->epoll_items.next != nullptr) epoll_forget(*file);
  if (file->owner.load(std::memory_order_relaxed) != nullptr) owner_forget(*file);
  if (Inode* locked = file->inode(); locked != nullptr && locked->has_locks())
    locked->locks().release_description(*file);
  delete file;
}

Result<size_t> File::read(IoDest&, u64) {
  return Errno::INVAL;
}
Result<size_t> File::write(IoSource&, u64) {
  return Errno::INVAL;
}
Result<size_t> File::append(IoSource& from, u64& end) {
  size_t count = TRY(write(from, 0));
  end = position + count;
  return count;
}
Result<u64> File::seek(s64 offset, int whence) {
  if (!seekable()) return Errno::SPIPE;
  if (whence != abi::kSEEK_SET && whence != abi::kSEEK_CUR) return Errno::INVAL;
  s64 target = offset;
  if (whence == abi::kSEEK_CUR && __builtin_add_overflow(static_cast<s64>(position), offset, &target))
    return Errno::OVERFLOW;
  if (target < 0) return Errno::INVAL;
  position = static_cast<u64>(target);
  return position;
}
Result<s64> File::ioctl(u32, GuestAddress) {
  return Errno::NOTTY;
}
Result<void> File::stat(abi::Stat& stat) {
  if (Inode* own = inode(); own != nullptr) return own->stat(stat);
  stat = {};
  stat.mode = 0600;
  stat.nlink = 1;
  stat.blksize = kPageSize;
  return {};
}
Result<void> File::read_directory(DirSink&) {
  return Errno::NOTDIR;
}
Result<void> File::truncate(u64) {
  return Errno::INVAL;
}
Result<void> File::allocate(int, u64, u64) {
  return seekable() ? Errno::NODEV : Errno::SPIPE;
}
Result<s64> File::control(int command, u64) {
  if (command == abi::kF_SETPIPE_SZ || command == abi::kF_GETPIPE_SZ) return Errno::BADF;
  return Errno::INVAL;
}
Result<void> File::flush(const void* owner) {
  if (Inode* locked = inode(); locked != nullptr && locked->has_locks()) locked->locks().release_owner(owner);
  return {};
}
Result<Ref<File>> File::reopen(u32) {
  return Errno::NXIO;
}
void File::describe(TextBuffer& text) {
  text.add("anon_inode:[file]");
}
Result<size_t> File::map_pieces(u64, u64, bool, std::span<MapPiece>) {
  return Errno::NODEV;
}

}  // namespace teacup::fs
