// Declarations of all handlers, by family.
#pragma once

#include "kernel/syscall/fd_calls.h"
#include "kernel/syscall/file_calls.h"
#include "kernel/syscall/futex_calls.h"
#include "kernel/syscall/ipc_calls.h"
#include "kernel/syscall/memory_calls.h"
#include "kernel/syscall/pipe_calls.h"
#include "kernel/syscall/poll_calls.h"
#include "kernel/syscall/process_calls.h"
#include "kernel/syscall/signal_calls.h"
#include "kernel/syscall/socket_calls.h"
#include "kernel/syscall/time_calls.h"
