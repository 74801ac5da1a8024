#include "host/broker/arena_bounds.h"

#include "kernel/base/arena_header.h"

namespace teacup::host {

namespace {
u64 arena_end = 0;
}

void remember_arena() {
  arena_end = arena().arena_size;
}

bool in_arena(u64 offset, u64 length) {
  return offset <= arena_end && length <= arena_end - offset;
}

}  // namespace teacup::host
