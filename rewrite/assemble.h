// From a draft to bytes: the trampoline, the patch of the text, and the map of program counters.
#pragma once

#include <optional>

#include "rewrite/prepare.h"
#include "rewrite/tactics.h"

namespace teacup::rewrite {

// A run of program counters, as abi::PreparedPc but in the file's addresses.
struct PcRun {
  u64 actual;
  u64 guest;
  u16 length;
  abi::PreparedPcKind kind;
};

struct Assembled {
  std::vector<u8> trampoline;
  std::vector<TextPatch> patches;
  std::vector<PcRun> to_guest;
  std::vector<PcRun> to_actual;
};

// The draft for `site` with its trampoline at address `at`. Nothing when something is out of reach.
std::optional<Assembled> assemble(const Draft& draft, const Instruction& site, const CodeMap& code, u64 at);

}  // namespace teacup::rewrite
