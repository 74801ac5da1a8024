// Decoded text, only as much of it as is asked for: the stretches (functions and gaps) that hold sites, and
// those within reach of a short branch of them.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "rewrite/functions.h"

namespace teacup::rewrite {

// One stretch of text, decoded from where it certainly or probably begins.
struct Region {
  Function function;
  u64 decoded_end = 0;  // decoding stopped here; == function.end if all of it decodes
  // Instructions before this address are not to be relied on (where decoding had to find its own way in).
  u64 trusted_begin = 0;
  std::vector<Instruction> code;

  bool complete() const { return decoded_end == function.end; }
  // The instruction that begins at an address; nothing if none does.
  std::optional<size_t> index_of(u64 address) const;
  // The first instruction that ends behind an address; code.size() if none.
  size_t first_after(u64 address) const;
};

class CodeMap {
 public:
  CodeMap(const ElfObject& object, const FunctionTable& functions) : object_(object), functions_(functions) {}

  // The stretch that holds an address of text.
  const Region& at(u64 address);
  // Does decoding the function of certain bounds that holds `address` pass over it? Most of what looks like a
  // site is in the middle of an instruction; this tells without keeping anything.
  bool steps_over(u64 address) const;
  // How decodes from many places before an address fare: they arrive at it, or pass over it.
  struct Votes {
    unsigned arrived = 0;
    unsigned passed = 0;
    u64 agreed = 0;  // bit i: all that arrived, and could know, have a boundary i bytes before it
  };
  Votes vote(u64 address) const;
  // Do enough of them arrive for an instruction to begin there?
  static bool in_step(const Votes& votes);
  // The region an instruction at an address of unknown surroundings can be relied on in: decoded from several
  // places before it that all arrive at it. Nothing when they do not agree.
  const Region* resynchronised(u64 address);
  // All regions less than `distance` bytes from an address of text, within its segment.
  std::vector<const Region*> around(u64 address, u64 distance);
  Bytes bytes(const Instruction& instruction) const {
    return object_.at(instruction.address, instruction.length);
  }
  Bytes bytes(u64 address, u64 size) const { return object_.at(address, size); }

 private:
  const ElfObject& object_;
  const FunctionTable& functions_;
  std::vector<std::unique_ptr<Region>> storage_;
  std::map<u64, const Region*> regions_;                   // by first address
  std::map<u64, std::unique_ptr<Region>> resynchronised_;  // by site
};

}  // namespace teacup::rewrite
