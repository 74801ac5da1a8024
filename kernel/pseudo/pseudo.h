// What the kernel itself shows as files: /proc, /dev, /sys, terminals, the machine's standard streams.
#pragma once

#include "fs/fd_table.h"
#include "kernel/base/result.h"

namespace teacup::pseudo {

// Registers the file systems "proc", "sysfs", "devpts", "mqueue" and "devtmpfs", and the character devices,
// with fs. Before fs_start(), once.
void pseudo_start();

// Descriptors 0-2 of the first process, as the boot configuration says: the console, or host streams;
// closed ones stay closed. Streams that are one description on the host are one here.
Result<void> open_standard_streams(fs::FdTable& files);

// Called by the kernel task, with no lock held.
void stream_event(u32 stream);             // abi::kEventStream0 << stream
void window_event(u32 rows, u32 columns);  // abi::kEventWinch

}  // namespace teacup::pseudo
