// Kernel stacks and vector state: the assembly of switch.S and xstate.S.
#pragma once

#include "kernel/base/types.h"

extern "C" {
void switch_stack(teacup::u64* saved, teacup::u64 stack_top, void (*function)(void*), void* argument);
[[noreturn]] void resume_stack(teacup::u64 saved);
[[noreturn]] void continue_on_stack(teacup::u64 stack_top, void (*function)(void*), void* argument);

int xstate_save(void* area, teacup::u64 mask);
int xstate_load(const void* area, teacup::u64 mask);
int xstate_load_legacy(const void* area);
}
