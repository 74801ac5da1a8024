// ext2/3/4 and squashfs as the importer reads them, in this process: every operation on all that is found,
// bounded.
#include <deque>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "host/importer/imported_image.h"
#include "tests/fuzz/fuzz.h"

namespace teacup::fuzz {
namespace {

constexpr size_t kMostNodes = 100;
constexpr u64 kMostTrips = 20;  // for one directory or file

class Explorer {
 public:
  explicit Explorer(importer::ImportedImage& image)
      : image_(image), words_(abi::kImporterSufficientResponse / 8) {}

  void explore() {
    if (ask(abi::ImporterOp::kInfo, 0, 0) < 0) return;
    const u64 root =
        reinterpret_cast<const abi::ImporterInfo*>(response() + sizeof(abi::ImporterResponse))->root;
    std::deque<u64> todo{root};
    std::unordered_set<u64> seen{root};
    for (size_t nodes = 0; !todo.empty() && nodes < kMostNodes; nodes++) {
      const u64 number = todo.front();
      todo.pop_front();
      look_at(number);
      for (const u64 child : children(number)) {
        if (seen.insert(child).second) todo.push_back(child);
      }
    }
  }

 private:
  const std::byte* response() const { return reinterpret_cast<const std::byte*>(words_.data()); }

  s64 ask(abi::ImporterOp op, u64 inode, u64 cursor, u64 length = 0, std::string_view name = {}) {
    abi::ImporterRequest request{};
    request.op = op;
    request.inode = inode;
    request.cursor = cursor;
    request.length = length;
    request.name_length = static_cast<u32>(name.size());
    const auto room = std::as_writable_bytes(std::span(words_));
    const s64 result = image_.serve(request, name, room);
    if (result > static_cast<s64>(room.size())) std::abort();
    return result;
  }

  u64 next() const { return reinterpret_cast<const abi::ImporterResponse*>(response())->next; }

  void look_at(u64 number) {
    using abi::ImporterOp;
    if (ask(ImporterOp::kInode, number, 0) < 0) return;
    const u64 size =
        reinterpret_cast<const abi::ImporterInode*>(response() + sizeof(abi::ImporterResponse))->size;
    ask(ImporterOp::kXattrs, number, 0);
    ask(ImporterOp::kReadLink, number, 0);
    u64 cursor = 0;
    for (u64 trips = 0; trips < kMostTrips; trips++) {
      if (ask(ImporterOp::kExtents, number, cursor) < 0 || next() == 0) break;
      cursor = next();
    }
    for (const u64 at : {u64{0}, u64{64 * KiB}, size / 2, size - 1})
      ask(ImporterOp::kRead, number, at, 64 * KiB);
  }

  std::vector<u64> children(u64 number) {
    std::vector<u64> found;
    std::string name;
    u64 cursor = 0;
    for (u64 trips = 0; trips < kMostTrips; trips++) {
      const s64 result = ask(abi::ImporterOp::kReadDirectory, number, cursor);
      if (result < 0) break;
      abi::ImporterRecords<abi::ImporterEntry> entries({response(), static_cast<size_t>(result)});
      while (const abi::ImporterEntry* entry = entries.next()) {
        found.push_back(entry->inode.number);
        name = entry->name();
      }
      cursor = next();
      if (cursor == 0) break;
    }
    if (!name.empty() && name.size() <= 255) ask(abi::ImporterOp::kLookup, number, 0, 0, name);
    return found;
  }

  importer::ImportedImage& image_;
  std::vector<u64> words_;
};

}  // namespace
}  // namespace teacup::fuzz

extern "C" int LLVMFuzzerTestOneInput(const teacup::u8* data, size_t size) {
  using namespace teacup;
  static fuzz::InputFile file;
  std::string problem;
  const int fd = file.put({data, size});
  if (!importer::ImportedImage::load_library(fd, problem)) return 0;
  const auto image = importer::ImportedImage::open(fd, problem);
  if (image != nullptr) fuzz::Explorer(*image).explore();
  return 0;
}
