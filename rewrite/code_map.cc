// Where no table says where a function begins, decoding starts at many places before the site. x86 decoding
// falls into step by itself within a few instructions, so nearly all starts arrive at the same boundaries if
// the bytes are code; in data they do so less often and run into invalid opcodes. Only boundaries on which
// all starts agree count.
#include "rewrite/code_map.h"

#include <algorithm>

namespace teacup::rewrite {
namespace {

constexpr u64 kNearestStart = 24;
constexpr u64 kFurthestStart = 72;
constexpr u64 kResynchronisedLength = 512;
// Longer gaps are text of which nothing is known, not padding or a few functions without unwind tables.
constexpr u64 kLongestGap = 1 * MiB;

void decode_into(Region& region, Bytes bytes, u64 begin, u64 end) {
  u64 address = begin;
  while (address < end) {
    std::optional<Instruction> in = isa::decode(bytes.subspan(address - begin), address);
    if (!in || in->end() > end) break;
    region.code.push_back(*in);
    address = in->end();
  }
  region.decoded_end = address;
}

}  // namespace

std::optional<size_t> Region::index_of(u64 address) const {
  auto found = std::lower_bound(code.begin(), code.end(), address,
                                [](const Instruction& in, u64 a) { return in.address < a; });
  if (found == code.end() || found->address != address) return std::nullopt;
  return static_cast<size_t>(found - code.begin());
}

size_t Region::first_after(u64 address) const {
  auto found = std::upper_bound(code.begin(), code.end(), address,
                                [](u64 a, const Instruction& in) { return a < in.end(); });
  return static_cast<size_t>(found - code.begin());
}

const Region& CodeMap::at(u64 address) {
  auto after = regions_.upper_bound(address);
  if (after != regions_.begin()) {
    const Region& before = *std::prev(after)->second;
    if (address < before.function.end) return before;
  }
  auto region = std::make_unique<Region>();
  region->function = functions_.find(address);
  Function& function = region->function;
  if (!function.certain() && function.end - function.begin > kLongestGap) function.origin = Origin::kUnknown;
  region->trusted_begin = function.begin;
  region->decoded_end = function.begin;
  if (function.origin == Origin::kUnknown) {
    // Not decoded at all: whoever needs an instruction here asks for resynchronised().
    region->trusted_begin = function.end;
  } else {
    decode_into(*region, object_.at(function.begin, function.end - function.begin), function.begin,
                function.end);
  }
  regions_[function.begin] = region.get();
  storage_.push_back(std::move(region));
  return *storage_.back();
}

const Region* CodeMap::resynchronised(u64 address) {
  if (auto found = resynchronised_.find(address); found != resynchronised_.end()) return found->second.get();
  std::unique_ptr<Region>& slot = resynchronised_[address];
  const Segment& segment = *object_.segment_at(address);
  if (address - segment.vaddr < kFurthestStart) return nullptr;
  // votes[i]: how many decodes have a boundary i bytes before the site.
  std::vector<unsigned> votes(kFurthestStart + 1);
  unsigned arrived = 0, passed = 0;
  for (u64 back = kNearestStart; back <= kFurthestStart; back++) {
    std::vector<u64> boundaries;
    u64 at = address - back;
    while (at < address) {
      std::optional<Instruction> in =
          isa::decode(object_.at(at, std::min<u64>(15, segment.file_end() - at)), at);
      if (!in) break;
      boundaries.push_back(at);
      at = in->end();
    }
    if (at < address) continue;  // one that ran into what is no instruction does not count
    if (at > address) {
      passed++;
      continue;
    }
    arrived++;
    for (u64 boundary : boundaries) votes[address - boundary]++;
  }
  if (arrived < (kFurthestStart - kNearestStart) / 2 || passed * 8 > arrived) return nullptr;
  u64 begin = address;
  for (u64 back = 1; back < kNearestStart; back++) {
    if (votes[back] == arrived) begin = address - back;
  }
  auto region = std::make_unique<Region>();
  u64 end = std::min(begin + kResynchronisedLength, segment.file_end());
  region->function = {.begin = begin, .end = end, .origin = Origin::kUnknown};
  region->trusted_begin = begin;
  decode_into(*region, object_.at(begin, end - begin), begin, end);
  slot = std::move(region);
  return slot.get();
}

std::vector<const Region*> CodeMap::around(u64 begin, u64 end) {
  std::vector<const Region*> regions;
  const Segment* segment = object_.segment_at(begin);
  if (!segment) return regions;
  end = std::min(end, segment->file_end());
  for (u64 address = begin; address < end;) {
    const Region& region = at(address);
    regions.push_back(&region);
    address = std::max(region.function.end, address + 1);
  }
  return regions;
}

}  // namespace teacup::rewrite
