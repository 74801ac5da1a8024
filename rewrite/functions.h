// Which stretch of text an address belongs to, and from where it can be decoded: unwind tables, then symbols,
// then Go's pclntab, then the gap between two of these; else nothing is known.
#pragma once

#include <vector>

#include "rewrite/elf_object.h"
#include "rewrite/unwind.h"

namespace teacup::rewrite {

enum class Origin : u8 {
  kUnwind,
  kSymbol,
  kGo,
  kGap,      // no function claims it: padding, hand-written code, data; begins where a function ends
  kUnknown,  // nothing known around it
};

struct Function {
  u64 begin = 0;
  u64 end = 0;
  Origin origin = Origin::kUnknown;

  // Do instructions certainly begin at `begin` and fill the function?
  bool certain() const { return origin <= Origin::kGo; }
};

class FunctionTable {
 public:
  explicit FunctionTable(const ElfObject& object);

  // The stretch that holds an address of text. Never empty, never beyond the segment's bytes from the file.
  Function find(u64 address) const;
  // All symbols of text, by address.
  const std::vector<Symbol>& symbols() const;
  // The name of the function at an address, or of the last before it ("name+0x12"); empty without symbols.
  std::string name(u64 address) const;
  const UnwindTable& unwind() const { return unwind_; }
  // Where Go's functions begin, sorted; empty in anything but Go.
  const std::vector<u64>& go_functions() const;

 private:
  struct Neighbours {
    u64 before;  // where the last stretch before ends
    u64 after;   // where the next begins
  };
  std::optional<Function> from_symbols(u64 address, Neighbours& neighbours) const;
  std::optional<Function> from_go(u64 address, Neighbours& neighbours) const;

  const ElfObject& object_;
  UnwindTable unwind_;
  // Read when first asked for: most objects never need them.
  mutable std::optional<std::vector<Symbol>> symbols_;
  mutable std::vector<u64> reaches_;  // [i]: the furthest end of symbols 0..i
  mutable std::optional<std::vector<u64>> go_;
};

// Go's function table (pclntab), found by its section or by its magic: where each function begins, and the
// end of the last; empty when there is none.
std::vector<u64> read_go_functions(const ElfObject& object);

}  // namespace teacup::rewrite
