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

}  // namespace teacup::abi
