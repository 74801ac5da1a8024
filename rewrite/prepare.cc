#include "rewrite/prepare.h"

#include <algorithm>
#include <chrono>

#include "rewrite/assemble.h"
#include "rewrite/tactics.h"

namespace teacup::rewrite {
namespace {

// How many instructions before a site of doubtful standing may load its number.
constexpr size_t kNumberDistance = 16;
// How far a trampoline may be shifted so that no displacement happens to spell a site.
constexpr u64 kMostShift = 64;

// A site that decoding has confirmed.
struct Found {
  Site site;
  const Region* region = nullptr;
  size_t index = 0;
};

class Preparation {
 public:
  Preparation(const ElfObject& object, const Options& options, Prepared& out)
      : object_(object), options_(options), out_(out) {}

  void run() {
    find_sites();
    if (found_.empty()) {
      out_.status = abi::kPreparedNoSites;
      out_.message = "no system calls in it";
      return;
    }
    plan();
    finish();
  }

 private:
  bool asked(abi::PreparedSiteKind kind) const {
    if (kind == abi::kSiteSyscall) return true;
    if (kind == abi::kSiteCpuid) return options_.patch_cpuid;
    if (kind == abi::kSiteRdtsc || kind == abi::kSiteRdtscp) return options_.patch_rdtsc;
    return false;
  }

  void find_sites() {
    for (const Segment& segment : object_.segments()) {
      if (!segment.executable) continue;
      out_.segments.push_back({segment.file_offset, segment.file_size, segment.vaddr, segment.memory_size});
      for (Candidate candidate : isa::find_candidates(object_.from(segment.vaddr), options_.patch_rdtsc)) {
        if (!asked(candidate.kind) && !options_.count_others) continue;
        decide(segment, segment.vaddr + candidate.offset, candidate.kind);
      }
    }
  }

  // Is it an instruction? If so, it goes to found_.
  void decide(const Segment& segment, u64 address, abi::PreparedSiteKind kind) {
    if (!object_.may_be_code(address)) return;
    Found found;
    found.site.address = address;
    found.site.kind = kind;
    if (!functions_) {
      functions_.emplace(object_);
      code_.emplace(object_, *functions_);
    }
    bool unwound = functions_->unwind().find(address).has_value();
    CodeMap::Votes votes;
    if (!unwound) {
      // Looking up symbols means sorting them. Most matches are operands, which this tells faster.
      votes = code_->vote(address);
      bool tables = functions_->unwind().size() > 0;
      if (votes.passed > votes.arrived || (tables && !CodeMap::in_step(votes))) return;
    } else if (code_->steps_over(address)) {
      return;
    }
    const Region& region = code_->at(address);
    std::optional<size_t> index = region.index_of(address);
    if (index && region.code[*index].site != kind) return;
    found.region = &region;
    if (region.function.certain()) {
      if (!index && region.decoded_end > address) return;  // inside another instruction
      if (!index) found.site.reason = NetReason::kDoubtful;
    } else if (index) {
      // No function, but code decodes up to here: a site if it is in step and surrounded as calls are.
      if (!CodeMap::in_step(votes) || !surrounded(region, *index)) index.reset();
    }
    if (!index) {
      const Region* nearby = code_->resynchronised(address);
      index = nearby ? nearby->index_of(address) : std::nullopt;
      if (!index || nearby->code[*index].site != kind || !surrounded(*nearby, *index)) return;
      found.region = nearby;
    }
    found.index = *index;
    if (segment.writable) {
      found.site.reason = NetReason::kWritable;
    } else if (!asked(kind)) {
      found.site.reason = NetReason::kNotAsked;
    } else if (unwinders_know(*found.region, address)) {
      found.site.reason = NetReason::kSignalReturn;
    }
    found_.push_back(std::move(found));
  }

  // Does the code around look like a call? Six given bytes behind a site are as good as a number before it.
  static bool surrounded(const Region& region, size_t index) {
    bool checked = region.code[index].site == abi::kSiteSyscall && index + 1 < region.code.size() &&
                   region.code[index + 1].checks_result;
    return checked || loads_number(region, index);
  }

  // Is the number of a system call put in its register on the way to it, straight or by a branch in sight?
  static bool loads_number(const Region& region, size_t index, bool follow = true) {
    const std::vector<Instruction>& code = region.code;
    size_t first = index;
    while (first > 0 && index - first < kNumberDistance && code[first - 1].falls_through()) {
      if (code[--first].sets_number) return true;
    }
    if (!follow) return false;
    for (size_t i = 0; i < code.size(); i++) {
      bool arrives = code[i].is_direct_branch() && code[i].flow != Flow::kCall &&
                     code[i].target >= code[first].address && code[i].target <= code[index].address;
      if (arrives && loads_number(region, i, false)) return true;
    }
    return false;
  }

  // Where no unwind table covers a return address, unwinders (libgcc's, gdb's) know a signal frame by the
  // bytes that it points at: `mov $15, %rax ; syscall` must stay. Nobody unwinds so through Go, which has its
  // own ways, nor through a program (whose signal trampoline is its own) that has next to no unwind tables,
  // or that is static and holds no unwinder (valgrind's tools).
  bool unwinders_know(const Region& region, u64 site) const {
    constexpr u64 kSparse = 16 * KiB;  // bytes of text for each entry
    if (region.function.origin == Origin::kUnwind) return false;
    const Segment& text = *object_.segment_at(site);
    u64 begin = std::max(text.vaddr, site - std::min<u64>(site, 7));
    if (!isa::is_signal_return(object_.at(begin, site - begin))) return false;
    if (object_.is_program() && functions_->unwind().size() <= text.file_size / kSparse) return false;
    if (object_.is_static() && !isa::knows_signal_returns(object_.from(text.vaddr))) return false;
    const std::vector<u64>& go = functions_->go_functions();
    return go.empty() || site < go.front() || site >= go.back();
  }

  void plan() {
    std::vector<u64> addresses;
    for (const Found& found : found_) {
      if (found.site.reason != NetReason::kNone) continue;
      addresses.push_back(found.site.address);
      claims_.add(found.site.address, found.region->code[found.index].end());
    }
    if (addresses.empty()) return;
    targets_ = find_targets(object_, *functions_, *code_, addresses);
    block_ = object_.end();
    disassembler_.emplace();
    using Tactic = std::optional<Draft> (*)(const SiteContext&);
    const std::vector<Tactic> windows = {window_before, short_jump_to_padding, window_after, window_around};
    const std::vector<Tactic> last_resort = {evict_neighbours};
    for (const auto& tactics : {windows, last_resort}) {
      for (Found& found : found_) {
        bool open = found.site.tactic == abi::kTacticNet &&
                    (found.site.reason == NetReason::kNone || found.site.reason == NetReason::kNoRoom ||
                     found.site.reason == NetReason::kUnencodable);
        if (open) patch(found, tactics);
      }
    }
  }

  template <typename Tactics>
  void patch(Found& found, const Tactics& tactics) {
    const Instruction& site = found.region->code[found.index];
    claims_.remove(site.address);
    SiteContext context{*code_, targets_, claims_, *disassembler_, *found.region, found.index};
    NetReason reason = NetReason::kNoRoom;
    for (auto tactic : tactics) {
      std::optional<Draft> draft = tactic(context);
      if (!draft) continue;
      if (commit(found, *draft, site)) return;
      reason = NetReason::kUnencodable;
    }
    found.site.reason = reason;
    claims_.add(site.address, site.end());
  }

  bool commit(Found& found, const Draft& draft, const Instruction& site) {
    u64 next = block_ + out_.trampolines.size();
    for (u64 shift = 0; shift < kMostShift; shift++) {
      std::optional<Assembled> assembled = assemble(draft, site, *code_, next + shift);
      if (!assembled) return false;
      if (spells_site(*assembled, shift)) continue;
      accept(found, draft, std::move(*assembled), next, shift);
      return true;
    }
    return false;
  }

  // Would any of the new bytes, together with what is around them, be a site?
  bool spells_site(const Assembled& assembled, u64 shift) const {
    std::vector<u8> bytes;
    if (shift == 0 && !out_.trampolines.empty()) bytes.push_back(out_.trampolines.back());
    bytes.insert(bytes.end(), assembled.trampoline.begin(), assembled.trampoline.end());
    if (isa::holds_site(bytes)) return true;
    for (const TextPatch& patch : assembled.patches) {
      Bytes before = object_.at(patch.address - 1, 1);
      Bytes behind = object_.at(patch.address + patch.bytes.size(), 1);
      bytes.assign(before.begin(), before.end());
      bytes.insert(bytes.end(), patch.bytes.begin(), patch.bytes.end());
      bytes.insert(bytes.end(), behind.begin(), behind.end());
      if (isa::holds_site(bytes)) return true;
    }
    return false;
  }

  void accept(Found& found, const Draft& draft, Assembled assembled, u64 next, u64 shift) {
    out_.trampolines.resize(out_.trampolines.size() + shift, isa::kTrapByte);
    if (shift) {
      out_.to_guest.push_back(pc({next, draft.window.begin, static_cast<u16>(shift), abi::kPcFiller}));
    }
    found.site.trampoline = next + shift;
    found.site.trampoline_end = next + shift + assembled.trampoline.size();
    out_.trampolines.insert(out_.trampolines.end(), assembled.trampoline.begin(), assembled.trampoline.end());
    for (TextPatch& patch : assembled.patches) {
      const Segment& segment = *object_.segment_at(patch.address);
      patch.file_offset = segment.file_offset + (patch.address - segment.vaddr);
      out_.patches.push_back(std::move(patch));
    }
    for (const PcRun& run : assembled.to_guest) out_.to_guest.push_back(pc(run));
    for (const PcRun& run : assembled.to_actual) out_.to_actual.push_back(pc(run));

    Site& site = found.site;
    site.tactic = draft.tactic;
    site.reason = NetReason::kNone;
    site.window_begin = draft.window.begin;
    site.window_end = draft.window.end;
    site.displaced = draft.window.before;
    site.displaced.insert(site.displaced.end(), draft.window.after.begin(), draft.window.after.end());
    site.displaced.insert(site.displaced.end(), draft.evicted.after.begin(), draft.evicted.after.end());
    claims_.add(draft.window.begin, draft.window.end);
    if (draft.tactic == abi::kTacticEvict) claims_.add(draft.evicted.begin, draft.evicted.end);
    if (draft.tactic == abi::kTacticShortJump) claims_.add(draft.detour, draft.detour + isa::kLongJump);
  }

  abi::PreparedPc pc(const PcRun& run) const {
    return {.actual = static_cast<u32>(run.actual - out_.base),
            .guest = static_cast<u32>(run.guest - out_.base),
            .length = run.length,
            .kind = run.kind,
            .reserved = 0};
  }

  void finish() {
    for (Found& found : found_) {
      if (options_.name_functions) found.site.function = functions_->name(found.site.address);
      out_.sites.push_back(std::move(found.site));
    }
    auto by_address = [](const auto& a, const auto& b) { return a.address < b.address; };
    std::sort(out_.sites.begin(), out_.sites.end(), by_address);
    std::sort(out_.patches.begin(), out_.patches.end(), by_address);
    std::sort(out_.to_guest.begin(), out_.to_guest.end(),
              [](const abi::PreparedPc& a, const abi::PreparedPc& b) { return a.actual < b.actual; });
    std::sort(out_.to_actual.begin(), out_.to_actual.end(),
              [](const abi::PreparedPc& a, const abi::PreparedPc& b) { return a.guest < b.guest; });
    out_.trampoline_address = out_.trampolines.empty() ? 0 : block_;
    bool calls = std::any_of(out_.sites.begin(), out_.sites.end(),
                             [](const Site& site) { return site.kind == abi::kSiteSyscall; });
    out_.status = !out_.patches.empty() ? abi::kPreparedPatched
                  : calls               ? abi::kPreparedNetOnly
                                        : abi::kPreparedNoSites;
  }

  const ElfObject& object_;
  const Options& options_;
  Prepared& out_;
  std::optional<FunctionTable> functions_;
  std::optional<CodeMap> code_;
  std::vector<Found> found_;
  Targets targets_;
  Claims claims_;
  std::optional<Disassembler> disassembler_;  // opened when there is something to patch
  u64 block_ = 0;                             // address of the trampolines
};

}  // namespace

Prepared prepare(std::span<const std::byte> file, const Options& options) {
  auto start = std::chrono::steady_clock::now();
  Prepared prepared;
  Bytes bytes(reinterpret_cast<const u8*>(file.data()), file.size());
  if (std::optional<ElfObject> object = ElfObject::create(bytes, prepared.status, prepared.message)) {
    prepared.base = object->base();
    prepared.object_size = object->end() - object->base();
    Preparation(*object, options, prepared).run();
  }
  auto spent = std::chrono::steady_clock::now() - start;
  prepared.micros = static_cast<u32>(std::chrono::duration_cast<std::chrono::microseconds>(spent).count());
  return prepared;
}

const char* reason_text(NetReason reason) {
  switch (reason) {
    case NetReason::kNone:
      return "";
    case NetReason::kNotAsked:
      return "of a kind that is not patched";
    case NetReason::kWritable:
      return "its segment is writable";
    case NetReason::kDoubtful:
      return "the function that holds it does not decode up to it";
    case NetReason::kSignalReturn:
      return "unwinders know this signal trampoline by its bytes";
    case NetReason::kNoRoom:
      return "no room for a jump that is certainly safe";
    case NetReason::kUnencodable:
      return "the patch would spell a system call itself";
  }
  return "";
}

const char* tactic_name(u8 tactic) {
  switch (tactic) {
    case abi::kTacticWindowBefore:
      return "window before";
    case abi::kTacticShortJump:
      return "short jump";
    case abi::kTacticWindowAfter:
      return "window after";
    case abi::kTacticEvict:
      return "evict";
    case abi::kTacticWindowAround:
      return "window around";
    default:
      return "net";
  }
}

const char* kind_name(u8 kind) {
  constexpr const char* kNames[] = {"syscall", "sysenter", "int 0x80", "cpuid", "rdtsc", "rdtscp"};
  return kind < std::size(kNames) ? kNames[kind] : "?";
}

}  // namespace teacup::rewrite
