// The raw host call. Only host/gate and the template's start (before the filter is in place) may include
// this.
#pragma once

#include "kernel/base/types.h"

extern "C" {
// Linux convention: the result, or -errno.
teacup::s64 host_call(teacup::u64 number, teacup::u64 a, teacup::u64 b, teacup::u64 c, teacup::u64 d,
                      teacup::u64 e, teacup::u64 f);
extern const char host_gate_return[];  // the instruction after the one syscall: what the filter allows
void host_sigreturn();
void host_thread_start();
}
