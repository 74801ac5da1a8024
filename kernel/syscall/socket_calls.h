// Sockets: socket(2) and all that follows from it.
#pragma once

#include "kernel/abi/net.h"
#include "kernel/abi/time.h"
#include "kernel/base/result.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

class Task;

Result<Fd> sys_socket(Task& task, int family, int type, int protocol);
Result<void> sys_socketpair(Task& task, int family, int type, int protocol, GuestOut<s32> ends);
Result<void> sys_bind(Task& task, Fd fd, GuestAddress address, u32 length);
Result<void> sys_listen(Task& task, Fd fd, int backlog);
Result<Fd> sys_accept(Task& task, Fd fd, GuestAddress address, GuestInOut<u32> length);
Result<Fd> sys_accept4(Task& task, Fd fd, GuestAddress address, GuestInOut<u32> length, u32 flags);
Result<void> sys_connect(Task& task, Fd fd, GuestAddress address, u32 length);
Result<void> sys_shutdown(Task& task, Fd fd, int how);
Result<size_t> sys_sendto(Task& task, Fd fd, GuestIn<std::byte> data, size_t size, u32 flags, GuestAddress to,
                          u32 to_length);
Result<size_t> sys_recvfrom(Task& task, Fd fd, GuestOut<std::byte> data, size_t size, u32 flags,
                            GuestAddress from, GuestInOut<u32> from_length);
Result<size_t> sys_sendmsg(Task& task, Fd fd, GuestIn<abi::MsgHdr> message, u32 flags);
Result<size_t> sys_recvmsg(Task& task, Fd fd, GuestInOut<abi::MsgHdr> message, u32 flags);
Result<u32> sys_sendmmsg(Task& task, Fd fd, GuestInOut<abi::MMsgHdr> messages, u32 count, u32 flags);
Result<u32> sys_recvmmsg(Task& task, Fd fd, GuestInOut<abi::MMsgHdr> messages, u32 count, u32 flags,
                         GuestInOut<abi::Timespec> timeout);
Result<void> sys_getsockname(Task& task, Fd fd, GuestAddress address, GuestInOut<u32> length);
Result<void> sys_getpeername(Task& task, Fd fd, GuestAddress address, GuestInOut<u32> length);
Result<void> sys_setsockopt(Task& task, Fd fd, int level, int name, GuestAddress value, u32 length);
Result<void> sys_getsockopt(Task& task, Fd fd, int level, int name, GuestAddress value,
                            GuestInOut<u32> length);

}  // namespace teacup
