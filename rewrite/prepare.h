// The rewriter's front door: from the bytes of an ELF file to what the kernel needs to run it without traps.
//
//   Prepared prepared = prepare(file);
//   if (prepared.status == abi::kPreparedPatched) { ... prepared.serialise_into(buffer) ... }
//
// The file may be hostile. Whatever it holds, prepare() returns, and what cannot be understood is left
// unpatched: the net serves such sites, only slower. (A file mapped from disk may shrink meanwhile: read it
// instead.)
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "kernel/abi/prepared.h"
#include "rewrite/isa.h"

namespace teacup::rewrite {

// Why a site is left to the net (abi::PreparedSite::reason).
enum class NetReason : u16 {
  kNone = 0,
  kNotAsked = 1,      // of a kind that the options leave alone, or that the kernel refuses
  kWritable = 2,      // in a segment that is executable and writable
  kDoubtful = 3,      // looks like one, but the function that holds it does not decode up to it
  kSignalReturn = 4,  // unwinders recognise this signal trampoline by its bytes
  kNoRoom = 5,        // no tactic finds a window that is safe
  kUnencodable = 6,   // the patch would hold the bytes of a site
};
const char* reason_text(NetReason reason);
const char* tactic_name(u8 tactic);
const char* kind_name(u8 kind);

struct Options {
  bool patch_cpuid = false;
  bool patch_rdtsc = false;
  // Also decide which sysenter, int 0x80 and unpatched cpuid sites are real: for reports only, it takes time.
  bool count_others = false;
  // Fill in Site::function: for reports only, it takes time.
  bool name_functions = false;
};

// One site, and what was done with it. Addresses are the file's (ELF virtual addresses).
struct Site {
  u64 address = 0;
  abi::PreparedSiteKind kind = abi::kSiteSyscall;
  abi::PreparedTactic tactic = abi::kTacticNet;
  NetReason reason = NetReason::kNone;
  u64 window_begin = 0;
  u64 window_end = 0;
  u64 trampoline = 0;
  u64 trampoline_end = 0;
  std::vector<Instruction> displaced;  // without the site itself
  std::string function;                // "getpid+0x5", by symbols

  // A system call that the guest will make through the net.
  bool left_to_net() const { return kind == abi::kSiteSyscall && tactic == abi::kTacticNet; }
};

struct TextPatch {
  u64 address = 0;
  u64 file_offset = 0;
  std::vector<u8> bytes;
};

struct TextSegment {
  u64 file_offset = 0;
  u64 file_size = 0;
  u64 vaddr = 0;
  u64 memory_size = 0;
};

struct Prepared {
  abi::PreparedStatus status = abi::kPreparedNotElf;
  std::string message;  // why it was not patched

  u64 base = 0;                // address that object offsets count from
  u64 object_size = 0;         // see abi::PreparedHeader
  u64 trampoline_address = 0;  // page aligned, 0 without any
  std::vector<u8> trampolines;
  std::vector<TextSegment> segments;  // executable ones
  std::vector<TextPatch> patches;     // by address, disjoint
  std::vector<abi::PreparedPc> to_guest;
  std::vector<abi::PreparedPc> to_actual;
  std::vector<Site> sites;  // by address
  u32 micros = 0;

  // The blob of kernel/abi/prepared.h.
  size_t serialised_size() const;
  // `buffer` must have serialised_size() bytes and be 8-byte aligned.
  void serialise_into(std::span<std::byte> buffer) const;
  std::vector<std::byte> serialise() const;
};

Prepared prepare(std::span<const std::byte> file, const Options& options = {});

}  // namespace teacup::rewrite
