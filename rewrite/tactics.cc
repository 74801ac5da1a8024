// What makes a window safe:
//   - nothing arrives in it but at its first byte (Targets);
//   - every instruction in it means the same elsewhere (Instruction::movable: no calls, whose return address
//   would be
//     seen; no loop or jrcxz, which have no long form) and capstone agrees on what it is;
//   - it holds no other site and no bytes another draft has;
//   - an instruction that control does not pass (ret, jmp) ends it, or is followed by padding only;
//   - in a stretch whose functions no table knows, no unseen function may begin in it: it takes in no
//   padding,
//     and nothing behind a call that never returns. (klibc's programs call its vfork, 10 bytes behind its
//     sigreturn, by an address that no file of the library's mentions.)
//
// Restarting a system call never executes a displaced instruction twice: the kernel sends the guest to the
// copy of the site itself, behind those displaced before it.
#include "rewrite/tactics.h"

#include <algorithm>

namespace teacup::rewrite {
namespace {

// Nothing further from a site than this can be reached by a short jump.
constexpr u64 kShortReach = 144;

// Unreachable bytes that nobody misses.
bool is_padding(const Instruction& in, const CodeMap& code) {
  return in.no_operation || (in.flow == Flow::kStop && in.length == 1 && code.bytes(in)[0] == isa::kTrapByte);
}

bool movable(const SiteContext& context, const Instruction& in, bool first) {
  if (!in.movable || in.site || (in.landing_mark && !first)) return false;
  if (in.no_operation && !context.region.function.certain()) return false;
  return context.disassembler.confirms(in, context.code.bytes(in));
}

bool free_for_window(const SiteContext& context, u64 begin, u64 end) {
  return !context.targets.any_in(begin + 1, end) && !context.claims.any_in(begin, end);
}

// Is the site the last instruction that is certainly of its function?
bool ends_here(const SiteContext& context) {
  if (context.index == 0) return false;
  return isa::never_returns(context.code.bytes(context.region.code[context.index - 1]));
}

// Moves instructions behind the site into the window until it has `size` bytes. Padding behind one that
// control does not pass is overwritten, not moved, even where it belongs to the gap behind the function.
bool extend_after(const SiteContext& context, Window& window, u64 size) {
  const std::vector<Instruction>& code = context.region.code;
  if (window.end - window.begin < size && !context.region.function.certain() && ends_here(context))
    return false;
  size_t i = context.index + 1;
  for (; window.end - window.begin < size && i < code.size() && window.returns; i++) {
    if (!movable(context, code[i], false)) return false;
    window.after.push_back(code[i]);
    window.end = code[i].end();
    window.returns = code[i].falls_through();
  }
  if (window.end - window.begin >= size) return true;
  if (window.returns) return false;
  const Region* region = &context.region;
  while (window.end - window.begin < size) {
    if (i == region->code.size()) {
      if (!region->complete() || context.code.bytes(window.end, 1).empty()) return false;
      const Region* next = &context.code.at(window.end);
      if (next->function.certain() || next->function.begin != window.end || next->code.empty()) return false;
      region = next;
      i = 0;
    }
    if (!is_padding(region->code[i], context.code)) return false;
    if (context.targets.any_in(window.end, window.end + 1)) return false;  // not padding: somebody goes there
    window.end = region->code[i++].end();
  }
  return true;
}

// Moves `count` instructions before the site into the window.
bool extend_before(const SiteContext& context, Window& window, size_t count) {
  const std::vector<Instruction>& code = context.region.code;
  if (count > context.index) return false;
  for (size_t i = context.index - count; i < context.index; i++) {
    bool first = i == context.index - count;
    if (!code[i].falls_through() || !movable(context, code[i], first)) return false;
    if (code[i].address < context.region.trusted_begin) return false;
    window.before.push_back(code[i]);
  }
  if (count) window.begin = window.before.front().address;
  return true;
}

Window only_site(const SiteContext& context) {
  return {.begin = context.site().address, .end = context.site().end(), .before = {}, .after = {}};
}

std::optional<Draft> window_with(const SiteContext& context, size_t before, abi::PreparedTactic tactic) {
  Draft draft{.tactic = tactic, .window = only_site(context)};
  Window& window = draft.window;
  if (!extend_before(context, window, before)) return std::nullopt;
  if (!extend_after(context, window, isa::kLongJump)) return std::nullopt;
  if (!free_for_window(context, window.begin, window.end)) return std::nullopt;
  return draft;
}

bool reaches(u64 site, u64 to) {
  s64 distance = static_cast<s64>(to - (site + isa::kShortJump));
  return distance >= -128 && distance <= 127;
}

// The first place for a long jump in padding [begin, end) that a short jump at `site` reaches.
std::optional<u64> place_in(const SiteContext& context, u64 begin, u64 end) {
  u64 site = context.site().address;
  end = context.targets.first_in(begin, end);
  for (u64 at = begin; at + isa::kLongJump <= end; at++) {
    if (reaches(site, at) && !context.claims.any_in(at, at + isa::kLongJump)) return at;
  }
  return std::nullopt;
}

// May control fall from the end of `region` into what follows it?
bool runs_on(const Region& region) {
  if (!region.complete() || region.code.empty()) return true;
  Flow flow = region.code.back().flow;
  bool call = flow == Flow::kCall || flow == Flow::kIndirectCall;  // of a function that does not return
  return region.code.back().falls_through() && !call;
}

}  // namespace

std::optional<Draft> window_before(const SiteContext& context) {
  const std::vector<Instruction>& code = context.region.code;
  for (size_t count = 1; count <= context.index; count++) {
    if (context.site().end() - code[context.index - count].address < isa::kLongJump) continue;
    return window_with(context, count, abi::kTacticWindowBefore);
  }
  return std::nullopt;
}

std::optional<Draft> window_after(const SiteContext& context) {
  return window_with(context, 0, abi::kTacticWindowAfter);
}

std::optional<Draft> window_around(const SiteContext& context) {
  for (size_t count = 1; count <= std::min<size_t>(context.index, 2); count++) {
    if (auto draft = window_with(context, count, abi::kTacticWindowAround)) return draft;
  }
  return std::nullopt;
}

std::optional<Draft> short_jump_to_padding(const SiteContext& context) {
  const Instruction& site = context.site();
  Draft draft{.tactic = abi::kTacticShortJump, .window = only_site(context)};
  if (!free_for_window(context, site.address, site.end())) return std::nullopt;
  bool reachable = true;
  for (const Region* region : context.code.around(site.address, kShortReach)) {
    if (region->function.certain()) reachable = true;
    if (!region->complete()) {
      reachable = true;
      continue;
    }
    for (size_t i = region->first_after(site.address - std::min(site.address, kShortReach));
         i < region->code.size(); i++) {
      const Instruction& in = region->code[i];
      if (in.address > site.address + kShortReach) break;
      if (i > 0) reachable = region->code[i - 1].falls_through();
      if (reachable || !is_padding(in, context.code)) continue;
      size_t last = i;
      while (last + 1 < region->code.size() && is_padding(region->code[last + 1], context.code)) last++;
      if (auto place = place_in(context, in.address, region->code[last].end())) {
        draft.detour = *place;
        return draft;
      }
      i = last;
    }
    reachable = runs_on(*region);
  }
  return std::nullopt;
}

std::optional<Draft> evict_neighbours(const SiteContext& context) {
  // What looks like instructions between functions may be data, or padding that a real entry follows.
  if (!context.region.function.certain() || !context.region.complete()) return std::nullopt;
  const std::vector<Instruction>& code = context.region.code;
  const Instruction& site = context.site();
  if (!free_for_window(context, site.address, site.end())) return std::nullopt;
  for (size_t first = context.region.first_after(site.address - std::min(site.address, kShortReach));
       first < code.size() && code[first].address < site.address + kShortReach; first++) {
    const Instruction& start = code[first];
    if (start.address < context.region.trusted_begin ||
        !reaches(site.address, start.address + isa::kLongJump))
      continue;
    Window run{.begin = start.address, .end = start.address, .before = {}, .after = {}};
    bool sound = true;
    for (size_t i = first;
         sound && run.returns && i < code.size() && run.end - run.begin < 2 * isa::kLongJump; i++) {
      sound = i != context.index && movable(context, code[i], i == first);
      run.after.push_back(code[i]);
      run.end = code[i].end();
      run.returns = code[i].falls_through();
    }
    if (!sound || run.end - run.begin < 2 * isa::kLongJump) continue;
    if (!free_for_window(context, run.begin, run.end)) continue;
    Draft draft{.tactic = abi::kTacticEvict, .window = only_site(context)};
    draft.detour = run.begin + isa::kLongJump;
    draft.evicted = std::move(run);
    return draft;
  }
  return std::nullopt;
}

}  // namespace teacup::rewrite
