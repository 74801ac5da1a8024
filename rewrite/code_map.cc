// Where no table says where a function begins, decoding starts at many places before the site. x86 decoding
// falls into step by itself within a few instructions, so nearly all starts arrive at the same boundaries if
// the bytes are code; in data they do so less often and run into invalid opcodes. Only boundaries on which
// all starts agree count.
#include "rewrite/code_map.h"

#include <algorithm>
#include <bit>

namespace teacup::rewrite {
namespace {

constexpr u64 kNearestStart = 24;
constexpr u64 kFurthestStart = 112;
constexpr u64 kSettling = 20;
constexpr u64 kResynchronisedLength = 512;
// Longer gaps are text of which nothing is known, not padding or a few functions without unwind tables.
constexpr u64 kLongestGap = 1 * MiB;

void decode_into(Region& region, Bytes bytes, u64 begin, u64 end) {
  u64 address = begin;
  Instruction in;
  while (address < end) {
    if (!isa::decode(bytes.subspan(address - begin), address, in)) break;
    region.code.push_back(in);
    address = in.end();
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

bool CodeMap::steps_over(u64 address) const {
  Function function = functions_.find(address);
  if (!function.certain()) return false;
  Bytes bytes = object_.at(function.begin, function.end - function.begin);
  Instruction in;
  u64 at = function.begin;
  while (at < address && isa::decode(bytes.subspan(at - function.begin), at, in)) at = in.end();
  return at > address;
}

CodeMap::Votes CodeMap::vote(u64 address) const {
  Votes votes;
  const Segment& segment = *object_.segment_at(address);
  if (address - segment.vaddr < kFurthestStart) return votes;
  // Every byte before the address is decoded once; a decode from any of them is then a walk over lengths.
  Bytes bytes = object_.from(address - kFurthestStart);
  u8 lengths[kFurthestStart];
  Instruction in;
  for (u64 at = 0; at < kFurthestStart; at++) {
    lengths[at] = isa::decode(bytes.subspan(at), 0, in) ? in.length : 0;
  }
  votes.agreed = ~u64{1};
  for (u64 back = kFurthestStart; back >= kNearestStart; back--) {
    u64 at = kFurthestStart - back;
    u64 near = 0;  // bit i: a boundary i bytes before the site
    while (at < kFurthestStart && lengths[at]) {
      if (kFurthestStart - at < 64) near |= u64{1} << (kFurthestStart - at);
      at += lengths[at];
    }
    if (at > kFurthestStart) votes.passed++;
    if (at != kFurthestStart) continue;  // it ran into what is no instruction, or past the site
    votes.arrived++;
    u64 settled = back - kSettling;  // from there on it has fallen into step, if ever
    votes.agreed &= near | (settled < 63 ? ~u64{0} << (settled + 1) : 0);
  }
  return votes;
}

bool CodeMap::in_step(const Votes& votes) {
  return votes.arrived >= (kFurthestStart - kNearestStart) / 3 && votes.passed * 8 <= votes.arrived;
}

const Region* CodeMap::resynchronised(u64 address) {
  if (auto found = resynchronised_.find(address); found != resynchronised_.end()) return found->second.get();
  std::unique_ptr<Region>& slot = resynchronised_[address];
  Votes votes = vote(address);
  if (!in_step(votes)) return nullptr;
  u64 begin = address - (votes.agreed ? 63 - static_cast<u64>(std::countl_zero(votes.agreed)) : 0);
  const Segment& segment = *object_.segment_at(address);
  u64 end = std::min(begin + kResynchronisedLength, segment.file_end());
  auto region = std::make_unique<Region>();
  region->function = {.begin = begin, .end = end, .origin = Origin::kUnknown};
  region->trusted_begin = begin;
  decode_into(*region, object_.at(begin, end - begin), begin, end);
  slot = std::move(region);
  return slot.get();
}

std::vector<const Region*> CodeMap::around(u64 address, u64 distance) {
  std::vector<const Region*> regions;
  const Segment& segment = *object_.segment_at(address);
  u64 begin = address - std::min(distance, address - segment.vaddr);
  u64 end = std::min(address + distance, segment.file_end());
  for (u64 at = begin; at < end;) {
    const Region& region = this->at(at);
    regions.push_back(&region);
    at = std::max(region.function.end, at + 1);
  }
  return regions;
}

}  // namespace teacup::rewrite
