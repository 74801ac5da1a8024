// The prepared executable: what the broker's rewriter (rewrite/) hands to the kernel for one file, as one
// flat blob.
//
// Plain old data, position independent (offsets, no pointers), little endian, versioned; every table can be
// checked against the blob's size before it is read. The kernel maps or copies the blob and reads it in place
// through PreparedView; it needs nothing but this header.
//
// Addresses. An *object offset* is an ELF virtual address of the file minus PreparedHeader::base_vaddr. Where
// the object is loaded with bias B (run-time address minus ELF address), an object offset o is at B +
// base_vaddr + o. For a mapping of file offset f at address a, the segment s that holds f gives
//     address of object offset 0 = a - (s.offset + (f - s.file_offset)).
// Everything keeps its distance: patched text, trampolines and PC map are valid at any bias, so frames are
// shared.
//
// What the kernel does with it, when a file is first mapped executable:
//   1. patched frames: copy each page that a PreparedPatch touches, lay the patch over it (a patch may
//   straddle two
//      pages; then it belongs to both, and both must be used or neither);
//   2. trampoline frames: copy trampoline_size bytes, zero-filled to page_up(trampoline_size);
//   3. where the mapping's segment is as the ELF header says and [trampoline_offset, +page_up(size)) is free
//   there,
//      map patched frames for the text and trampoline frames (read and execute) behind it; where it is not
//      free, map the unpatched text: the net serves its sites. Never patched text without its trampolines.
//
// Trampoline of a system-call site (the kernel's side of the protocol is kernel/entry's):
//     [displaced instructions before the syscall]      kPcMoved
//     lea cont(%rip), %rcx ; jmp *%gs:8                kPcEnter: both stand for the syscall instruction
//     itself
//   cont:
//     [displaced instructions after the syscall]       kPcMoved
//     jmp back                                         kPcReturn: stands for the instruction after the window
// cpuid reads rcx, so its site names the way back in rdx instead, which cpuid, rdtsc and rdtscp all write and
// none reads: `lea cont(%rip), %rdx ; jmp *%gs:16` (kPcEnterCpuid); rdtsc and rdtscp, off by default, `jmp
// *%gs:24` and `jmp *%gs:32`. Their service must preserve every register but those the instruction writes,
// and the flags.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "kernel/base/types.h"

namespace teacup::abi {

inline constexpr u32 kPreparedMagic = 0x31707463;  // "ctp1"
inline constexpr u32 kPreparedVersion = 1;

// Why a blob is as it is. Only kPreparedPatched has patches and trampolines; with any other the file is
// mapped as it is, and its sites, if it has any, are served by the net.
enum PreparedStatus : u32 {
  kPreparedPatched = 0,
  kPreparedNoSites = 1,  // an executable object without a site: nothing to do
  kPreparedNotElf = 2,   // not an x86-64 ELF executable or shared object
  kPreparedBadElf = 3,   // truncated, overlapping or contradictory headers: not patched
  kPreparedNetOnly = 4,  // sites, but none could be patched
};

// Which instruction a site is.
enum PreparedSiteKind : u8 {
  kSiteSyscall = 0,   // 0f 05
  kSiteSysenter = 1,  // 0f 34: counted, refused by the kernel
  kSiteInt80 = 2,     // cd 80: counted, refused by the kernel
  kSiteCpuid = 3,     // 0f a2
  kSiteRdtsc = 4,     // 0f 31
  kSiteRdtscp = 5,    // 0f 01 f9
};

// How a site was patched. kTacticNet: it was not, PreparedSite::reason says why.
enum PreparedTactic : u8 {
  kTacticNet = 0,
  kTacticWindowBefore = 1,  // 5-byte jmp over whole instructions that end with the site
  kTacticShortJump = 2,     // 2-byte jump to padding that holds the long jump
  kTacticWindowAfter = 3,   // 5-byte jmp that starts at the site
  kTacticEvict = 4,         // 2-byte jump to room made by evicting a neighbouring run of instructions
  kTacticWindowAround = 5,  // 5-byte jmp over whole instructions on both sides of the site
};

// What stands at a program counter that the guest must not see.
enum PreparedPcKind : u8 {
  kPcMoved = 0,       // copy of a displaced instruction
  kPcEnter = 1,       // on the way into the kernel: a system call not yet made
  kPcReturn = 2,      // jump back, everything displaced has been executed
  kPcEnterCpuid = 3,  // as kPcEnter, for cpuid
  kPcEnterRdtsc = 4,  // as kPcEnter, for rdtsc and rdtscp
  kPcFiller = 5,      // bytes between trampolines, never executed
};

// A table inside the blob: `count` entries from byte `offset` (8-byte aligned) of the blob.
struct PreparedTable {
  u32 offset;
  u32 count;
};

struct PreparedHeader {
  u32 magic;    // kPreparedMagic
  u32 version;  // kPreparedVersion; a reader refuses any other
  u64 size;     // bytes of the whole blob, this header included
  u32 status;   // PreparedStatus
  u32 flags;    // none yet, 0

  u64 base_vaddr;   // ELF address that object offsets count from: the lowest PT_LOAD's p_vaddr, page down
  u64 object_size;  // from there to the end of the last PT_LOAD's memory (with .bss), page up
  u64 trampoline_offset;  // object offset of the trampoline block, page aligned; 0 without one
  u32 trampoline_size;    // bytes of trampolines in use; the block spans page_up of it
  u32 trampoline_bytes;   // where in the blob these bytes are

  PreparedTable segments;   // PreparedSegment[], the executable PT_LOADs, by offset
  PreparedTable patches;    // PreparedPatch[], by file offset, disjoint
  PreparedTable bytes;      // u8[]: what patches lay over the text
  PreparedTable to_guest;   // PreparedPc[], by actual: program counters the guest must not see
  PreparedTable to_actual;  // PreparedPc[], by guest: addresses inside patched windows
  PreparedTable sites;      // PreparedSite[], by offset: for statistics and messages

  u32 net_sites;       // system-call sites left to the net
  u32 prepare_micros;  // time the preparation took
};

// One executable PT_LOAD.
struct PreparedSegment {
  u64 file_offset;  // p_offset
  u64 file_size;    // p_filesz
  u64 offset;       // object offset of p_vaddr
  u64 memory_size;  // p_memsz
};

// `length` bytes to lay over the file's at `file_offset`, which is at object offset `offset` in memory.
struct PreparedPatch {
  u64 file_offset;
  u32 offset;
  u16 length;
  u16 reserved;
  u32 bytes;  // index into PreparedHeader::bytes
  u32 reserved2;
};

// A run of program counters and what it stands for. In to_guest, `length` bytes from object offset `actual`
// all stand for the instruction at `guest`. In to_actual, the `length` bytes of the instruction at `guest`
// are executed at `actual`. Trampolines and windows are covered without gaps.
struct PreparedPc {
  u32 actual;
  u32 guest;
  u16 length;
  u8 kind;  // PreparedPcKind
  u8 reserved;
};

struct PreparedSite {
  u32 offset;  // object offset of the instruction
  u8 kind;     // PreparedSiteKind
  u8 tactic;   // PreparedTactic
  u16 reason;  // rewrite's NetReason when tactic is kTacticNet
};

static_assert(sizeof(PreparedHeader) == 112 && sizeof(PreparedSegment) == 32 && sizeof(PreparedPatch) == 24 &&
              sizeof(PreparedPc) == 12 && sizeof(PreparedSite) == 8);

// Reads a blob in place. create() checks magic, version, and that every table and every reference from one
// table into another lies within the blob, so that the accessors need no further test. The blob must be
// 8-byte aligned, must not change, and must outlive the view.
class PreparedView {
 public:
  // Nothing for a blob that is truncated, of another version, or contradicts itself.
  static std::optional<PreparedView> create(std::span<const std::byte> blob) {
    if (blob.size() < sizeof(PreparedHeader)) return std::nullopt;
    PreparedView view(blob.data());
    const PreparedHeader& h = view.header();
    if (h.magic != kPreparedMagic || h.version != kPreparedVersion) return std::nullopt;
    if (h.size > blob.size() || h.size < sizeof(PreparedHeader)) return std::nullopt;
    bool fits = view.fits(h.segments, sizeof(PreparedSegment)) &&
                view.fits(h.patches, sizeof(PreparedPatch)) && view.fits(h.bytes, 1) &&
                view.fits(h.to_guest, sizeof(PreparedPc)) && view.fits(h.to_actual, sizeof(PreparedPc)) &&
                view.fits(h.sites, sizeof(PreparedSite)) &&
                view.fits({h.trampoline_bytes, h.trampoline_size}, 1);
    if (!fits || !is_aligned(h.base_vaddr | h.object_size | h.trampoline_offset, kPageSize))
      return std::nullopt;
    for (const PreparedPatch& patch : view.patches()) {
      if (u64{patch.bytes} + patch.length > h.bytes.count) return std::nullopt;
    }
    return view;
  }

  const PreparedHeader& header() const { return *static_cast<const PreparedHeader*>(blob_); }
  bool patched() const { return header().status == kPreparedPatched; }

  std::span<const PreparedSegment> segments() const { return table<PreparedSegment>(header().segments); }
  std::span<const PreparedPatch> patches() const { return table<PreparedPatch>(header().patches); }
  std::span<const PreparedPc> to_guest() const { return table<PreparedPc>(header().to_guest); }
  std::span<const PreparedPc> to_actual() const { return table<PreparedPc>(header().to_actual); }
  std::span<const PreparedSite> sites() const { return table<PreparedSite>(header().sites); }
  std::span<const u8> trampolines() const {
    return table<u8>({header().trampoline_bytes, header().trampoline_size});
  }
  std::span<const u8> bytes_of(const PreparedPatch& patch) const {
    return table<u8>(header().bytes).subspan(patch.bytes, patch.length);
  }

  // The entry for a program counter (object offset) that only exists because of the rewriting: inside the
  // trampolines or one of the long jumps laid into padding. Null for any other, which the guest may see as it
  // is.
  const PreparedPc* guest_for(u64 actual) const {
    return find(to_guest(), actual, [](const PreparedPc& pc) { return pc.actual; });
  }
  // The entry for an address (object offset) inside a patched window: continue at its `actual` instead. Null
  // for any other address. Total over windows: an address inside an instruction yields that instruction's
  // entry.
  const PreparedPc* actual_for(u64 guest) const {
    return find(to_actual(), guest, [](const PreparedPc& pc) { return pc.guest; });
  }

 private:
  explicit PreparedView(const void* blob) : blob_(blob) {}

  bool fits(PreparedTable t, u64 entry) const {
    return is_aligned(t.offset, 8) && t.offset <= header().size &&
           t.count * entry <= header().size - t.offset;
  }
  template <typename T>
  std::span<const T> table(PreparedTable t) const {
    return {reinterpret_cast<const T*>(static_cast<const std::byte*>(blob_) + t.offset), t.count};
  }
  // Binary search for the run that holds `where`.
  template <typename Key>
  static const PreparedPc* find(std::span<const PreparedPc> pcs, u64 where, Key key) {
    size_t low = 0, high = pcs.size();
    while (low < high) {
      size_t middle = low + (high - low) / 2;
      if (key(pcs[middle]) <= where) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (low == 0) return nullptr;
    const PreparedPc& pc = pcs[low - 1];
    return where - key(pc) < pc.length ? &pc : nullptr;
  }

  const void* blob_;
};

}  // namespace teacup::abi
