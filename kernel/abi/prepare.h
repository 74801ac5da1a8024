// RingOp::kPrepare: the guest side asks the broker to plan patches for an executable file.
//   a: arena offset of a PrepareInput    b: its size in bytes
//   c: arena offset of the output buffer  d: its size in bytes
// The answer is the size of the blob (kernel/abi/prepared.h), which has been written to the output if it
// fits, or -errno: EINVAL for a request that makes no sense, EIO when the bytes cannot be read. Where the
// text lies in the store (PrepareInput::stored) the blob is there, and nothing has been written to the
// output.
#pragma once

#include "kernel/base/types.h"

namespace teacup::abi {

// A part of the file's bytes: of an image (fd as the guest side numbers it), or of the arena.
struct PreparePiece {
  s32 fd;  // kArenaFd or kFirstImageFd + n
  u32 pad_;
  u64 host_offset;
  u64 length;
};

enum PrepareFlags : u32 {
  kPrepareCpuid = 1,  // patch cpuid sites too
  kPrepareClock = 2,  // and rdtsc and rdtscp
};

struct PrepareInput {
  u64 file_size;
  u32 flags;
  u32 piece_count;  // PreparePiece[] follow, in the order of the file, without holes
  u64 stored;       // the broker's: where in the store of texts this one is (StoredText); 0: it is not
};

inline constexpr u32 kMaxPreparePieces = 65536;
inline constexpr u64 kMaxPreparedFile = u64{1} << 30;

// What the broker would answer, known before (host/broker/foreseen.h). Records lie one behind the other at
// ArenaHeader::foreseen_offset; one is this, the PreparePiece[] that would be asked with, the bytes of those
// pieces that lie in the arena (whose places do not count), and the plan, each at a multiple of 8.
struct ForeseenText {
  u64 size;            // of the record
  PrepareInput input;  // with the answer's `stored`
  u64 tail_size;
  u64 plan_size;  // 0 where the text is in the store

  u64 pieces() const { return sizeof *this; }
  u64 tail() const { return pieces() + input.piece_count * sizeof(PreparePiece); }
  u64 plan() const { return align_up(tail() + tail_size, 8); }
  u64 needed() const { return align_up(plan() + plan_size, 8); }
  // Whether the sizes agree.
  bool is_sound() const {
    return input.piece_count <= kMaxPreparePieces && tail_size <= kMaxPreparedFile &&
           plan_size <= kMaxPreparedFile && size == needed();
  }
};
static_assert(sizeof(ForeseenText) % 8 == 0 && sizeof(PreparePiece) % 8 == 0);

}  // namespace teacup::abi
