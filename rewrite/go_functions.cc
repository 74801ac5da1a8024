// Go binaries hold no unwind tables and are often stripped, but the runtime itself needs a table of all
// functions, the pclntab, so it is always there. Its header (Go's src/runtime/symtab.go,
// debug/gosym/pclntab.go) has changed twice:
//   1.2   fffffffb 0000 minLC ptrsize, nfunc, then the table: pairs of pointers (entry, offset of the rest)
//   1.16  fffffffa ..., nfunc, nfiles, five offsets, the last the table's; pairs of pointers
//   1.18  fffffff0, 1.20 fffffff1 ..., nfunc, nfiles, text start, five offsets; pairs of u32, entry from text
//   start
// The linker of a position-independent program leaves pointers to relocations, with 0 in the file: the text
// start is looked up there. The pairs of pointers of older programs are not, and such programs go without.
#include <algorithm>

#include "rewrite/functions.h"

namespace teacup::rewrite {
namespace {

constexpr u32 kGo12 = 0xfffffffb;
constexpr u32 kGo116 = 0xfffffffa;
constexpr u32 kGo118 = 0xfffffff0;
constexpr u32 kGo120 = 0xfffffff1;
constexpr u64 kMostFunctions = 1 << 24;

std::optional<u64> magic_at(Bytes bytes, u64 at) {
  std::optional<u64> header = load<u64>(bytes, at);
  if (!header || (*header & 0xff00ffff00000000) != 0x0800000000000000) return std::nullopt;
  u32 magic = static_cast<u32>(*header);
  bool one_byte_units = ((*header >> 48) & 0xff) == 1;
  bool known = magic == kGo12 || magic == kGo116 || magic == kGo118 || magic == kGo120;
  return known && one_byte_units ? std::optional<u64>(magic) : std::nullopt;
}

// `bytes` begin at `address`.
std::vector<u64> parse(const ElfObject& object, Bytes bytes, u64 address) {
  std::vector<u64> entries;
  std::optional<u64> magic = magic_at(bytes, 0);
  if (!magic) return entries;
  auto word = [&](size_t index) { return load<u64>(bytes, 8 + index * 8).value_or(0); };
  u64 count = word(0);
  if (count == 0 || count > kMostFunctions) return entries;
  bool narrow = *magic == kGo118 || *magic == kGo120;
  u64 text = narrow ? word(2) : 0;
  if (narrow && text == 0) text = object.relocated(address + 24);
  u64 table = *magic == kGo12 ? 16 : word(narrow ? 7 : 6);
  entries.reserve(count + 1);
  for (u64 i = 0; i <= count; i++) {  // the last entry holds only the end
    std::optional<u64> entry = load<u64>(bytes, table + i * 16);
    if (narrow) {
      std::optional<u32> offset = load<u32>(bytes, table + i * 8);
      entry = offset ? std::optional<u64>(text + *offset) : std::nullopt;
    }
    bool last = i == count;
    if (!entry || (!last && !object.is_text(*entry)) || (i && *entry < entries.back())) return {};
    entries.push_back(*entry);
  }
  return entries;
}

}  // namespace

std::vector<u64> read_go_functions(const ElfObject& object) {
  for (const char* name : {".gopclntab", ".data.rel.ro.gopclntab"}) {
    u64 address = 0;
    Bytes bytes = object.section(name, &address);
    std::vector<u64> entries = parse(object, bytes, address);
    if (!entries.empty()) return entries;
  }
  // Linking with C code may have merged it into another section, but leaves the build information.
  if (object.has_sections() && object.section(".go.buildinfo").empty()) return {};
  for (const Segment& segment : object.segments()) {
    if (segment.executable) continue;
    Bytes bytes = object.from(segment.vaddr);
    for (u64 at = 0; at + 8 <= bytes.size(); at += 32) {
      if (!magic_at(bytes, at)) continue;
      std::vector<u64> entries = parse(object, bytes.subspan(at), segment.vaddr + at);
      if (!entries.empty()) return entries;
    }
  }
  return {};
}

}  // namespace teacup::rewrite
