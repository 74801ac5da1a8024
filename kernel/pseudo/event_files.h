// Files that stand for events: timerfd_create(2), signalfd(2), pidfd_open(2).
#pragma once

#include "fs/file.h"
#include "kernel/abi/ipc.h"
#include "kernel/abi/signal.h"
#include "kernel/abi/time.h"
#include "kernel/task/process.h"

namespace teacup::pseudo {

// EINVAL: a clock that has no timers, or unknown flags.
Result<Ref<fs::File>> make_timerfd(int clock, u32 flags);
// EINVAL: `file` is no timerfd, or a malformed time.
Result<void> timerfd_set(fs::File& file, u32 flags, const abi::ITimerspec& value, abi::ITimerspec* old);
Result<abi::ITimerspec> timerfd_get(fs::File& file);

// Signals of `mask` that are pending for whoever reads. Waiting and epoll follow the process that made it.
Result<Ref<fs::File>> make_signalfd(abi::SigSet mask, u32 flags);
Result<void> signalfd_set_mask(fs::File& file, abi::SigSet mask);  // EINVAL: not a signalfd

// flags: O_NONBLOCK. Readable once the process has ended.
Result<Ref<fs::File>> make_pidfd(Ref<Process> process, u32 flags);
Process* process_of_pidfd(fs::File& file);  // null: not a pidfd
// Whom an open /proc/PID is of, which pidfd_send_signal(2) takes too. EBADF: it is something else; ESRCH.
Result<Ref<Process>> process_of_directory(fs::File& file);

}  // namespace teacup::pseudo
