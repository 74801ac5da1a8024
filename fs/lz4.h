// LZ4 blocks (lz4_Block_format.md of the LZ4 project), decoded without a libc or vector registers.
#pragma once

#include <span>

#include "kernel/base/types.h"

namespace teacup::fs {

// Decodes from the start of `in` until `out` is full; what is left of `in` then is not looked at, so that the
// front of a block may be had without the rest. The number of bytes made: less than out.size() when the input
// ends before or contradicts itself. `in` may change meanwhile: nothing outside of it is read, nothing
// outside of `out` written.
size_t lz4_decode(std::span<const std::byte> in, std::span<std::byte> out);

// How far back a block refers to what was decoded before.
inline constexpr size_t kLz4History = 64 * 1024;

// The same of what the block makes without its first `skipped` bytes. They, and some of what follows, are put
// into `scratch`, of more than `skipped` + kLz4History bytes. Returns how many bytes of `out` were made.
size_t lz4_decode_behind(std::span<const std::byte> in, size_t skipped, std::span<std::byte> scratch,
                         std::span<std::byte> out);

}  // namespace teacup::fs
