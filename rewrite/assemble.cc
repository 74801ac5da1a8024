// What is left of a window behind its jump. Up to the next boundary of an instruction there are traps, so
// that a jump into it that nobody foresaw ends in SIGTRAP, not in chance. From that boundary on the original
// bytes stay: they still work if they are jumped to, the site itself by way of the net.
#include "rewrite/assemble.h"

#include <algorithm>

namespace teacup::rewrite {
namespace {

class Assembler {
 public:
  Assembler(const CodeMap& code, u64 at) : code_(code), at_(at) {}

  bool evicted(const Window& run) {
    u64 start = here();
    if (!move(run.after) || (run.returns && !back(run.end))) return false;
    std::vector<u8> jump;
    if (!isa::jump(run.begin, start, jump)) return false;
    detour_patch_ = patch(run, run.begin, std::move(jump));
    return true;
  }

  bool site(const Draft& draft, const Instruction& site) {
    const Window& window = draft.window;
    u64 start = here();
    if (!move(window.before)) return false;
    u64 entry = here();
    isa::enter_kernel(*site.site, out_.trampoline);
    abi::PreparedPcKind kind = isa::enter_kind(*site.site);
    note_guest(entry, site.address, kind);
    out_.to_actual.push_back({entry, site.address, site.length, kind});
    if (!move(window.after) || (window.returns && !back(window.end))) return false;

    std::vector<u8> jump;
    if (draft.tactic != abi::kTacticShortJump && draft.tactic != abi::kTacticEvict) {
      if (!isa::jump(window.begin, start, jump)) return false;
      out_.patches.push_back(patch(window, window.begin, std::move(jump), &site));
      return true;
    }
    if (!isa::short_jump(site.address, draft.detour, jump)) return false;
    out_.patches.push_back(patch(window, site.address, std::move(jump), &site));
    std::vector<u8> far;
    if (!isa::jump(draft.detour, start, far)) return false;
    out_.to_guest.push_back({draft.detour, site.address, static_cast<u16>(isa::kLongJump), kind});
    if (draft.tactic == abi::kTacticShortJump) {
      out_.patches.push_back({draft.detour, 0, std::move(far)});
    } else {
      // The detour lies right behind the evicted run's own jump.
      std::vector<u8> both(detour_patch_.bytes.begin(), detour_patch_.bytes.begin() + isa::kLongJump);
      both.insert(both.end(), far.begin(), far.end());
      out_.patches.push_back(patch(draft.evicted, draft.evicted.begin, std::move(both)));
    }
    return true;
  }

  Assembled take() { return std::move(out_); }

 private:
  u64 here() const { return at_ + out_.trampoline.size(); }

  // `guest` is what the bytes from address `from` to here stand for.
  void note_guest(u64 from, u64 guest, abi::PreparedPcKind kind) {
    out_.to_guest.push_back({from, guest, static_cast<u16>(here() - from), kind});
  }

  bool move(const std::vector<Instruction>& instructions) {
    for (const Instruction& in : instructions) {
      u64 copy = here();
      if (!isa::move(in, code_.bytes(in), copy, out_.trampoline)) return false;
      note_guest(copy, in.address, abi::kPcMoved);
      out_.to_actual.push_back({copy, in.address, in.length, abi::kPcMoved});
    }
    return true;
  }

  bool back(u64 to) {
    u64 from = here();
    if (!isa::jump(from, to, out_.trampoline)) return false;
    note_guest(from, to, abi::kPcReturn);
    return true;
  }

  // `bytes` over the text at `begin`, with traps up to the next boundary inside the window.
  static TextPatch patch(const Window& window, u64 begin, std::vector<u8> bytes,
                         const Instruction* site = nullptr) {
    u64 end = begin + bytes.size();
    u64 boundary = window.end;
    auto consider = [&](const Instruction& in) {
      if (in.address >= end) boundary = std::min(boundary, in.address);
      if (in.end() >= end) boundary = std::min(boundary, in.end());
    };
    for (const Instruction& in : window.before) consider(in);
    for (const Instruction& in : window.after) consider(in);
    if (site) consider(*site);
    bytes.resize(boundary - begin, isa::kTrapByte);
    return {begin, 0, std::move(bytes)};
  }

  const CodeMap& code_;
  u64 at_;
  Assembled out_;
  TextPatch detour_patch_;
};

}  // namespace

std::optional<Assembled> assemble(const Draft& draft, const Instruction& site, const CodeMap& code, u64 at) {
  Assembler assembler(code, at);
  if (draft.tactic == abi::kTacticEvict && !assembler.evicted(draft.evicted)) return std::nullopt;
  if (!assembler.site(draft, site)) return std::nullopt;
  return assembler.take();
}

}  // namespace teacup::rewrite
