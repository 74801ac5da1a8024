// What the rewriter must know about an instruction set, and nothing else: find candidates for sites, decode
// one instruction, move it, jump, enter the kernel. Everything else in rewrite/ works on these. x86_64/ is
// the one implementation; an aarch64 one would find 4-byte `svc`, move branches of ±128 MiB and build
// veneers.
#pragma once

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernel/abi/prepared.h"
#include "kernel/base/types.h"

namespace teacup::rewrite {

using Bytes = std::span<const u8>;

// Reads a little-endian value at a byte offset; nothing beyond the end.
template <typename T>
std::optional<T> load(Bytes bytes, u64 offset) {
  T value;
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

// How control leaves an instruction.
enum class Flow : u8 {
  kNext,          // falls through, nothing else
  kJump,          // direct, `target`
  kBranch,        // direct, conditional, `target`
  kShortOnly,     // direct and conditional, but with no long form (loop, jrcxz, xbegin), `target`
  kCall,          // direct, `target`
  kIndirectJump,  //
  kIndirectCall,  //
  kReturn,        //
  kStop,          // ud2, hlt, int3: faults; what follows need not be code
  kSystem,        // syscall, sysenter, int n
};

struct Instruction {
  u64 address = 0;
  u64 target = 0;  // of a direct branch or call, or the address a PC-relative operand names; else 0
  u8 length = 0;
  Flow flow = Flow::kNext;
  u8 pc_relative = 0;  // byte index of the 32-bit PC-relative displacement of a memory operand, 0 without one
  u8 branch_field = 0;         // width in bytes of a direct branch's displacement, 0 without one
  bool movable = false;        // means the same elsewhere once its displacements are fixed
  bool no_operation = false;   // any length of nop
  bool landing_mark = false;   // endbr64: an indirect branch may land here
  bool sets_number = false;    // moves something into the register that holds the system call's number
  bool checks_result = false;  // compares the register that holds a call's result with the first error number
  std::optional<abi::PreparedSiteKind> site = std::nullopt;  // this instruction is a site

  u64 end() const { return address + length; }
  bool falls_through() const {
    return flow != Flow::kJump && flow != Flow::kIndirectJump && flow != Flow::kReturn && flow != Flow::kStop;
  }
  bool is_direct_branch() const {
    return flow == Flow::kJump || flow == Flow::kBranch || flow == Flow::kShortOnly || flow == Flow::kCall;
  }
};

// A place where the bytes of a site occur; whether it is one only decoding can tell.
struct Candidate {
  u64 offset;  // from the start of the bytes scanned
  abi::PreparedSiteKind kind;
};

// Coarse: holds granules of 64 bytes. For throwing away nearly all of many addresses cheaply.
class AddressSet {
 public:
  // Covers [begin, end), empty at first.
  AddressSet(u64 begin, u64 end) : base_(begin), bits_((((end - begin) >> kGranuleShift) >> 6) + 1) {}

  void add(u64 begin, u64 end);
  bool may_hold(u64 address) const {
    u64 granule = (address - base_) >> kGranuleShift;
    return (granule >> 6) < bits_.size() && ((bits_[granule >> 6] >> (granule & 63)) & 1);
  }

 private:
  static constexpr unsigned kGranuleShift = 6;
  u64 base_;
  std::vector<u64> bits_;
};

namespace isa {

inline constexpr u64 kLongJump = 5;   // bytes of a jump that reaches ±2 GiB
inline constexpr u64 kShortJump = 2;  // bytes of one that reaches -128..127
inline constexpr u64 kLongestInstruction = 15;

// All places in `text` that may be sites, by offset. Costs about 0.05 ns a byte.
std::vector<Candidate> find_candidates(Bytes text, bool clock_reads);

// Decodes the instruction at the start of `bytes`. False when it is cut off or none.
bool decode(Bytes bytes, u64 address, Instruction& in);

// The targets of everything in `text` (at `address`) that would be a 32-bit PC-relative branch, call or
// operand if an instruction began there, whether or not one does: those that `wanted` holds go to `targets`.
// Addresses outside `text` that an instruction would take (lea) go to `taken`: they may be jump tables. Costs
// about 0.3 ns a byte.
void find_references(Bytes text, u64 address, const AddressSet& wanted, std::vector<u64>& targets,
                     std::vector<u64>& taken);

// The values of everything in `text` that could be an immediate operand and an address in [low, low + span):
// those that `wanted` holds go to `targets`.
void find_immediates(Bytes text, u64 low, u64 span, const AddressSet& wanted, std::vector<u64>& targets);

// Appends to `out`, whose end is at address `at`, what does elsewhere what `instruction` (whose bytes are
// given) does at its place. False, and `out` unchanged, where that cannot be encoded.
bool move(const Instruction& instruction, Bytes bytes, u64 at, std::vector<u8>& out);
// A long jump at `at`. False when the target is out of reach.
bool jump(u64 at, u64 to, std::vector<u8>& out);
// A short jump at `at`. False when the target is out of reach.
bool short_jump(u64 at, u64 to, std::vector<u8>& out);
// The way into the kernel for a site of this kind; execution continues right behind it.
void enter_kernel(abi::PreparedSiteKind kind, std::vector<u8>& out);
// The byte that traps, for what must never be executed.
inline constexpr u8 kTrapByte = 0xcc;
// The instruction that ends right before a site may say which call it is: rt_sigreturn?
bool is_signal_return(Bytes before);
// Does code compare others with the bytes of a signal return, as unwinders do? `text` is all there is of it.
bool knows_signal_returns(Bytes text);
// One that does not come back: rt_sigreturn, exit, exit_group?
bool never_returns(Bytes before);
// Do these bytes hold a site's encoding, aligned to an instruction or not?
bool holds_site(Bytes bytes);
// What the PC map calls the way into the kernel for a site of this kind.
abi::PreparedPcKind enter_kind(abi::PreparedSiteKind kind);

}  // namespace isa

// A second opinion on instructions that are to be moved, from a full disassembler that shares no code with
// decode().
class Disassembler {
 public:
  Disassembler();
  ~Disassembler();
  Disassembler(const Disassembler&) = delete;
  Disassembler& operator=(const Disassembler&) = delete;

  // Do both agree on the length, the flow, and the PC-relative operand?
  bool confirms(const Instruction& instruction, Bytes bytes);
  // "mov eax, 0x27" in the disassembler's AT&T syntax; "(bad)" for what is none. `length` receives what it
  // took.
  std::string text(Bytes bytes, u64 address, size_t* length = nullptr);

 private:
  size_t handle_ = 0;
  void* instruction_ = nullptr;
};

}  // namespace teacup::rewrite
