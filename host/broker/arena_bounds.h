// The arena's size as the broker made it. The header's copy of it is the guest's to write, like everything in
// the arena, so no check may ask that one.
#pragma once

#include <cstddef>
#include <span>

#include "kernel/base/types.h"

namespace teacup::host {

// Takes the size from the header; before any guest code runs. `fd`: the arena's memory, for put_in_arena().
void remember_arena(int fd = -1);
// [offset, offset + length) lies in the arena.
bool in_arena(u64 offset, u64 length);
// Copies `bytes` to `offset`, where in_arena() has them. Many pages that are not there yet are written
// through the descriptor: the host neither zeroes them first nor maps each here.
void put_in_arena(u64 offset, std::span<const std::byte> bytes);

}  // namespace teacup::host
