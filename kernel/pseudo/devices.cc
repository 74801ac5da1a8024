#include "kernel/pseudo/devices.h"

#include <algorithm>

#include "fs/filesystem.h"
#include "kernel/task/random.h"

namespace teacup::pseudo {

namespace {

enum Minor : u32 { kNull = 3, kZero = 5, kFull = 7, kRandom = 8, kUrandom = 9 };

class NullFile : public DeviceFile {
 public:
  using DeviceFile::DeviceFile;
  Result<size_t> read(IoDest&, u64) override { return size_t{0}; }
  Result<size_t> write(IoSource& from, u64) override { return from.remaining(); }
  bool seekable() const override { return true; }  // pread(2) and pwrite(2) go, at no position
  Result<u64> seek(s64, int) override { return u64{0}; }
};

class ZeroFile final : public NullFile {
 public:
  ZeroFile(const fs::Path& path, u32 flags, bool full) : NullFile(path, flags), full_(full) {}
  Result<size_t> read(IoDest& to, u64) override { return to.put_zeros(to.remaining()); }
  Result<size_t> write(IoSource& from, u64) override {
    if (full_) return Errno::NOSPC;
    return from.remaining();
  }
  // zero(4): anonymous memory. The other one is not for mapping.
  Result<size_t> map_pieces(u64, u64 length, bool, std::span<fs::MapPiece> pieces) override {
    if (full_) return Errno::NODEV;
    pieces[0] = {fs::kAnonymousPiece, 0, length};
    return size_t{1};
  }

 private:
  bool full_;
};

class RandomFile final : public NullFile {
 public:
  using NullFile::NullFile;
  Result<size_t> read(IoDest& to, u64) override {
    u8 block[512];
    size_t done = 0;
    while (to.remaining() > 0) {
      size_t size = std::min(to.remaining(), sizeof block);
      random_fill({block, size});
      auto copied = to.put(block, size);
      if (!copied.ok() && done == 0) return copied.error();
      if (!copied.ok()) break;
      done += copied.value();
      if (copied.value() < size) break;
    }
    return done;
  }
  // random(4). What is asked for is always there; adding to it is for CAP_SYS_ADMIN, which no guest has.
  Result<s64> ioctl(u32 command, GuestAddress argument) override {
    switch (command) {
      case abi::kRNDGETENTCNT:
        TRY(GuestOut<s32>(argument.value).write(kEntropyBits));
        return 0;
      case abi::kRNDADDTOENTCNT:
      case abi::kRNDADDENTROPY:
      case abi::kRNDZAPENTCNT:
      case abi::kRNDCLEARPOOL:
      case abi::kRNDRESEEDCRNG:
        return Errno::PERM;
      default:
        return Errno::INVAL;
    }
  }

 private:
  static constexpr s32 kEntropyBits = 256;  // as /proc/sys/kernel/random/entropy_avail says
};

template <typename T, typename... Args>
Result<Ref<fs::File>> opened(Args&&... args) {
  return Ref<fs::File>(TRY(make_ref<T>(std::forward<Args>(args)...)));
}

Result<Ref<fs::File>> open_memory_device(const fs::Path& path, u32 flags, u32 minor) {
  switch (minor) {
    case kNull:
      return opened<NullFile>(path, flags);
    case kZero:
    case kFull:
      return opened<ZeroFile>(path, flags, minor == kFull);
    case kRandom:
    case kUrandom:
      return opened<RandomFile>(path, flags);
  }
  return Errno::NXIO;
}

struct NodeSpec {
  const char* name;
  u32 mode;
  u32 major, minor;
  const char* target;
};

constexpr NodeSpec kNodes[] = {
    {"null", abi::kS_IFCHR | 0666, kMemMajor, kNull, nullptr},
    {"zero", abi::kS_IFCHR | 0666, kMemMajor, kZero, nullptr},
    {"full", abi::kS_IFCHR | 0666, kMemMajor, kFull, nullptr},
    {"random", abi::kS_IFCHR | 0666, kMemMajor, kRandom, nullptr},
    {"urandom", abi::kS_IFCHR | 0666, kMemMajor, kUrandom, nullptr},
    {"tty", abi::kS_IFCHR | 0666, kTtyAuxMajor, 0, nullptr},
    {"console", abi::kS_IFCHR | 0620, kTtyAuxMajor, 1, nullptr},
    {"ptmx", abi::kS_IFLNK | 0777, 0, 0, "pts/ptmx"},
    {"fd", abi::kS_IFLNK | 0777, 0, 0, "/proc/self/fd"},
    {"stdin", abi::kS_IFLNK | 0777, 0, 0, "/proc/self/fd/0"},
    {"stdout", abi::kS_IFLNK | 0777, 0, 0, "/proc/self/fd/1"},
    {"stderr", abi::kS_IFLNK | 0777, 0, 0, "/proc/self/fd/2"},
    {"pts", abi::kS_IFDIR | 0755, 0, 0, nullptr},
    {"shm", abi::kS_IFDIR | 01777, 0, 0, nullptr},
    {"mqueue", abi::kS_IFDIR | 01777, 0, 0, nullptr},
};

Result<Ref<fs::FileSystem>> mount_devtmpfs(std::string_view source, std::string_view) {
  const fs::FileSystemType* memory = fs::find_file_system("tmpfs");
  if (memory == nullptr) return Errno::NODEV;
  Ref<fs::FileSystem> file_system = TRY(memory->mount(source, "mode=755"));
  Ref<fs::Inode> root = TRY(file_system->root());
  for (const NodeSpec& spec : kNodes) {
    fs::NewNode node;
    node.mode = spec.mode;
    if (spec.major != 0) node.rdev = fs::make_device(spec.major, spec.minor);
    if (spec.target != nullptr) node.target = spec.target;
    fs::NothingCached change;
    TRY(root->create(spec.name, node, change));
  }
  return file_system;
}

constexpr fs::FileSystemType kDevtmpfs = {"devtmpfs", &mount_devtmpfs};

}  // namespace

DeviceFile::DeviceFile(const fs::Path& path, u32 flags) : File(flags), path_(path) {}

void register_memory_devices() {
  fs::register_char_device(kMemMajor, 0, 16, &open_memory_device);
}

void register_devtmpfs() {
  fs::register_file_system(kDevtmpfs);
}

}  // namespace teacup::pseudo
