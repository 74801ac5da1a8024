// System V shared memory, semaphores and message queues (sysvipc(7)); POSIX message queues (mq_overview(7)).
#pragma once

#include "kernel/abi/ipc.h"
#include "kernel/base/result.h"
#include "kernel/syscall/argument_types.h"
#include "kernel/task/process_timers.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

class Task;

Result<s32> sys_shmget(Task& task, IpcKey key, size_t size, IpcFlags flags);
Result<GuestAddress> sys_shmat(Task& task, s32 id, GuestAddress address, u32 flags);
Result<void> sys_shmdt(Task& task, GuestAddress address);
Result<s32> sys_shmctl(Task& task, s32 id, IpcCommand command, GuestInOut<abi::ShmidDs> data);

Result<s32> sys_semget(Task& task, IpcKey key, s32 count, IpcFlags flags);
Result<void> sys_semop(Task& task, s32 id, GuestIn<abi::SemBuf> operations, size_t count);
Result<void> sys_semtimedop(Task& task, s32 id, GuestIn<abi::SemBuf> operations, size_t count,
                            GuestIn<abi::Timespec> timeout);
Result<s32> sys_semctl(Task& task, s32 id, s32 number, IpcCommand command, u64 argument);

Result<s32> sys_msgget(Task& task, IpcKey key, IpcFlags flags);
Result<void> sys_msgsnd(Task& task, s32 id, GuestIn<s64> message, size_t size, u32 flags);
Result<size_t> sys_msgrcv(Task& task, s32 id, GuestOut<s64> message, size_t size, s64 type, u32 flags);
Result<s32> sys_msgctl(Task& task, s32 id, IpcCommand command, GuestInOut<abi::MsqidDs> data);

Result<Fd> sys_mq_open(Task& task, GuestString name, OpenFlags flags, OpenMode mode,
                       GuestIn<abi::MqAttr> attributes);
Result<void> sys_mq_unlink(Task& task, GuestString name);
Result<void> sys_mq_timedsend(Task& task, Fd fd, GuestIn<std::byte> message, size_t size, u32 priority,
                              GuestIn<abi::Timespec> timeout);
Result<size_t> sys_mq_timedreceive(Task& task, Fd fd, GuestOut<std::byte> message, size_t size,
                                   GuestOut<u32> priority, GuestIn<abi::Timespec> timeout);
Result<void> sys_mq_notify(Task& task, Fd fd, GuestIn<TimerEvent> event);
Result<void> sys_mq_getsetattr(Task& task, Fd fd, GuestIn<abi::MqAttr> next, GuestOut<abi::MqAttr> old);

}  // namespace teacup
