#include "kernel/syscall/socket_calls.h"

#include <algorithm>

#include "kernel/base/memory.h"
#include "kernel/task/process.h"
#include "kernel/task/send_signal.h"
#include "kernel/task/task.h"
#include "net/families.h"

namespace teacup {

namespace {

using net::Address;

constexpr size_t kMostPieces = 1024;    // UIO_MAXIOV
constexpr u64 kLongestControl = 20480;  // net.core.optmem_max
constexpr u32 kSocketFlags = abi::kSOCK_NONBLOCK | abi::kSOCK_CLOEXEC;
constexpr u32 kAddressRoom = sizeof(Address::bytes);
constexpr size_t kLongestOption = 512;

// Who calls, as net/ wants to know it. The names refer to the task.
struct CallerOf {
  explicit CallerOf(Task& task)
      : names(task.caller()), caller{names, {task.pid(), task.credentials.euid, task.credentials.egid}} {}
  fs::Caller names;
  net::Caller caller;
};

struct OpenSocket {
  fs::FdFile file;
  net::Socket* socket;
  net::Socket* operator->() const { return socket; }
};

Result<OpenSocket> get_socket(Task& task, Fd fd) {
  fs::FdFile file = TRY(task.files->use_io(fd));
  net::Socket* socket = net::socket_of(*file);
  if (socket == nullptr) return Errno::NOTSOCK;
  return OpenSocket{std::move(file), socket};
}

Result<Address> read_address(GuestAddress from, u32 length) {
  if (static_cast<s32>(length) < 0 || length > kAddressRoom) return Errno::INVAL;
  Address address;
  TRY(copy_from_guest(address.bytes, from.value, length));
  address.length = length;
  return address;
}

// As much as the caller has room for; the length says how long it is.
Result<void> write_address(const Address& address, GuestAddress to, GuestInOut<u32> length) {
  if (to.value == 0) return {};
  u32 room = TRY(length.read());
  if (static_cast<s32>(room) < 0) return Errno::INVAL;
  TRY(copy_to_guest(to.value, address.bytes, std::min(room, address.length)));
  return length.write(address.length);
}

Result<Fd> install(Task& task, Ref<net::Socket> socket, bool cloexec) {
  return task.files->install(std::move(socket), cloexec, task.process->limit(abi::kRLIMIT_NOFILE));
}

Result<void> check_new_socket(int family, int type) {
  if (family < 0 || family >= abi::kAF_MAX) return Errno::AFNOSUPPORT;
  if ((static_cast<u32>(type) & ~(kSocketFlags | abi::kSOCK_TYPE_MASK)) != 0) return Errno::INVAL;
  if ((type & abi::kSOCK_TYPE_MASK) >= abi::kSOCK_MAX) return Errno::INVAL;
  return {};
}

u64 deadline_of(u64 timeout) {
  return timeout == 0 ? kNoDeadline : gate::monotonic_now() + timeout;
}

bool nonblocking(const OpenSocket& socket, u32 flags) {
  return socket.file->nonblocking() || (flags & abi::kMSG_DONTWAIT) != 0;
}

}  // namespace

// socket(2).
Result<Fd> sys_socket(Task& task, SocketFamily family, SocketType type, SocketProtocol protocol) {
  TRY(check_new_socket(family, type));
  u32 flags = static_cast<u32>(type) & abi::kSOCK_NONBLOCK;
  CallerOf who(task);
  auto socket = TRY(net::make_socket(who.caller, family, type & abi::kSOCK_TYPE_MASK, protocol, flags));
  return install(task, std::move(socket), (type & abi::kSOCK_CLOEXEC) != 0);
}

Result<void> sys_socketpair(Task& task, SocketFamily family, SocketType type, SocketProtocol protocol,
                            DescriptorPair ends) {
  TRY(check_new_socket(family, type));
  CallerOf who(task);
  u32 flags = static_cast<u32>(type) & abi::kSOCK_NONBLOCK;
  bool cloexec = (type & abi::kSOCK_CLOEXEC) != 0;
  auto pair = TRY(net::make_pair(who.caller, family, type & abi::kSOCK_TYPE_MASK, protocol, flags));
  Fd first = TRY(install(task, std::move(pair.first), cloexec));
  auto second = install(task, std::move(pair.second), cloexec);
  if (!second.ok()) {
    (void)task.files->close(first);
    return second.error();
  }
  s32 numbers[2] = {first.value, second.value().value};
  auto written = copy_to_guest(ends.address(), numbers, sizeof numbers);
  if (!written.ok()) {
    (void)task.files->close(first);
    (void)task.files->close(second.value());
  }
  return written;
}

// --- Connections.

Result<void> sys_bind(Task& task, Fd fd, SocketAddress address, u32 length) {
  OpenSocket socket = TRY(get_socket(task, fd));
  Address name = TRY(read_address(address, length));
  return socket->bind(CallerOf(task).caller, name);
}

Result<void> sys_listen(Task& task, Fd fd, int backlog) {
  OpenSocket socket = TRY(get_socket(task, fd));
  return socket->listen(CallerOf(task).caller, backlog);
}

Result<Fd> sys_accept4(Task& task, Fd fd, SocketAddressOut address, SocketLength length, SocketFlags flags) {
  if ((flags & ~kSocketFlags) != 0) return Errno::INVAL;
  OpenSocket socket = TRY(get_socket(task, fd));
  // Before a connection is taken off the queue.
  TRY(task.files->check_room(task.process->limit(abi::kRLIMIT_NOFILE)));
  auto attempt = [&] { return socket->accept(flags & abi::kSOCK_NONBLOCK); };
  Ref<net::Socket> accepted =
      socket.file->nonblocking()
          ? TRY(attempt())
          : TRY(block_on(*socket.file->wait_queue(), abi::kPOLLIN | abi::kPOLLHUP, "accept", attempt,
                         deadline_of(socket->options().receive_timeout)));
  if (address.value != 0) {
    auto peer = accepted->accepted_from();
    if (peer.ok()) TRY(write_address(peer.value(), address, length));
  }
  return install(task, std::move(accepted), (flags & abi::kSOCK_CLOEXEC) != 0);
}

Result<Fd> sys_accept(Task& task, Fd fd, SocketAddressOut address, SocketLength length) {
  return sys_accept4(task, fd, address, length, 0);
}

Result<void> sys_connect(Task& task, Fd fd, SocketAddress address, u32 length) {
  OpenSocket socket = TRY(get_socket(task, fd));
  Address name = TRY(read_address(address, length));
  CallerOf who(task);
  bool wait = !socket.file->nonblocking();
  auto attempt = [&] { return socket->connect(who.caller, name, wait); };
  if (!wait) return attempt();
  return block_on(*socket.file->wait_queue(), abi::kPOLLOUT | abi::kPOLLHUP, "connect", attempt,
                  deadline_of(socket->options().send_timeout), socket->connect_timeout());
}

Result<void> sys_shutdown(Task& task, Fd fd, ShutdownHow how) {
  OpenSocket socket = TRY(get_socket(task, fd));
  return socket->shutdown(how);
}

Result<void> sys_getsockname(Task& task, Fd fd, SocketAddressOut address, SocketLength length) {
  OpenSocket socket = TRY(get_socket(task, fd));
  return write_address(TRY(socket->local_address()), address, length);
}

Result<void> sys_getpeername(Task& task, Fd fd, SocketAddressOut address, SocketLength length) {
  OpenSocket socket = TRY(get_socket(task, fd));
  return write_address(TRY(socket->peer_address()), address, length);
}

// --- Sending.

namespace {

// A stream's blocking send goes on until all is sent.
Result<size_t> send_all(Task& task, OpenSocket& socket, net::SendRequest& request) {
  CallerOf who(task);
  u64 deadline = deadline_of(socket->options().send_timeout);
  size_t done = 0;
  auto attempt = [&] { return socket->send(who.caller, request); };
  for (;;) {
    auto sent = nonblocking(socket, request.flags)
                    ? attempt()
                    : block_on(*socket.file->wait_queue(), abi::kPOLLOUT | abi::kPOLLHUP | abi::kPOLLERR,
                               "send", attempt, deadline);
    if (sent.ok()) {
      done += sent.value();
      if (request.data->remaining() == 0 || socket->type() != abi::kSOCK_STREAM) return done;
      continue;
    }
    if (sent.is(Errno::PIPE) && (request.flags & abi::kMSG_NOSIGNAL) == 0)
      (void)send_signal(task, user_signal(abi::kSIGPIPE));
    if (done > 0) return done;
    return sent.error();
  }
}

// Descriptors that go along, beside those of an earlier control message.
Result<void> add_rights(Task& task, u64 descriptors, u64 count, net::SendRequest& request) {
  u64 before = request.ancillary ? request.ancillary->files.size() : 0;
  if (count > abi::kSCM_MAX_FD - before) return Errno::INVAL;
  if (count == 0) return {};
  auto ancillary = TRY(make_ref<net::Ancillary>());
  ancillary->files = TRY(HeapArray<fs::File*>::create(before + count));
  for (u64 i = 0; i < before; i++) ancillary->files[i] = std::exchange(request.ancillary->files[i], nullptr);
  request.ancillary = ancillary;
  for (u64 i = 0; i < count; i++) {
    s32 fd = TRY(GuestIn<s32>(descriptors).at(i));
    ancillary->files[before + i] = TRY(task.files->get(Fd{fd})).leak();
  }
  return {};
}

// Descriptors and credentials that go along.
Result<void> read_control(Task& task, const abi::MsgHdr& header, net::SendRequest& request) {
  if (header.control == 0 || header.control_length < sizeof(abi::CMsgHdr)) return {};
  if (header.control_length > kLongestControl) return Errno::NOBUFS;
  u64 at = 0;
  while (at + sizeof(abi::CMsgHdr) <= header.control_length) {
    abi::CMsgHdr part;
    TRY(copy_from_guest(&part, header.control + at, sizeof part));
    if (part.length < sizeof part || part.length > header.control_length - at) return Errno::INVAL;
    u64 data = header.control + at + sizeof part;
    u64 size = part.length - sizeof part;
    at += align_up(part.length, sizeof(u64));
    if (part.level != abi::kSOL_SOCKET) {
      std::byte value[sizeof(net::ControlRecords::Record::data)];
      if (size > sizeof value) return Errno::INVAL;
      TRY(copy_from_guest(value, data, size));
      request.control.add(part.level, part.type, value, static_cast<u32>(size));
      continue;
    }
    if (part.type == abi::kSCM_CREDENTIALS) {
      if (size != sizeof(abi::UCred)) return Errno::INVAL;
      TRY(copy_from_guest(&request.sender, data, sizeof(abi::UCred)));
      const Credentials& own = task.credentials;
      const abi::UCred& given = request.sender;
      bool pid_ok = given.pid == task.pid() || own.has(abi::kCAP_SYS_ADMIN);
      bool uid_ok =
          given.uid == own.uid || given.uid == own.euid || given.uid == own.suid || own.has(abi::kCAP_SETUID);
      bool gid_ok =
          given.gid == own.gid || given.gid == own.egid || given.gid == own.sgid || own.has(abi::kCAP_SETGID);
      if (!pid_ok || !uid_ok || !gid_ok) return Errno::PERM;
      request.has_sender = true;
      continue;
    }
    if (part.type != abi::kSCM_RIGHTS) return Errno::INVAL;
    TRY(add_rights(task, data, size / sizeof(s32), request));
  }
  return {};
}

// A message's pieces, in the heap when there are many.
class Pieces {
 public:
  Result<void> read(u64 address, u64 count) {
    if (count > kMostPieces) return Errno::MSGSIZE;
    if (count > std::size(few_)) many_ = TRY(HeapArray<abi::IoVec>::create(count));
    abi::IoVec* into = count > std::size(few_) ? many_.data() : few_;
    TRY(copy_from_guest(into, address, count * sizeof(abi::IoVec)));
    u64 total = 0;
    for (u64 i = 0; i < count; i++) {
      if (into[i].length > 0x7ffff000 || total + into[i].length > 0x7fffffff) return Errno::INVAL;
      total += into[i].length;
    }
    count_ = count;
    return {};
  }
  const abi::IoVec* data() const { return many_.size() > 0 ? many_.data() : few_; }
  size_t count() const { return count_; }

 private:
  abi::IoVec few_[8];
  HeapArray<abi::IoVec> many_;
  size_t count_ = 0;
};

Result<size_t> send_message(Task& task, Fd fd, const abi::MsgHdr& header, u32 flags) {
  OpenSocket socket = TRY(get_socket(task, fd));
  Pieces pieces;
  TRY(pieces.read(header.iov, header.iov_count));
  IoSource data(pieces.data(), pieces.count());
  net::SendRequest request;
  request.data = &data;
  request.flags = flags;
  Address to;
  if (header.name != 0 && header.name_length != 0) {
    to = TRY(read_address(GuestAddress{header.name}, static_cast<u32>(header.name_length)));
    request.to = &to;
  }
  TRY(read_control(task, header, request));
  return send_all(task, socket, request);
}

}  // namespace

Result<size_t> sys_sendto(Task& task, Fd fd, GuestIn<std::byte> data, size_t size, MessageFlags flags,
                          SocketAddress to, u32 to_length) {
  OpenSocket socket = TRY(get_socket(task, fd));
  IoSource from(data.address(), std::min<size_t>(size, 0x7ffff000));
  net::SendRequest request;
  request.data = &from;
  request.flags = flags;
  Address address;
  if (to.value != 0) {
    address = TRY(read_address(to, to_length));
    request.to = &address;
  }
  return send_all(task, socket, request);
}

Result<size_t> sys_sendmsg(Task& task, Fd fd, GuestIn<abi::MsgHdr> message, MessageFlags flags) {
  return send_message(task, fd, TRY(message.read()), flags);
}

Result<u32> sys_sendmmsg(Task& task, Fd fd, GuestInOut<abi::MMsgHdr> messages, u32 count,
                         MessageFlags flags) {
  count = std::min<u32>(count, kMostPieces);
  for (u32 i = 0; i < count; i++) {
    abi::MMsgHdr message = TRY(messages.at(i));
    auto sent = send_message(task, fd, message.header, flags);
    if (!sent.ok() && i > 0) return i;
    if (!sent.ok()) return sent.error();
    message.length = static_cast<u32>(sent.value());
    TRY(messages.write_at(i, message));
  }
  return count;
}

// --- Receiving.

namespace {

Result<size_t> receive_all(OpenSocket& socket, net::ReceiveRequest& request, u64 deadline) {
  // Nobody waits for errors (recv(2), MSG_ERRQUEUE).
  bool errors = (request.flags & abi::kMSG_ERRQUEUE) != 0 && socket->family() != abi::kAF_UNIX;
  bool wait = !errors && !nonblocking(socket, request.flags);
  if (!wait) request.flags |= abi::kMSG_DONTWAIT;
  bool all = (request.flags & abi::kMSG_WAITALL) != 0 && socket->type() == abi::kSOCK_STREAM &&
             (request.flags & abi::kMSG_PEEK) == 0;
  size_t done = 0;
  auto attempt = [&] { return socket->receive(request); };
  for (;;) {
    auto got = wait ? block_on(*socket.file->wait_queue(), abi::kPOLLIN | abi::kPOLLHUP | abi::kPOLLERR,
                               "receive", attempt, deadline)
                    : attempt();
    if (!got.ok() && done == 0) return got.error();
    if (!got.ok() || got.value() == 0) return done;
    done += got.value();
    request.goes_on = true;
    if (!all || request.data->remaining() == 0 || request.ancillary) return done;
  }
}

// Writes control messages one after another; notes when they do not fit.
class ControlWriter {
 public:
  ControlWriter(u64 address, u64 room) : address_(address), room_(address != 0 ? room : 0) {}
  u64 used() const { return used_; }
  bool truncated() const { return truncated_; }
  // How many bytes of data the next message can have.
  u64 room_for_data() const {
    return room_ - std::min(room_, used_) > sizeof(abi::CMsgHdr) ? room_ - used_ - sizeof(abi::CMsgHdr) : 0;
  }
  Result<void> put(int level, int type, const void* data, u64 size) {
    if (room_for_data() < size) {
      // What there is room for.
      truncated_ = true;
      size = room_for_data();
      if (size == 0 && room_ - std::min(room_, used_) < sizeof(abi::CMsgHdr)) return {};
    }
    abi::CMsgHdr header{sizeof(abi::CMsgHdr) + size, level, type};
    TRY(copy_to_guest(address_ + used_, &header, sizeof header));
    TRY(copy_to_guest(address_ + used_ + sizeof header, data, size));
    used_ = std::min(room_, used_ + align_up(header.length, sizeof(u64)));
    return {};
  }
  void set_truncated() { truncated_ = true; }

 private:
  u64 address_, room_;
  u64 used_ = 0;
  bool truncated_ = false;
};

// Installs what came along; those that find no place in the control buffer or the table are closed.
Result<void> write_rights(Task& task, net::Ancillary& ancillary, u32 flags, ControlWriter& control) {
  s32 numbers[abi::kSCM_MAX_FD];
  size_t count = std::min<size_t>(ancillary.files.size(), control.room_for_data() / sizeof(s32));
  if (count < ancillary.files.size()) control.set_truncated();
  bool cloexec = (flags & abi::kMSG_CMSG_CLOEXEC) != 0;
  size_t installed = 0;
  for (; installed < count; installed++) {
    Ref<fs::File> file = Ref<fs::File>::share(ancillary.files[installed]);
    auto fd = task.files->install(std::move(file), cloexec, task.process->limit(abi::kRLIMIT_NOFILE));
    if (!fd.ok()) {
      control.set_truncated();
      break;
    }
    numbers[installed] = fd.value().value;
  }
  if (installed == 0) return {};
  return control.put(abi::kSOL_SOCKET, abi::kSCM_RIGHTS, numbers, installed * sizeof(s32));
}

Result<size_t> receive_message(Task& task, Fd fd, abi::MsgHdr& header, u32 flags, u64 deadline) {
  OpenSocket socket = TRY(get_socket(task, fd));
  Pieces pieces;
  TRY(pieces.read(header.iov, header.iov_count));
  IoDest data(pieces.data(), pieces.count());
  net::ReceiveRequest request;
  request.data = &data;
  request.flags = flags;
  if (deadline == kNoDeadline) deadline = deadline_of(socket->options().receive_timeout);
  size_t size = TRY(receive_all(socket, request, deadline));
  if (header.name != 0) {
    u32 room = static_cast<u32>(std::max(header.name_length, 0));
    TRY(copy_to_guest(header.name, request.from.bytes, std::min(room, request.from.length)));
    header.name_length = static_cast<s32>(request.from.length);
  } else {
    header.name_length = 0;
  }
  ControlWriter control(header.control, header.control_length);
  if (socket->family() == abi::kAF_UNIX && socket->options().pass_credentials && request.has_sender)
    TRY(control.put(abi::kSOL_SOCKET, abi::kSCM_CREDENTIALS, &request.sender, sizeof request.sender));
  if (request.ancillary) TRY(write_rights(task, *request.ancillary, flags, control));
  for (const auto& record : request.control.records())
    TRY(control.put(record.level, record.type, record.data, record.size));
  header.control_length = control.used();
  header.flags =
      request.out_flags | (control.truncated() ? abi::kMSG_CTRUNC : 0) | (flags & abi::kMSG_CMSG_CLOEXEC);
  return size;
}

}  // namespace

Result<size_t> sys_recvfrom(Task& task, Fd fd, GuestOut<std::byte> data, size_t size, MessageFlags flags,
                            SocketAddressOut from, SocketLength from_length) {
  OpenSocket socket = TRY(get_socket(task, fd));
  IoDest to(data.address(), std::min<size_t>(size, 0x7ffff000));
  net::ReceiveRequest request;
  request.data = &to;
  request.flags = flags;
  size_t got = TRY(receive_all(socket, request, deadline_of(socket->options().receive_timeout)));
  if (from.value != 0) TRY(write_address(request.from, from, from_length));
  return got;
}

Result<size_t> sys_recvmsg(Task& task, Fd fd, MessageOut message, MessageFlags flags) {
  abi::MsgHdr header = TRY(message.read());
  size_t size = TRY(receive_message(task, fd, header, flags, kNoDeadline));
  TRY(message.write(header));
  return size;
}

Result<u32> sys_recvmmsg(Task& task, Fd fd, GuestInOut<abi::MMsgHdr> messages, u32 count, MessageFlags flags,
                         GuestInOut<abi::Timespec> timeout) {
  u64 deadline = kNoDeadline;
  if (timeout) {
    abi::Timespec time = TRY(timeout.read());
    if (time.tv_sec < 0 || time.tv_nsec < 0 || time.tv_nsec >= 1'000'000'000) return Errno::INVAL;
    deadline = gate::monotonic_now() + static_cast<u64>(time.tv_sec * 1'000'000'000 + time.tv_nsec);
  }
  count = std::min<u32>(count, kMostPieces);
  // An error that is due comes before what there is to read, unlike recvmsg(2)'s.
  s32 due = 0;
  if ((flags & abi::kMSG_ERRQUEUE) == 0) {
    OpenSocket socket = TRY(get_socket(task, fd));
    TRY(socket->get_option(abi::kSOL_SOCKET, abi::kSO_ERROR, std::as_writable_bytes(std::span(&due, 1))));
  }
  if (due != 0) return static_cast<Errno>(due);
  for (u32 i = 0; i < count; i++) {
    abi::MMsgHdr message = TRY(messages.at(i));
    auto got = receive_message(task, fd, message.header, flags & ~abi::kMSG_WAITFORONE, deadline);
    if (!got.ok() && i > 0) return i;
    if (!got.ok()) return got.error();
    message.length = static_cast<u32>(got.value());
    TRY(messages.write_at(i, message));
    if ((flags & abi::kMSG_WAITFORONE) != 0) flags |= abi::kMSG_DONTWAIT;
  }
  return count;
}

// --- Options.

Result<void> sys_setsockopt(Task& task, Fd fd, SocketLevel level, SocketOption name, OptionIn value,
                            u32 length) {
  OpenSocket socket = TRY(get_socket(task, fd));
  if (static_cast<s32>(length) < 0) return Errno::INVAL;
  std::byte option[kLongestOption];
  size_t size = std::min<size_t>(length, sizeof option);
  TRY(copy_from_guest(option, value.value, size));
  CallerOf who(task);
  return socket->set_option(who.caller, level, name, {option, size});
}

Result<void> sys_getsockopt(Task& task, Fd fd, SocketLevel level, SocketOption name, OptionOut value,
                            SocketLength length) {
  OpenSocket socket = TRY(get_socket(task, fd));
  u32 room = TRY(length.read());
  if (static_cast<s32>(room) < 0) return Errno::INVAL;
  std::byte option[kLongestOption] = {};
  size_t size = TRY(socket->get_option(level, name, {option, std::min<size_t>(room, sizeof option)}));
  size = std::min<size_t>(size, room);
  TRY(copy_to_guest(value.value, option, size));
  return length.write(static_cast<u32>(size));
}

}  // namespace teacup
