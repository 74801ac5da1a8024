// The addresses near sites at which control may arrive from elsewhere.
#pragma once

#include <vector>

#include "rewrite/code_map.h"

namespace teacup::rewrite {

class Targets {
 public:
  void add(u64 address) { addresses_.push_back(address); }
  // Call once, after the last add().
  void seal();
  // Is there a target in [begin, end)?
  bool any_in(u64 begin, u64 end) const;
  // The first target in [begin, end); `end` if there is none.
  u64 first_in(u64 begin, u64 end) const;

 private:
  std::vector<u64> addresses_;
};

// Everything that may be a target within a short branch's reach of one of `sites`.
Targets find_targets(const ElfObject& object, const FunctionTable& functions, CodeMap& code,
                     const std::vector<u64>& sites);

}  // namespace teacup::rewrite
