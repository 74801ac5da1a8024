#include "host/broker/cpuid_table.h"

#include <cpuid.h>

#include <algorithm>

namespace teacup::host {

namespace {

class Reader {
 public:
  explicit Reader(std::span<abi::CpuidEntry> table) : table_(table) {}

  abi::CpuidEntry ask(u32 leaf, u32 subleaf) {
    abi::CpuidEntry entry{leaf, subleaf, 0, 0, 0, 0};
    __cpuid_count(leaf, subleaf, entry.eax, entry.ebx, entry.ecx, entry.edx);
    if (count_ < table_.size()) table_[count_++] = entry;
    return entry;
  }
  // All subleaves, as each leaf says how many there are.
  void ask_all(u32 leaf) {
    constexpr u32 kMost = 40;
    abi::CpuidEntry first = ask(leaf, 0);
    for (u32 subleaf = 1; subleaf < kMost; subleaf++) {
      bool more = false;
      switch (leaf) {
        case 4:
        case 0x8000001d:
          more = (table_last().eax & 0x1f) != 0;  // a type of cache
          break;
        case 7:
          more = subleaf <= first.eax;
          break;
        case 0xb:
        case 0x1f:
          more = (table_last().ecx >> 8 & 0xff) != 0;  // a level of topology
          break;
        case 0xd:
          more = subleaf < 32;  // glibc asks for each
          break;
        default:
          break;
      }
      if (!more) return;
      ask(leaf, subleaf);
    }
  }
  u32 count() const { return count_; }

 private:
  const abi::CpuidEntry& table_last() const { return table_[count_ - 1]; }

  std::span<abi::CpuidEntry> table_;
  u32 count_ = 0;
};

}  // namespace

u32 read_cpuid(std::span<abi::CpuidEntry> table) {
  constexpr u32 kMostBasic = 0x20, kExtended = 0x80000000, kMostExtended = kExtended + 0x28;
  Reader reader(table);
  u32 last = std::min(reader.ask(0, 0).eax, kMostBasic);
  for (u32 leaf = 1; leaf <= last; leaf++) reader.ask_all(leaf);
  last = std::min(reader.ask(kExtended, 0).eax, kMostExtended);
  for (u32 leaf = kExtended + 1; leaf <= last; leaf++) reader.ask_all(leaf);
  return reader.count();
}

}  // namespace teacup::host
