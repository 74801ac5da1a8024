// A file of the internal memory file system, behind one that knows the seals. Differs from Linux:
// F_SEAL_WRITE does not find out whether somebody has the file mapped writable (EBUSY there); that mapping
// stays writable.
#include "kernel/pseudo/memfd.h"

#include "fs/inode.h"
#include "fs/path.h"
#include "fs/vfs.h"
#include "kernel/frame/heap.h"

namespace teacup::pseudo {

namespace {

constexpr u32 kAllSeals = abi::kF_SEAL_SEAL | abi::kF_SEAL_SHRINK | abi::kF_SEAL_GROW | abi::kF_SEAL_WRITE |
                          abi::kF_SEAL_FUTURE_WRITE;
constexpr u32 kNoWriting = abi::kF_SEAL_WRITE | abi::kF_SEAL_FUTURE_WRITE;

class MemFile final : public fs::File {
 public:
  MemFile(Ref<fs::File> file, u32 seals) : File(abi::kO_RDWR), file_(std::move(file)), seals_(seals) {}

  bool seekable() const override { return true; }
  Result<size_t> read(IoDest& to, u64 offset) override { return file_->read(to, offset); }
  Result<size_t> write(IoSource& from, u64 offset) override {
    if (has(kNoWriting)) return Errno::PERM;
    if (offset + from.remaining() > size() && has(abi::kF_SEAL_GROW)) return Errno::PERM;
    return file_->write(from, offset);
  }
  Result<u64> seek(s64 offset, int whence) override {
    file_->position = position;
    return file_->seek(offset, whence);
  }
  u32 poll() override { return file_->poll(); }
  Result<s64> ioctl(u32 command, GuestAddress argument) override { return file_->ioctl(command, argument); }
  Result<void> stat(abi::Stat& stat) override { return file_->stat(stat); }
  Result<void> truncate(u64 new_size) override {
    if (new_size < size() && has(abi::kF_SEAL_SHRINK)) return Errno::PERM;
    if (new_size > size() && has(abi::kF_SEAL_GROW)) return Errno::PERM;
    return file_->truncate(new_size);
  }
  Result<void> sync() override { return file_->sync(); }
  Result<void> allocate(int mode, u64 offset, u64 length) override {
    constexpr int kPunchHole = 2;
    if ((mode & kPunchHole) != 0 && has(kNoWriting)) return Errno::PERM;
    if ((mode & kPunchHole) == 0 && offset + length > size() && has(abi::kF_SEAL_GROW)) return Errno::PERM;
    return file_->allocate(mode, offset, length);
  }
  Result<s64> control(int command, u64 argument) override {
    if (command == abi::kF_GET_SEALS) return s64{seals_.load(std::memory_order_seq_cst)};
    if (command != abi::kF_ADD_SEALS) return file_->control(command, argument);
    if ((argument & ~u64{kAllSeals}) != 0) return Errno::INVAL;
    if (has(abi::kF_SEAL_SEAL)) return Errno::PERM;
    seals_.fetch_or(static_cast<u32>(argument), std::memory_order_seq_cst);
    return 0;
  }
  fs::Inode* inode() override { return file_->inode(); }
  const fs::Path* path() override { return file_->path(); }
  void describe(TextBuffer& text) override { file_->describe(text); }
  Result<size_t> map_pieces(u64 offset, u64 length, bool shared_writable,
                            std::span<fs::MapPiece> pieces) override {
    if (shared_writable && has(kNoWriting)) return Errno::PERM;
    return file_->map_pieces(offset, length, shared_writable, pieces);
  }

 private:
  bool has(u32 seals) const { return (seals_.load(std::memory_order_relaxed) & seals) != 0; }
  u64 size() { return inode()->size.load(std::memory_order_relaxed); }

  Ref<fs::File> file_;
  std::atomic<u32> seals_;
};

}  // namespace

Result<Ref<fs::File>> make_memfd(std::string_view name, bool sealable) {
  Ref<fs::File> file = TRY(fs::open_unnamed(name, abi::kO_RDWR));
  u32 seals = sealable ? 0 : u32{abi::kF_SEAL_SEAL};
  return Ref<fs::File>(TRY(make_ref<MemFile>(std::move(file), seals)));
}

}  // namespace teacup::pseudo
