// POSIX message queues (mq_overview(7)): a file system of its own, "mqueue", of which the machine has one.
// The calls reach it by names without a slash; where it is mounted its queues are seen as files.
//
// Locks: the directory's and a queue's (kInode), never both; a process's (kSignal) under the queue's.
#pragma once

#include "fs/path.h"
#include "kernel/abi/ipc.h"
#include "kernel/task/process.h"

namespace teacup::pseudo {

// /proc/sys/fs/mqueue.
inline constexpr u64 kMqueueMessages = 10;
inline constexpr u64 kMqueueMessageSize = 8192;
inline constexpr u64 kMqueuesMax = 256;
inline constexpr u32 kMqueuePriorities = 32768;  // MQ_PRIO_MAX

// A message: in the heap, its bytes behind it.
struct MqueueMessage {
  ListNode node;
  u32 priority;
  u64 size;
  std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
};

void register_mqueue();

// mq_open(2) behind its arguments: of `flags` the access mode, O_CREAT, O_EXCL and O_NONBLOCK. `attributes`
// of a queue that is to be made; null: the defaults. EACCES, EEXIST, EINVAL, EMFILE (RLIMIT_MSGQUEUE),
// ENOENT, ENAMETOOLONG, ENOSPC.
Result<Ref<fs::File>> open_mqueue(const fs::Caller& caller, std::string_view name, u32 flags, u32 mode,
                                  const abi::MqAttr* attributes);
Result<void> unlink_mqueue(const fs::Caller& caller, std::string_view name);

// Of open files of FileKind::kMqueue. `deadline`: ns, CLOCK_MONOTONIC; a nonblocking file never waits.
// EAGAIN, ETIMEDOUT, ERESTARTSYS.
Result<void> mqueue_send(fs::File& file, MqueueMessage* message,
                         u64 deadline);                               // takes it over, if it succeeds
Result<MqueueMessage*> mqueue_receive(fs::File& file, u64 deadline);  // to be heap_free()d
abi::MqAttr mqueue_attributes(fs::File& file);
// mq_notify(2); `how` SIGEV_SIGNAL or SIGEV_NONE. EBUSY.
Result<void> mqueue_notify(fs::File& file, Task& task, int how, int signal, abi::SigVal value);
void mqueue_forget_notification(fs::File& file, const fs::FdTable& owner);

}  // namespace teacup::pseudo
