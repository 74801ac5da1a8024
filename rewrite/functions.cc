#include "rewrite/functions.h"

#include <algorithm>
#include <cstdio>

namespace teacup::rewrite {

FunctionTable::FunctionTable(const ElfObject& object) : object_(object), unwind_(object) {}

const std::vector<Symbol>& FunctionTable::symbols() const {
  if (!symbols_) {
    symbols_ = object_.text_symbols();
    std::sort(symbols_->begin(), symbols_->end(), [](const Symbol& a, const Symbol& b) {
      return a.value != b.value ? a.value < b.value : a.size > b.size;
    });
    u64 reach = 0;
    reaches_.reserve(symbols_->size());
    for (const Symbol& symbol : *symbols_) {
      reach = std::max(reach, symbol.value + symbol.size);
      reaches_.push_back(reach);
    }
  }
  return *symbols_;
}

const std::vector<u64>& FunctionTable::go_functions() const {
  if (!go_) go_ = read_go_functions(object_);
  return *go_;
}

std::optional<Function> FunctionTable::from_symbols(u64 address, Neighbours& neighbours) const {
  const std::vector<Symbol>& all = symbols();
  auto after = std::upper_bound(all.begin(), all.end(), address,
                                [](u64 a, const Symbol& symbol) { return a < symbol.value; });
  if (after != all.end()) neighbours.after = std::min(neighbours.after, after->value);
  auto index = static_cast<size_t>(after - all.begin());
  while (index > 0 && reaches_[index - 1] > address) {
    const Symbol& symbol = all[--index];
    if (symbol.function && address < symbol.value + symbol.size) {
      return Function{.begin = symbol.value, .end = symbol.value + symbol.size, .origin = Origin::kSymbol};
    }
  }
  if (after != all.begin()) {
    auto before = static_cast<size_t>(after - all.begin()) - 1;
    u64 known = all[before].function ? std::max(all[before].value, std::min(reaches_[before], address)) : 0;
    neighbours.before = std::max(neighbours.before, known);
  }
  return std::nullopt;
}

std::optional<Function> FunctionTable::from_go(u64 address, Neighbours& neighbours) const {
  const std::vector<u64>& all = go_functions();
  auto after = std::upper_bound(all.begin(), all.end(), address);
  if (after != all.begin() && after != all.end()) {
    return Function{.begin = *(after - 1), .end = *after, .origin = Origin::kGo};
  }
  if (after != all.end()) neighbours.after = std::min(neighbours.after, *after);
  if (after != all.begin()) neighbours.before = std::max(neighbours.before, *(after - 1));
  return std::nullopt;
}

Function FunctionTable::find(u64 address) const {
  const Segment& segment = *object_.segment_at(address);
  auto clip = [&](Function function) {
    function.begin = std::max(function.begin, segment.vaddr);
    function.end = std::min(function.end, segment.file_end());
    return function;
  };
  if (std::optional<Frame> frame = unwind_.find(address)) {
    // A signal trampoline's FDE begins a byte early, so that unwinders, which look up the address before a
    // return address, find it; that byte is padding.
    u64 begin = frame->begin + (frame->signal_frame ? 1 : 0);
    if (address >= begin) {
      return clip({begin, frame->end, Origin::kUnwind});
    }
  }
  Neighbours neighbours{unwind_.end_before(address), unwind_.begin_after(address)};
  if (std::optional<Function> function = from_symbols(address, neighbours)) return clip(*function);
  if (std::optional<Function> function = from_go(address, neighbours)) return clip(*function);
  bool known = neighbours.before > segment.vaddr && neighbours.before <= address;
  Function gap{.begin = known ? neighbours.before : segment.vaddr,
               .end = std::max(neighbours.after, address + 1),
               .origin = known ? Origin::kGap : Origin::kUnknown};
  return clip(gap);
}

std::string FunctionTable::name(u64 address) const {
  const std::vector<Symbol>& all = symbols();
  auto after = std::upper_bound(all.begin(), all.end(), address,
                                [](u64 a, const Symbol& symbol) { return a < symbol.value; });
  // The last function at or before the address; among those at one address, the longest name-bearing comes
  // first.
  while (after != all.begin() && !(after - 1)->function) --after;
  if (after == all.begin()) return {};
  const Symbol* symbol = &*(after - 1);
  while (symbol != all.data() && (symbol - 1)->value == symbol->value && (symbol - 1)->function) --symbol;
  std::string name(object_.symbol_name(*symbol));
  u64 into = address - symbol->value;
  bool inside = symbol->size == 0 || into < symbol->size;
  if (into == 0) return name;
  char text[32];
  std::snprintf(text, sizeof text, "%s+0x%llx", inside ? "" : "?", static_cast<unsigned long long>(into));
  return name + text;
}

}  // namespace teacup::rewrite
