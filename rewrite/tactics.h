// The tactics: ways to turn a site of two bytes into a jump that needs five. Each is a function that looks at
// one site and either says what it would do (a Draft) or nothing. None changes anything; plan.cc takes the
// first draft in order, claims its bytes, and assembles it.
#pragma once

#include <map>

#include "rewrite/code_map.h"
#include "rewrite/targets.h"

namespace teacup::rewrite {

// Bytes of text that drafts already taken have for themselves, and those of all sites.
class Claims {
 public:
  void add(u64 begin, u64 end) { ranges_[begin] = end; }
  void remove(u64 begin) { ranges_.erase(begin); }
  bool any_in(u64 begin, u64 end) const {
    auto after = ranges_.lower_bound(end);
    return after != ranges_.begin() && std::prev(after)->second > begin;
  }

 private:
  std::map<u64, u64> ranges_;
};

// One site and what is known about where it is.
struct SiteContext {
  CodeMap& code;
  const Targets& targets;
  const Claims& claims;  // has the other sites' bytes, not this one's
  Disassembler& disassembler;
  const Region& region;
  size_t index;  // of the site in region.code

  const Instruction& site() const { return region.code[index]; }
};

// A run of whole instructions that move to a trampoline, and the bytes of text that become free for it.
struct Window {
  u64 begin = 0;
  u64 end = 0;
  std::vector<Instruction> before;  // moved, executed before the site
  std::vector<Instruction> after;   // moved, executed after it
  bool returns = true;              // control comes back to `end`
};

struct Draft {
  abi::PreparedTactic tactic = abi::kTacticNet;
  Window window;     // what holds the site; the patch begins at window.begin
  u64 detour = 0;    // kTacticShortJump, kTacticEvict: where the long jump lies
  Window evicted{};  // kTacticEvict: the run that made room; the detour lies in it behind its own jump
};

// 5-byte jump over whole instructions that end with the site.
std::optional<Draft> window_before(const SiteContext& context);
// 2-byte jump at the site to padding within reach, which holds the long jump.
std::optional<Draft> short_jump_to_padding(const SiteContext& context);
// 5-byte jump that starts at the site.
std::optional<Draft> window_after(const SiteContext& context);
// 5-byte jump over whole instructions before and behind the site, where neither side alone has room.
std::optional<Draft> window_around(const SiteContext& context);
// 2-byte jump at the site to room made by moving ten bytes of instructions nearby.
std::optional<Draft> evict_neighbours(const SiteContext& context);

}  // namespace teacup::rewrite
