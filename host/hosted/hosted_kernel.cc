#include "host/hosted/hosted_kernel.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "fs/asked_image.h"
#include "fs/erofs.h"
#include "fs/vfs.h"
#include "host/broker/arena_bounds.h"
#include "host/gate/gate_hosted.h"
#include "kernel/base/arena_header.h"
#include "kernel/frame/heap.h"
#include "kernel/frame/pages.h"
#include "kernel/sync/doorbell.h"

namespace teacup::host {

namespace {

// Each image has a part of the address space that machines keep for images.
constexpr u64 kSlotSize = (kImageEnd - kImageBase) / kMaxImages;

[[noreturn]] void fail(const std::string& what) {
  throw HostedError(what + ": " + std::strerror(errno));
}

u64 host_memory() {
  struct sysinfo info {};
  ::sysinfo(&info);
  return static_cast<u64>(info.totalram) * info.mem_unit;
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

void make_arena() {
  const Descriptor memory(::memfd_create("teacup-arena", MFD_CLOEXEC));
  if (memory.get() < 0) fail("cannot make memory for reading images (memfd_create)");
  u64 size = kArenaSize;
  for (;; size /= 2) {
    void* at = MAP_FAILED;
    if (::ftruncate(memory.get(), static_cast<off_t>(size)) == 0) {
      at = ::mmap(reinterpret_cast<void*>(kArenaBase), size, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_NORESERVE, memory.get(), 0);
    }
    if (at == reinterpret_cast<void*>(kArenaBase)) break;
    if (size <= 2 * kPagesOffset) {
      fail(
          "cannot map memory for reading images: raise the address-space and file-size limits (ulimit -v, "
          "ulimit -f)");
    }
  }
  // The importer's processes parse what may be hostile: they get none of it.
  ::madvise(reinterpret_cast<void*>(kArenaBase), size, MADV_DONTFORK);
  const int kept = ::fcntl(memory.get(), F_DUPFD_CLOEXEC, 3);
  gate::hosted_set_fd(kArenaFd, kept);
  ArenaHeader& header = arena();
  header.magic = kArenaMagic;
  header.arena_size = size;
  header.memory_limit = host_memory();
  header.cpu_count = header.usable_cpus = static_cast<u32>(::sysconf(_SC_NPROCESSORS_ONLN));
  header.heap_brk = kArenaHeaderSize;
  remember_arena(kept);
}

}  // namespace

HostedImage::~HostedImage() {
  image_ = nullptr;
  kernel_.close(slot_);
}

HostedKernel::HostedKernel() {
  make_arena();
  heap_start();
  pages_start();
  fs::vfs_start();
}

HostedKernel& HostedKernel::get() {
  // Never destroyed: whoever has references to its objects may outlive what is destroyed at the process's
  // end.
  static HostedKernel* const kernel = [] {
    auto* made = new HostedKernel;
    hosted_answer_ring([](void* self, abi::RingOp op,
                          const u64(&args)[6]) { return static_cast<HostedKernel*>(self)->answer(op, args); },
                       made);
    return made;
  }();
  return *kernel;
}

void HostedKernel::set_memory_limit(u64 bytes) {
  arena().memory_limit = bytes;
}

// As the broker answers in a machine. There each image has its number in the one importer; here it has its
// own.
s64 HostedKernel::answer(abi::RingOp op, const u64 (&args)[6]) {
  if (op == abi::RingOp::kHostFile) return host_files_.serve(args);
  if (op == abi::RingOp::kUpper && upper_ != nullptr) return upper_->serve(args[0], args[1], args[2]);
  if (op != abi::RingOp::kImporter) return -ENOSYS;
  if (!in_arena(args[0], args[1]) || !in_arena(args[2], args[3])) return -EFAULT;
  const auto* from = &arena_at<std::byte>(args[0]);
  std::vector<std::byte> bytes(from, from + args[1]);
  abi::ImporterRequest request;
  if (bytes.size() < sizeof request) return -EINVAL;
  std::memcpy(&request, bytes.data(), sizeof request);
  if (request.image >= kMaxImages || importers_[request.image] == nullptr) return -ENOENT;
  importer::Importer& importer = *importers_[request.image];
  request.image = 0;
  std::memcpy(bytes.data(), &request, sizeof request);
  if (!in_arena(request.data_offset, std::min(request.length, abi::kImporterMaxRead))) return -EFAULT;
  return importer.serve(bytes, {&arena_at<std::byte>(args[2]), args[3]}, put_in_arena);
}

void HostedKernel::map(u32 slot, int fd, const std::string& path, abi::ImageKind kind) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) fail("cannot read " + path);
  const auto size = static_cast<u64>(status.st_size);
  if (page_up(size) > kSlotSize) {
    if (kind == abi::ImageKind::kErofs) {
      throw HostedError(path + " is larger than " + std::to_string(kSlotSize / GiB) + " GiB");
    }
    arena().images[slot] = {0, size, 0, static_cast<u32>(kind)};
    return;
  }
  const u64 address = kImageBase + slot * kSlotSize;
  if (::mmap(reinterpret_cast<void*>(address), std::max<u64>(page_up(size), kPageSize), PROT_READ,
             MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_NORESERVE, fd, 0) != reinterpret_cast<void*>(address)) {
    fail("cannot map " + path);
  }
  arena().images[slot] = {address, size, static_cast<u32>(kFirstImageFd) + slot, static_cast<u32>(kind)};
}

void HostedKernel::close(u32 slot) {
  importers_[slot] = nullptr;
  ImageSlot& image = arena().images[slot];
  if (image.address != 0) {
    ::munmap(reinterpret_cast<void*>(image.address), std::max<u64>(page_up(image.size), kPageSize));
  }
  image = {};
  used_[slot] = false;
}

std::unique_ptr<HostedImage> HostedKernel::open(const std::string& path, abi::ImageKind kind) {
  const auto free = std::find(used_.begin(), used_.end(), false);
  if (free == used_.end()) throw HostedError("more than " + std::to_string(kMaxImages) + " images at a time");
  *free = true;
  const auto slot = static_cast<u32>(free - used_.begin());
  std::unique_ptr<HostedImage> opened(new HostedImage(*this, slot));
  if (kind == abi::ImageKind::kHostDirectory) {
    try {
      auto image = fs::AskedImage::open_host(host_files_.add_root(path, false), false);
      if (!image.ok())
        throw HostedError("cannot read " + path + ": " + std::strerror(static_cast<int>(image.error())));
      opened->image_ = std::move(image).value();
    } catch (const std::system_error& error) {
      throw HostedError("cannot read " + path + ": " + error.code().message());
    }
    return opened;
  }
  // The importer keeps descriptors above 2 only.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail("cannot open " + path);
  map(slot, file.get(), path, kind);
  if (kind == abi::ImageKind::kErofs) {
    const char* feature = nullptr;
    auto image = fs::ErofsImage::open(arena().images[slot], feature);
    if (!image.ok()) {
      throw HostedError(
          path + ": " +
          (feature != nullptr ? feature : "the image is damaged: its EROFS superblock makes no sense"));
    }
    opened->image_ = std::move(image).value();
    return opened;
  }
  std::string error;
  const int fds[] = {file.get()};
  importers_[slot] = importer::Importer::start(fds, error);
  if (importers_[slot] == nullptr)
    throw HostedError("cannot start the process that reads " + path + ": " + error);
  if (const std::string problem = importers_[slot]->problem(0); !problem.empty()) {
    throw HostedError("cannot use image " + path + ": " + problem);
  }
  auto image = fs::AskedImage::open_importer(slot, slot);
  if (!image.ok())
    throw HostedError("cannot read " + path + ": " + std::strerror(static_cast<int>(image.error())));
  opened->image_ = std::move(image).value();
  return opened;
}

}  // namespace teacup::host
