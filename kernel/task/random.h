// The machine's random numbers: getrandom(2), /dev/random and /dev/urandom, AT_RANDOM. ChaCha20 (RFC 8439)
// with fast key erasure: each request takes a block of key stream, whose first half becomes the next key.
// Seeded by the broker (BootConfig::random_seed), so a deterministic machine has the same numbers each time.
//
// Locks: its own (kTrace rank: callable under any lock).
#pragma once

#include <span>

#include "kernel/base/types.h"

namespace teacup {

void random_start(std::span<const u8> seed);  // 32 bytes
void random_fill(std::span<u8> bytes);

}  // namespace teacup
