// Encoding for x86-64: moved instructions, jumps, and the way into the kernel.
#include <algorithm>
#include <limits>

#include "kernel/abi/nr.h"
#include "rewrite/isa.h"

namespace teacup::rewrite::isa {
namespace {

std::optional<s32> displacement(u64 end, u64 target) {
  s64 distance = static_cast<s64>(target - end);
  if (distance < std::numeric_limits<s32>::min() || distance > std::numeric_limits<s32>::max())
    return std::nullopt;
  return static_cast<s32>(distance);
}

void put(std::vector<u8>& out, std::initializer_list<u8> bytes) {
  out.insert(out.end(), bytes);
}

void put32(std::vector<u8>& out, s32 value) {
  u32 bits = static_cast<u32>(value);
  put(out, {static_cast<u8>(bits), static_cast<u8>(bits >> 8), static_cast<u8>(bits >> 16),
            static_cast<u8>(bits >> 24)});
}

}  // namespace

bool move(const Instruction& in, Bytes bytes, u64 at, std::vector<u8>& out) {
  if (!in.movable) return false;
  if (in.branch_field) {
    bool conditional = in.flow == Flow::kBranch;
    std::optional<s32> distance = displacement(at + (conditional ? 6 : 5), in.target);
    if (!distance) return false;
    if (conditional) {  // 7x rel8 and 0f 8x rel32 have the condition in the same four bits
      u8 condition = bytes[in.branch_field == 1 ? 0 : 1] & 0x0f;
      put(out, {0x0f, static_cast<u8>(0x80 | condition)});
    } else {
      put(out, {0xe9});
    }
    put32(out, *distance);
    return true;
  }
  if (!in.pc_relative) {
    out.insert(out.end(), bytes.begin(), bytes.begin() + in.length);
    return true;
  }
  std::optional<s32> distance = displacement(at + in.length, in.target);
  if (!distance) return false;
  out.insert(out.end(), bytes.begin(), bytes.begin() + in.pc_relative);
  put32(out, *distance);
  out.insert(out.end(), bytes.begin() + in.pc_relative + 4, bytes.begin() + in.length);
  return true;
}

bool jump(u64 at, u64 to, std::vector<u8>& out) {
  std::optional<s32> distance = displacement(at + kLongJump, to);
  if (!distance) return false;
  put(out, {0xe9});
  put32(out, *distance);
  return true;
}

bool short_jump(u64 at, u64 to, std::vector<u8>& out) {
  s64 distance = static_cast<s64>(to - (at + kShortJump));
  if (distance < -128 || distance > 127) return false;
  put(out, {0xeb, static_cast<u8>(distance)});
  return true;
}

void enter_kernel(abi::PreparedSiteKind kind, std::vector<u8>& out) {
  // Which slot of the task, and through which register the way back goes: one the instruction writes and does
  // not read.
  bool syscall = kind == abi::kSiteSyscall;
  u8 slot = syscall ? 8 : kind == abi::kSiteCpuid ? 16 : kind == abi::kSiteRdtsc ? 24 : 32;
  put(out, {0x48, 0x8d, static_cast<u8>(syscall ? 0x0d : 0x15), 8, 0, 0, 0});  // lea 8(%rip), %rcx or %rdx
  put(out, {0x65, 0xff, 0x24, 0x25, slot, 0, 0, 0});                           // jmp *%gs:slot
}

abi::PreparedPcKind enter_kind(abi::PreparedSiteKind kind) {
  if (kind == abi::kSiteCpuid) return abi::kPcEnterCpuid;
  if (kind == abi::kSiteRdtsc || kind == abi::kSiteRdtscp) return abi::kPcEnterRdtsc;
  return abi::kPcEnter;
}

namespace {

// The number that the instruction at the end of `before` loads for a system call.
std::optional<u32> number_loaded(Bytes before) {
  constexpr size_t kShort = 5;  // mov $number, %eax
  constexpr size_t kLong = 7;   // mov $number, %rax
  size_t size = before.size();
  if (size >= kLong && before[size - 7] == 0x48 && before[size - 6] == 0xc7 && before[size - 5] == 0xc0) {
    return load<u32>(before, size - 4);
  }
  if (size >= kShort && before[size - 5] == 0xb8) return load<u32>(before, size - 4);
  return std::nullopt;
}

}  // namespace

bool is_signal_return(Bytes before) {
  return number_loaded(before) == abi::kNR_rt_sigreturn;
}

bool knows_signal_returns(Bytes text) {
  // 48 c7 c0 0f 00 00 00 0f 05: an immediate operand has the first or the last eight of these bytes.
  constexpr u8 kCommon[] = {0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f};
  auto at = text.begin();
  while ((at = std::search(at, text.end(), std::begin(kCommon), std::end(kCommon))) != text.end()) {
    auto behind = at + std::size(kCommon);
    bool is_one = at != text.begin() && *(at - 1) == 0x48 && behind != text.end() && *behind == 0x05;
    if (!is_one) return true;
    at = behind;
  }
  return false;
}

bool never_returns(Bytes before) {
  switch (number_loaded(before).value_or(abi::kNR_read)) {
    case abi::kNR_rt_sigreturn:
    case abi::kNR_exit:
    case abi::kNR_exit_group:
      return true;
    default:
      return false;
  }
}

bool holds_site(Bytes bytes) {
  for (size_t i = 0; i + 1 < bytes.size(); i++) {
    if (bytes[i] == 0x0f && (bytes[i + 1] == 0x05 || bytes[i + 1] == 0x34)) return true;
    if (bytes[i] == 0xcd && bytes[i + 1] == 0x80) return true;
  }
  return false;
}

}  // namespace teacup::rewrite::isa
