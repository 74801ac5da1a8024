// Sockets: socket(2) and all that follows from it.
#pragma once

#include "kernel/abi/net.h"
#include "kernel/abi/time.h"
#include "kernel/base/result.h"
#include "kernel/syscall/argument_types.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

class Task;

Result<Fd> sys_socket(Task& task, SocketFamily family, SocketType type, SocketProtocol protocol);
Result<void> sys_socketpair(Task& task, SocketFamily family, SocketType type, SocketProtocol protocol,
                            DescriptorPair ends);
Result<void> sys_bind(Task& task, Fd fd, SocketAddress address, u32 length);
Result<void> sys_listen(Task& task, Fd fd, int backlog);
Result<Fd> sys_accept(Task& task, Fd fd, SocketAddressOut address, SocketLength length);
Result<Fd> sys_accept4(Task& task, Fd fd, SocketAddressOut address, SocketLength length, SocketFlags flags);
Result<void> sys_connect(Task& task, Fd fd, SocketAddress address, u32 length);
Result<void> sys_shutdown(Task& task, Fd fd, ShutdownHow how);
Result<size_t> sys_sendto(Task& task, Fd fd, GuestIn<std::byte> data, size_t size, MessageFlags flags,
                          SocketAddress to, u32 to_length);
Result<size_t> sys_recvfrom(Task& task, Fd fd, GuestOut<std::byte> data, size_t size, MessageFlags flags,
                            SocketAddressOut from, SocketLength from_length);
Result<size_t> sys_sendmsg(Task& task, Fd fd, GuestIn<abi::MsgHdr> message, MessageFlags flags);
Result<size_t> sys_recvmsg(Task& task, Fd fd, MessageOut message, MessageFlags flags);
Result<u32> sys_sendmmsg(Task& task, Fd fd, GuestInOut<abi::MMsgHdr> messages, u32 count, MessageFlags flags);
Result<u32> sys_recvmmsg(Task& task, Fd fd, GuestInOut<abi::MMsgHdr> messages, u32 count, MessageFlags flags,
                         GuestInOut<abi::Timespec> timeout);
Result<void> sys_getsockname(Task& task, Fd fd, SocketAddressOut address, SocketLength length);
Result<void> sys_getpeername(Task& task, Fd fd, SocketAddressOut address, SocketLength length);
Result<void> sys_setsockopt(Task& task, Fd fd, SocketLevel level, SocketOption name, OptionIn value,
                            u32 length);
Result<void> sys_getsockopt(Task& task, Fd fd, SocketLevel level, SocketOption name, OptionOut value,
                            SocketLength length);

}  // namespace teacup
