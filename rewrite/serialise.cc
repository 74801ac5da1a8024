// Prepared as the blob of kernel/abi/prepared.h: the header, then the tables, each 8-byte aligned.
#include <algorithm>
#include <cstring>

#include "rewrite/prepare.h"

namespace teacup::rewrite {
namespace {

// Lays tables one behind the other. Without a buffer it only counts.
class Layout {
 public:
  explicit Layout(std::byte* buffer) : buffer_(buffer) {}

  abi::PreparedTable put(const void* data, size_t entry, size_t count) {
    abi::PreparedTable table{.offset = static_cast<u32>(at_), .count = static_cast<u32>(count)};
    if (buffer_ && count) std::memcpy(buffer_ + at_, data, entry * count);
    at_ = align_up(at_ + entry * count, 8);
    return table;
  }
  template <typename T>
  abi::PreparedTable put(const std::vector<T>& entries) {
    return put(entries.data(), sizeof(T), entries.size());
  }
  u64 size() const { return at_; }

 private:
  std::byte* buffer_;
  u64 at_ = sizeof(abi::PreparedHeader);
};

u64 lay_out(const Prepared& prepared, std::byte* buffer) {
  std::vector<abi::PreparedSegment> segments;
  for (const TextSegment& s : prepared.segments) {
    segments.push_back({s.file_offset, s.file_size, s.vaddr - prepared.base, s.memory_size});
  }
  std::vector<abi::PreparedPatch> patches;
  std::vector<u8> bytes;
  for (const TextPatch& patch : prepared.patches) {
    patches.push_back({.file_offset = patch.file_offset,
                       .offset = static_cast<u32>(patch.address - prepared.base),
                       .length = static_cast<u16>(patch.bytes.size()),
                       .reserved = 0,
                       .bytes = static_cast<u32>(bytes.size()),
                       .reserved2 = 0});
    bytes.insert(bytes.end(), patch.bytes.begin(), patch.bytes.end());
  }
  std::sort(patches.begin(), patches.end(), [](const abi::PreparedPatch& a, const abi::PreparedPatch& b) {
    return a.file_offset < b.file_offset;
  });
  std::vector<abi::PreparedSite> sites;
  u32 net_sites = 0;
  for (const Site& site : prepared.sites) {
    sites.push_back({.offset = static_cast<u32>(site.address - prepared.base),
                     .kind = site.kind,
                     .tactic = site.tactic,
                     .reason = static_cast<u16>(site.reason)});
    net_sites += site.left_to_net();
  }

  Layout layout(buffer);
  abi::PreparedHeader header{};
  header.magic = abi::kPreparedMagic;
  header.version = abi::kPreparedVersion;
  header.status = prepared.status;
  header.base_vaddr = prepared.base;
  header.object_size = prepared.object_size;
  header.trampoline_offset = prepared.trampolines.empty() ? 0 : prepared.trampoline_address - prepared.base;
  header.trampoline_size = static_cast<u32>(prepared.trampolines.size());
  header.segments = layout.put(segments);
  header.patches = layout.put(patches);
  header.to_guest = layout.put(prepared.to_guest);
  header.to_actual = layout.put(prepared.to_actual);
  header.sites = layout.put(sites);
  header.bytes = layout.put(bytes);
  header.trampoline_bytes = layout.put(prepared.trampolines).offset;
  header.net_sites = net_sites;
  header.prepare_micros = prepared.micros;
  header.size = layout.size();
  if (buffer) std::memcpy(buffer, &header, sizeof header);
  return layout.size();
}

}  // namespace

size_t Prepared::serialised_size() const {
  return lay_out(*this, nullptr);
}

void Prepared::serialise_into(std::span<std::byte> buffer) const {
  if (buffer.size() >= serialised_size()) lay_out(*this, buffer.data());
}

std::vector<std::byte> Prepared::serialise() const {
  std::vector<std::byte> buffer(serialised_size());
  serialise_into(buffer);
  return buffer;
}

}  // namespace teacup::rewrite
