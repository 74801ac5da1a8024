// The arena's size as the broker made it. The header's copy of it is the guest's to write, like everything in
// the arena, so no check may ask that one.
#pragma once

#include "kernel/base/types.h"

namespace teacup::host {

// Takes the size from the header; before any guest code runs.
void remember_arena();
// [offset, offset + length) lies in the arena.
bool in_arena(u64 offset, u64 length);

}  // namespace teacup::host
