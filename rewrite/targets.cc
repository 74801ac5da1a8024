// A window may be entered at its first byte only. Whatever else could be jumped to must be known, so all of
// these count:
//
//   - branches in the functions near a site, decoded; near stretches of which no bounds are known, every byte
//   that
//     could be a short branch;
//   - long branches, calls and PC-relative operands anywhere in the text, decoded or not
//   (isa::find_references): code
//     of one function jumps into another's middle (gcc's .cold parts), and an address taken may be called;
//   - jump tables: from each address that text takes, 32-bit offsets to itself, for as long as they lead into
//   text;
//   - relocations: addresses that the dynamic linker writes down, absolute jump tables among them;
//   - in a non-relocatable executable, every word of data and every immediate that is an address there;
//   - landing pads of exceptions, symbols, entry points, beginnings of functions.
//
// Those that work on raw bytes see targets where there are none. One inside an instruction of a function that
// decodes from end to end is such, and is left out; all others count. (Real code does jump into instructions,
// behind a lock prefix for one, so decoded branches always count.)
#include "rewrite/targets.h"

#include <elf.h>

#include <algorithm>
#include <set>

namespace teacup::rewrite {
namespace {

// What is looked at around a site: further than short branches and all tactics reach.
constexpr u64 kNear = 192;
constexpr u64 kLongestJumpTable = 4096;

class Finder {
 public:
  Finder(const ElfObject& object, const FunctionTable& functions, CodeMap& code,
         const std::vector<u64>& sites)
      : object_(object), functions_(functions), code_(code), wanted_(object.base(), object.end()) {
    for (u64 site : sites) wanted_.add(std::max(site, object.base() + kNear) - kNear, site + kNear);
  }

  Targets find(const std::vector<u64>& sites) {
    for (u64 site : sites) add_decoded(site);
    add_references();
    add_relocations();
    if (!object_.relocatable()) add_absolute();
    add_functions();
    add_guesses();
    targets_.seal();
    return std::move(targets_);
  }

 private:
  void add(u64 address) {
    if (wanted_.may_hold(address)) targets_.add(address);
  }
  void guess(u64 address) {
    if (wanted_.may_hold(address)) guesses_.push_back(address);
  }

  void add_guesses() {
    std::sort(guesses_.begin(), guesses_.end());
    guesses_.erase(std::unique(guesses_.begin(), guesses_.end()), guesses_.end());
    for (u64 address : guesses_) {
      if (object_.from(address).empty()) continue;
      const Region& region = code_.at(address);
      bool whole = region.function.certain() && region.complete();
      if (!whole || region.index_of(address)) targets_.add(address);
    }
  }

  void add_decoded(u64 site) {
    const Segment& segment = *object_.segment_at(site);
    u64 begin = site - std::min(site - segment.vaddr, kNear);
    u64 end = std::min(segment.file_end(), site + kNear);
    for (const Region* region : code_.around(site, kNear)) {
      if (!region->complete()) {
        add_possible_short_branches(std::max(begin, region->function.begin),
                                    std::min(end, region->function.end));
      }
      if (!seen_.insert(region->function.begin).second) continue;
      for (const Instruction& in : region->code) {
        if (in.target) add(in.target);
      }
      add_jump_tables_of(*region);
      if (region->function.origin != Origin::kUnwind) continue;
      if (std::optional<Frame> frame = functions_.unwind().find(region->function.begin)) {
        for (u64 pad : functions_.unwind().landing_pads(*frame)) add(pad);
      }
    }
  }

  // Whatever another address taken may cut short: all that tables of this function can lead to within it.
  void add_jump_tables_of(const Region& region) {
    const std::vector<Instruction>& code = region.code;
    bool jumps = std::any_of(code.begin(), code.end(),
                             [](const Instruction& in) { return in.flow == Flow::kIndirectJump; });
    if (!jumps) return;
    for (const Instruction& in : code) {
      if (in.pc_relative)
        add_jump_table(in.target, kLongestJumpTable, region.function.begin, region.function.end);
    }
  }

  void add_possible_short_branches(u64 begin, u64 end) {
    Bytes bytes = object_.from(begin);
    Instruction in;
    for (u64 i = 0; i + 1 < bytes.size() && begin + i < end; i++) {
      if (isa::decode(bytes.subspan(i, 2), begin + i, in) && in.branch_field == 1) guess(in.target);
    }
  }

  void add_references() {
    std::vector<u64> found, taken;
    for (const Segment& segment : object_.segments()) {
      if (!segment.executable) continue;
      isa::find_references(object_.from(segment.vaddr), segment.vaddr, wanted_, found, taken);
    }
    guesses_.insert(guesses_.end(), found.begin(), found.end());
    std::sort(taken.begin(), taken.end());
    taken.erase(std::unique(taken.begin(), taken.end()), taken.end());
    for (size_t i = 0; i < taken.size(); i++) {
      u64 room = i + 1 < taken.size() ? (taken[i + 1] - taken[i]) / 4 : kLongestJumpTable;
      add_jump_table(taken[i], std::min(room, kLongestJumpTable), 0, ~u64{0});
    }
  }

  // A table of 32-bit distances from itself; of its targets, those in [begin, end).
  void add_jump_table(u64 table, u64 most_entries, u64 begin, u64 end) {
    Bytes bytes = object_.from(table);
    for (u64 i = 0; i < most_entries; i++) {
      std::optional<s32> entry = load<s32>(bytes, i * 4);
      if (!entry) return;
      u64 target = table + static_cast<u64>(s64{*entry});
      if (!object_.is_text(target)) return;
      if (target >= begin && target < end) guess(target);
    }
  }

  void add_relocations() {
    add_rela(object_.dynamic(DT_RELA), object_.dynamic(DT_RELASZ));
    add_rela(object_.dynamic(DT_JMPREL), object_.dynamic(DT_PLTRELSZ));
    add_relr(object_.dynamic(36), object_.dynamic(35));  // DT_RELR, DT_RELRSZ
    for (s64 tag : {DT_INIT, DT_FINI}) add(object_.dynamic(tag));
  }

  void add_rela(u64 table, u64 size) {
    Bytes bytes = object_.at(table, size);
    for (u64 at = 0; at + sizeof(Elf64_Rela) <= bytes.size(); at += sizeof(Elf64_Rela)) {
      Elf64_Rela entry = *load<Elf64_Rela>(bytes, at);
      u64 type = ELF64_R_TYPE(entry.r_info);
      if (type == R_X86_64_RELATIVE || type == R_X86_64_IRELATIVE || type == R_X86_64_64) {
        add(static_cast<u64>(entry.r_addend));
      }
      // Text that the dynamic linker writes to must stay where it is.
      if (!wanted_.may_hold(entry.r_offset) && !wanted_.may_hold(entry.r_offset + 7)) continue;
      for (u64 byte = 0; byte < 8; byte++) targets_.add(entry.r_offset + byte);
    }
  }

  // The compact form: addresses of words, and bitmaps of the 63 words that follow (generic ABI, SHT_RELR).
  void add_relr(u64 table, u64 size) {
    Bytes bytes = object_.at(table, size);
    u64 where = 0;
    auto add_word = [&](u64 address) {
      if (std::optional<u64> value = load<u64>(object_.at(address, 8), 0)) add(*value);
    };
    for (u64 at = 0; at + 8 <= bytes.size(); at += 8) {
      u64 entry = *load<u64>(bytes, at);
      if ((entry & 1) == 0) {
        add_word(entry);
        where = entry + 8;
        continue;
      }
      for (u64 bit = 0; bit < 63; bit++) {
        if ((entry >> (bit + 1)) & 1) add_word(where + bit * 8);
      }
      where += u64{63} * 8;
    }
  }

  void add_absolute() {
    for (const Segment& segment : object_.segments()) {
      Bytes bytes = object_.from(segment.vaddr);
      segment.executable ? add_immediates(bytes) : add_pointers(bytes);
    }
  }

  void add_pointers(Bytes bytes) {
    u64 low = object_.base(), span = object_.end() - low;
    for (u64 i = 0; i + 8 <= bytes.size(); i += 8) {
      u64 value;
      std::memcpy(&value, bytes.data() + i, 8);
      if (value - low < span) guess(value);
    }
  }

  void add_immediates(Bytes bytes) {
    std::vector<u64> found;
    isa::find_immediates(bytes, object_.base(), object_.end() - object_.base(), wanted_, found);
    guesses_.insert(guesses_.end(), found.begin(), found.end());
  }

  void add_functions() {
    add(object_.entry());
    const UnwindTable& unwind = functions_.unwind();
    for (size_t i = 0; i < unwind.size(); i++) add(unwind.begin(i));
    for (const Symbol& symbol : object_.text_symbols()) add(symbol.value);
    for (u64 begin : functions_.go_functions()) add(begin);
  }

  const ElfObject& object_;
  const FunctionTable& functions_;
  CodeMap& code_;
  AddressSet wanted_;
  Targets targets_;
  std::vector<u64> guesses_;
  std::set<u64> seen_;
};

}  // namespace

void Targets::seal() {
  std::sort(addresses_.begin(), addresses_.end());
  addresses_.erase(std::unique(addresses_.begin(), addresses_.end()), addresses_.end());
}

u64 Targets::first_in(u64 begin, u64 end) const {
  auto found = std::lower_bound(addresses_.begin(), addresses_.end(), begin);
  return found != addresses_.end() && *found < end ? *found : end;
}

bool Targets::any_in(u64 begin, u64 end) const {
  return first_in(begin, end) < end;
}

Targets find_targets(const ElfObject& object, const FunctionTable& functions, CodeMap& code,
                     const std::vector<u64>& sites) {
  return Finder(object, functions, code, sites).find(sites);
}

}  // namespace teacup::rewrite
