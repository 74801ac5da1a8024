// eventfd(2): a counter as a file.
//
// Locks: its own (kPipe).
#pragma once

#include "fs/file.h"

namespace teacup::fs {

// flags: EFD_SEMAPHORE, EFD_NONBLOCK. EINVAL for others.
Result<Ref<File>> make_eventfd(u32 initial, u32 flags);

}  // namespace teacup::fs
