#include "host/debug/perf_map.h"

#include <algorithm>
#include <cstdio>

namespace teacup::host {

namespace {

void add_line(std::string& text, u64 start, u64 end, const std::string& name) {
  char numbers[48];
  std::snprintf(numbers, sizeof numbers, "%llx %llx ", static_cast<unsigned long long>(start),
                static_cast<unsigned long long>(end - start));
  text += numbers + name + '\n';
}

void add_functions(std::string& text, const ProgramMapping& mapping) {
  const ProgramFile& file = *mapping.file;
  const auto& symbols = file.functions().symbols();
  u64 low = mapping.start - mapping.bias, high = mapping.end - mapping.bias;
  for (size_t i = 0; i < symbols.size(); i++) {
    const rewrite::Symbol& symbol = symbols[i];
    bool is_alias = i > 0 && symbols[i - 1].value == symbol.value;
    if (is_alias || symbol.value < low || symbol.value >= high) continue;
    u64 next = high;
    for (size_t j = i + 1; j < symbols.size() && next == high; j++) {
      if (symbols[j].value > symbol.value) next = std::min(high, symbols[j].value);
    }
    u64 end = symbol.size != 0 ? std::min(high, symbol.value + symbol.size) : next;
    std::string_view name = file.object().symbol_name(symbol);
    if (name.empty() || end <= symbol.value) continue;
    add_line(text, mapping.bias + symbol.value, mapping.bias + end, demangled(name));
  }
}

// Functions that no symbol names, but the unwind tables know: by their file and place in it.
void add_unnamed(std::string& text, const ProgramMapping& mapping) {
  const ProgramFile& file = *mapping.file;
  const rewrite::UnwindTable& unwind = file.functions().unwind();
  std::string base = file.path().substr(file.path().rfind('/') + 1);
  u64 low = mapping.start - mapping.bias, high = mapping.end - mapping.bias;
  for (size_t i = 0; i < unwind.size(); i++) {
    u64 begin = unwind.begin(i);
    if (begin < low || begin >= high || !file.name(begin).empty()) continue;
    auto frame = unwind.find(begin);
    if (!frame) continue;
    char offset[24];
    std::snprintf(offset, sizeof offset, "+%#llx", static_cast<unsigned long long>(begin));
    add_line(text, mapping.bias + begin, mapping.bias + std::min(frame->end, high), base + offset);
  }
}

void add_trampolines(std::string& text, const ProgramMapping& mapping, u32 prepare_flags) {
  const ProgramFile& file = *mapping.file;
  for (const rewrite::Site& site : file.prepared(prepare_flags).sites) {
    if (site.tactic == abi::kTacticNet) continue;
    std::string name = file.name(site.address);
    name.resize(std::min(name.find('+'), name.size()));
    add_line(text, mapping.bias + site.trampoline, mapping.bias + site.trampoline_end,
             (name.empty() ? "?" : name) + " [trampoline]");
  }
}

}  // namespace

std::string perf_map(const Program& program, u32 prepare_flags) {
  std::string text;
  for (const ProgramMapping& mapping : program.mappings) {
    if (!mapping.file) continue;
    if (mapping.is_trampolines) {
      add_trampolines(text, mapping, prepare_flags);
    } else {
      add_functions(text, mapping);
      add_unnamed(text, mapping);
    }
  }
  return text;
}

}  // namespace teacup::host
