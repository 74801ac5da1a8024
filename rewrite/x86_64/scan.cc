// The two passes over all bytes of an object's text, which decide what preparing it costs: 32 bytes at a time
// where the processor has AVX2, 16 where not. Both look for a pair of bytes first and leave the rest to
// scalar code.
//
// find_candidates runs over every executable object and must cost next to nothing. find_references runs over
// objects with sites only. It is deliberately blind to instruction boundaries: whatever byte it starts at,
// what *could* be a branch into a window is taken for one. A false one costs a tactic at one site at worst; a
// missed one a crash. Short branches are not looked for here (every other byte could be one), but by decoding
// the functions within their reach.
#include <cpuid.h>
#include <immintrin.h>

#include <cstring>

#include "rewrite/isa.h"

namespace teacup::rewrite {

void AddressSet::add(u64 begin, u64 end) {
  for (u64 granule = (begin - base_) >> kGranuleShift; granule <= (end - 1 - base_) >> kGranuleShift;
       granule++) {
    if ((granule >> 6) < bits_.size()) bits_[granule >> 6] |= u64{1} << (granule & 63);
  }
}

namespace isa {
namespace {

#define TEACUP_AVX2 __attribute__((target("avx2")))

struct CandidateScan {
  const u8* text;
  size_t size;
  bool clock_reads;
  std::vector<Candidate> found;

  void examine(size_t i) {
    u8 first = text[i];
    u8 second = text[i + 1];
    if (first == 0xcd && second == 0x80) found.push_back({i, abi::kSiteInt80});
    if (first != 0x0f) return;
    if (second == 0x05) found.push_back({i, abi::kSiteSyscall});
    if (second == 0x34) found.push_back({i, abi::kSiteSysenter});
    if (second == 0xa2) found.push_back({i, abi::kSiteCpuid});
    if (!clock_reads) return;
    if (second == 0x31) found.push_back({i, abi::kSiteRdtsc});
    if (second == 0x01 && i + 2 < size && text[i + 2] == 0xf9) found.push_back({i, abi::kSiteRdtscp});
  }
  void examine_all(size_t i, u32 mask) {
    for (; mask; mask &= mask - 1) examine(i + static_cast<size_t>(__builtin_ctz(mask)));
  }
};

// Each returns where it stopped: the last bytes are the caller's.
TEACUP_AVX2 size_t scan_candidates_avx2(CandidateScan& scan) {
  const __m256i escape = _mm256_set1_epi8(0x0f), interrupt = _mm256_set1_epi8(static_cast<char>(0xcd));
  const __m256i syscall = _mm256_set1_epi8(0x05), sysenter = _mm256_set1_epi8(0x34);
  const __m256i cpuid = _mm256_set1_epi8(static_cast<char>(0xa2)),
                vector80 = _mm256_set1_epi8(static_cast<char>(0x80));
  const __m256i rdtsc = _mm256_set1_epi8(scan.clock_reads ? 0x31 : 0x05);
  const __m256i rdtscp = _mm256_set1_epi8(scan.clock_reads ? 0x01 : 0x05);
  size_t i = 0;
  for (; i + 33 <= scan.size; i += 32) {
    __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scan.text + i));
    __m256i second = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scan.text + i + 1));
    __m256i seconds =
        _mm256_or_si256(_mm256_cmpeq_epi8(second, syscall), _mm256_cmpeq_epi8(second, sysenter));
    seconds = _mm256_or_si256(seconds, _mm256_cmpeq_epi8(second, cpuid));
    seconds = _mm256_or_si256(
        seconds, _mm256_or_si256(_mm256_cmpeq_epi8(second, rdtsc), _mm256_cmpeq_epi8(second, rdtscp)));
    __m256i hit = _mm256_and_si256(_mm256_cmpeq_epi8(first, escape), seconds);
    hit = _mm256_or_si256(
        hit, _mm256_and_si256(_mm256_cmpeq_epi8(first, interrupt), _mm256_cmpeq_epi8(second, vector80)));
    if (u32 mask = static_cast<u32>(_mm256_movemask_epi8(hit))) [[unlikely]]
      scan.examine_all(i, mask);
  }
  return i;
}

size_t scan_candidates_sse2(CandidateScan& scan) {
  const __m128i escape = _mm_set1_epi8(0x0f), interrupt = _mm_set1_epi8(static_cast<char>(0xcd));
  size_t i = 0;
  for (; i + 16 <= scan.size; i += 16) {
    __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(scan.text + i));
    __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(bytes, escape), _mm_cmpeq_epi8(bytes, interrupt));
    u32 mask = static_cast<u32>(_mm_movemask_epi8(hit));
    if (i + 16 == scan.size) mask &= 0x7fff;  // the last byte has no second
    scan.examine_all(i, mask);
  }
  return i;
}

struct ReferenceScan {
  Bytes text;
  u64 address;
  const AddressSet& wanted;
  std::vector<u64>& targets;
  std::vector<u64>& taken;

  // The byte at `i` is the last before a 32-bit displacement, if anything is.
  void examine(size_t i) {
    s32 distance;
    std::memcpy(&distance, text.data() + i + 1, sizeof distance);
    u64 target = address + i + 5 + static_cast<u64>(s64{distance});
    bool modrm = (text[i] & 0xc7) == 0x05;
    if (wanted.may_hold(target) && (!modrm || has_modrm(i))) targets.push_back(target);
    bool lea = modrm && i >= 2 && text[i - 1] == 0x8d && (text[i - 2] & 0xf8) == 0x48;
    if (lea && target - address >= text.size()) taken.push_back(target);
  }
  bool may_refer(size_t i) const {
    u8 byte = text[i];
    return (byte & 0xfe) == 0xe8 || (byte & 0xc7) == 0x05 ||
           ((byte & 0xf0) == 0x80 && i && text[i - 1] == 0x0f);
  }

 private:
  // Could the byte at `i` be a ModRM byte, by the opcode before it? (`48 3d imm32`, the comparison with -4095
  // that follows every other site, would otherwise be a reference to 4 KiB before.) Vector instructions with
  // longer opcodes only ever load data.
  bool has_modrm(size_t i) const {
    if (i >= 2 && text[i - 2] == 0x0f) return true;
    if (i < 1) return false;
    u8 opcode = text[i - 1];
    bool arithmetic = opcode < 0x40 && (opcode & 7) < 4;
    bool moves = opcode >= 0x84 && opcode <= 0x8f;
    bool immediate = opcode == 0x80 || opcode == 0x81 || opcode == 0x83 || opcode == 0xc6 || opcode == 0xc7;
    return arithmetic || moves || immediate || opcode == 0x63 || opcode == 0x69 || opcode == 0x6b ||
           opcode >= 0xd0;
  }
};

TEACUP_AVX2 size_t scan_references_avx2(ReferenceScan& scan) {
  const __m256i call_mask = _mm256_set1_epi8(static_cast<char>(0xfe)),
                call = _mm256_set1_epi8(static_cast<char>(0xe8));
  const __m256i modrm_mask = _mm256_set1_epi8(static_cast<char>(0xc7)), modrm = _mm256_set1_epi8(0x05);
  const __m256i branch_mask = _mm256_set1_epi8(static_cast<char>(0xf0));
  const __m256i branch = _mm256_set1_epi8(static_cast<char>(0x80)), escape = _mm256_set1_epi8(0x0f);
  const u8* text = scan.text.data();
  size_t i = 1;
  for (; i + 32 + 4 <= scan.text.size(); i += 32) {
    __m256i byte = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + i));
    __m256i before = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + i - 1));
    __m256i hit = _mm256_cmpeq_epi8(_mm256_and_si256(byte, call_mask), call);
    hit = _mm256_or_si256(hit, _mm256_cmpeq_epi8(_mm256_and_si256(byte, modrm_mask), modrm));
    __m256i long_branch = _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(byte, branch_mask), branch),
                                           _mm256_cmpeq_epi8(before, escape));
    hit = _mm256_or_si256(hit, long_branch);
    for (u32 mask = static_cast<u32>(_mm256_movemask_epi8(hit)); mask; mask &= mask - 1) {
      scan.examine(i + static_cast<size_t>(__builtin_ctz(mask)));
    }
  }
  return i;
}

// Could the 32 bits at byte `at` of `text` be an immediate operand?
bool may_be_immediate(Bytes text, size_t at) {
  u8 opcode = at ? text[at - 1] : 0;
  if ((opcode >= 0xb8 && opcode <= 0xbf) || opcode == 0x68) return true;  // mov $, %reg; push $
  for (size_t back = 2; back <= 7 && back <= at; back++) {                // mov $, operand
    if (text[at - back] != 0xc7) continue;
    Instruction in;
    if (decode(text.subspan(at - back), 0, in) && in.length == back + 4) return true;
  }
  return false;
}

struct ImmediateScan {
  Bytes text;
  u64 low;
  u64 span;
  const AddressSet& wanted;
  std::vector<u64>& targets;

  void examine(size_t i) {
    u32 value;
    std::memcpy(&value, text.data() + i, sizeof value);
    if (value - low < span && wanted.may_hold(value) && may_be_immediate(text, i)) targets.push_back(value);
  }
};

// Eight values at a time, from four neighbouring bytes in turn: is one of them in the range at all?
TEACUP_AVX2 size_t scan_immediates_avx2(ImmediateScan& scan) {
  const __m256i low = _mm256_set1_epi32(static_cast<int>(scan.low));
  const __m256i last = _mm256_set1_epi32(static_cast<int>(scan.span - 1));
  const u8* text = scan.text.data();
  size_t i = 1;
  for (; i + 32 + 4 <= scan.text.size(); i += 32) {
    for (size_t lane = 0; lane < 4; lane++) {
      __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + i + lane));
      __m256i distance = _mm256_sub_epi32(values, low);
      __m256i inside = _mm256_cmpeq_epi32(_mm256_min_epu32(distance, last), distance);
      auto mask = static_cast<u32>(_mm256_movemask_ps(_mm256_castsi256_ps(inside)));
      for (; mask; mask &= mask - 1) scan.examine(i + lane + 4 * static_cast<size_t>(__builtin_ctz(mask)));
    }
  }
  return i;
}

// Not by __builtin_cpu_supports(): libgcc's constructor behind it asks the processor at every start of the
// command, 0.1 ms in a virtual machine, and most have nothing to scan.
__attribute__((target("xsave"))) bool ask_for_avx2() {
  constexpr unsigned kOsxsave = 1u << 27, kAvx2 = 1u << 5;
  constexpr unsigned long long kVectors = 6;  // XCR0: the host saves xmm and ymm registers
  unsigned eax, ebx, ecx, edx;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kOsxsave) == 0) return false;
  if ((_xgetbv(0) & kVectors) != kVectors) return false;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx & kAvx2) != 0;
}

bool has_avx2() {
  static const bool has = ask_for_avx2();
  return has;
}

}  // namespace

std::vector<Candidate> find_candidates(Bytes text, bool clock_reads) {
  CandidateScan scan{.text = text.data(), .size = text.size(), .clock_reads = clock_reads, .found = {}};
  size_t i = has_avx2() ? scan_candidates_avx2(scan) : scan_candidates_sse2(scan);
  for (; i + 1 < text.size(); i++) scan.examine(i);
  return std::move(scan.found);
}

void find_references(Bytes text, u64 address, const AddressSet& wanted, std::vector<u64>& targets,
                     std::vector<u64>& taken) {
  ReferenceScan scan{text, address, wanted, targets, taken};
  size_t i = has_avx2() ? scan_references_avx2(scan) : 0;
  for (; i + 5 <= text.size(); i++) {
    if (scan.may_refer(i)) scan.examine(i);
  }
}

void find_immediates(Bytes text, u64 low, u64 span, const AddressSet& wanted, std::vector<u64>& targets) {
  ImmediateScan scan{text, low, span, wanted, targets};
  bool narrow = low <= ~u32{0} && span <= ~u32{0};  // else no 32 bits reach there, or all do
  size_t i = narrow && has_avx2() ? scan_immediates_avx2(scan) : 1;
  for (; i + 4 <= text.size(); i++) scan.examine(i);
}

}  // namespace isa
}  // namespace teacup::rewrite
