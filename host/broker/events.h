// The broker's end of the kernel task's mailbox (kernel/abi/events.h).
#pragma once

#include "kernel/base/types.h"

namespace teacup::host {

// Sets `flags` (abi::EventFlag) and wakes the kernel task.
void raise_event(u32 flags);
// Wakes sleepers on a word in the arena.
int wake_word(void* word, int count);
// Sleeps while *word == expected, at most `timeout_ms` (-1: for ever).
void wait_word(void* word, u32 expected, int timeout_ms);

}  // namespace teacup::host
