// EROFS as the kernel reads it: everything that can be asked of a hostile image, bounded.
#include <cstring>
#include <deque>
#include <string>
#include <unordered_set>
#include <vector>

#include "fs/erofs.h"
#include "fs/vfs.h"
#include "kernel/base/arena_header.h"
#include "kernel/frame/heap.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/support/machine.h"

namespace teacup::fuzz {
namespace {

constexpr u64 kRoom = 64 * MiB;  // for an image
constexpr size_t kMostNodes = 200;
constexpr size_t kMostEntries = 200;
constexpr u64 kMostBytes = 256 * KiB;  // of one file

class Place {
 public:
  Place() {
    void* at = ::mmap(reinterpret_cast<void*>(kImageBase), kRoom, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) std::abort();
    fs::vfs_start();
  }

  // The image ends where the next page is missing: what is read behind it is a fault.
  ImageSlot put(std::span<const u8> data) {
    const u64 pages = page_up(data.size() + 1);
    if (pages != pages_) {
      ::mprotect(reinterpret_cast<void*>(kImageBase), kRoom - kPageSize, PROT_READ | PROT_WRITE);
      ::mprotect(reinterpret_cast<void*>(kImageBase + pages), kPageSize, PROT_NONE);
      pages_ = pages;
    }
    const u64 start = kImageBase + pages - align_up(data.size(), 8);
    std::memcpy(reinterpret_cast<void*>(start), data.data(), data.size());
    return {start, data.size(), kFirstImageFd, static_cast<u32>(abi::ImageKind::kErofs)};
  }

 private:
  TestMachine machine_;
  u64 pages_ = 0;
};

struct Sink final : fs::ImageDirSink {
  bool add(std::string_view name, u64 id, u8, u64) override {
    if (entries.size() == kMostEntries) return false;
    entries.emplace_back(name, id);
    return true;
  }
  std::vector<std::pair<std::string, u64>> entries;
};

class Explorer {
 public:
  explicit Explorer(fs::Image& image)
      : image_(image), buffer_(HeapArray<std::byte>::create(64 * KiB).value()) {}

  void explore() {
    const auto root = image_.root();
    if (!root.ok()) return;
    std::deque<u64> todo{root.value().id};
    std::unordered_set<u64> seen{root.value().id};
    for (size_t nodes = 0; !todo.empty() && nodes < kMostNodes; nodes++) {
      const u64 id = todo.front();
      todo.pop_front();
      for (const u64 child : look_at(id)) {
        if (seen.insert(child).second) todo.push_back(child);
      }
    }
  }

 private:
  std::vector<u64> look_at(u64 id) {
    std::vector<u64> children;
    const auto node = image_.node(id);
    if (!node.ok()) return children;
    char text[4096];
    const auto names = image_.list_xattrs(id, text);
    if (names.ok() && names.value() > 0 && names.value() < sizeof text) {
      std::byte value[512];
      static_cast<void>(image_.get_xattr(id, {text, std::strlen(text)}, value));
    }
    switch (node.value().mode & abi::kS_IFMT) {
      case abi::kS_IFDIR: {
        Sink sink;
        u64 cursor = 0;
        static_cast<void>(image_.read_directory(id, sink, cursor));
        for (const auto& [name, child] : sink.entries) {
          static_cast<void>(image_.lookup(id, name));
          children.push_back(child);
        }
        break;
      }
      case abi::kS_IFLNK:
        static_cast<void>(image_.readlink(id, text));
        break;
      case abi::kS_IFREG:
        read(id, node.value().size);
        break;
      default:
        break;
    }
    return children;
  }

  void read(u64 id, u64 size) {
    u64 done = 0;
    for (u64 at = 0; at < size && done < kMostBytes;) {
      const auto span = image_.data(id, at);
      if (!span.ok() || span.value().length == 0) return;
      u64 length = std::min(span.value().length, size - at);
      if (span.value().kind == fs::ImageSpan::kMapped) {
        volatile std::byte sum{};
        for (u64 i = 0; i < length; i += 512) sum = sum ^ span.value().data[i];
        sum = sum ^ span.value().data[length - 1];
      } else if (span.value().kind == fs::ImageSpan::kFetch) {
        length = std::min<u64>(length, buffer_.size());
        const auto got = image_.fetch(id, at, {buffer_.data(), length});
        if (!got.ok() || got.value() == 0) return;
        length = got.value();
      }
      at += length;
      done += std::min<u64>(length, 4096) + 4096;
    }
    if (size > 0) static_cast<void>(image_.data(id, size - 1));
  }

  fs::Image& image_;
  HeapArray<std::byte> buffer_;
};

}  // namespace
}  // namespace teacup::fuzz

extern "C" int LLVMFuzzerTestOneInput(const teacup::u8* data, size_t size) {
  using namespace teacup;
  static auto* const place = new fuzz::Place;
  if (size > fuzz::kRoom / 2) return 0;
  const ImageSlot slot = place->put({data, size});
  const char* feature = nullptr;
  auto image = fs::ErofsImage::open(slot, feature);
  if (image.ok()) fuzz::Explorer(*image.value()).explore();
  return 0;
}
