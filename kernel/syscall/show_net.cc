// --trace: sockets and System V IPC.
#include "kernel/abi/ipc.h"
#include "kernel/abi/net.h"
#include "kernel/base/memory.h"
#include "kernel/syscall/argument_types.h"
#include "kernel/syscall/show_structures.h"

namespace teacup::show {

namespace {

#define N TEACUP_NAME
constexpr Name kFamilies[] = {N(AF_UNSPEC), N(AF_UNIX), N(AF_INET), N(AF_INET6), N(AF_NETLINK)};
constexpr Names kFamily{kFamilies, ~u64{0}, {}, "AF_???"};
constexpr Name kTypes[] = {N(SOCK_STREAM), N(SOCK_DGRAM), N(SOCK_RAW), N(SOCK_SEQPACKET)};
constexpr Name kTypeBits[] = {N(SOCK_CLOEXEC), N(SOCK_NONBLOCK)};
constexpr Names kType{kTypes, abi::kSOCK_TYPE_MASK, kTypeBits, "SOCK_???"};
constexpr Names kSocketFlags{{}, 0, kTypeBits, "SOCK_???"};
constexpr Name kProtocols[] = {{0, "IPPROTO_IP"},   {1, "IPPROTO_ICMP"},  {6, "IPPROTO_TCP"},
                               {17, "IPPROTO_UDP"}, {41, "IPPROTO_IPV6"}, {58, "IPPROTO_ICMPV6"}};
constexpr Names kProtocol{kProtocols, ~u64{0}, {}, "IPPROTO_???"};
constexpr Name kHows[] = {N(SHUT_RD), N(SHUT_WR), N(SHUT_RDWR)};
constexpr Names kHow{kHows, ~u64{0}, {}, "SHUT_???"};
constexpr Name kMessageBits[] = {N(MSG_OOB),      N(MSG_PEEK),     N(MSG_DONTROUTE),  N(MSG_CTRUNC),
                                 N(MSG_TRUNC),    N(MSG_DONTWAIT), N(MSG_EOR),        N(MSG_WAITALL),
                                 N(MSG_NOSIGNAL), N(MSG_MORE),     N(MSG_WAITFORONE), N(MSG_CMSG_CLOEXEC)};
constexpr Names kMessage{{}, 0, kMessageBits, "MSG_???"};
constexpr Name kLevels[] = {{0, "SOL_IP"}, N(SOL_SOCKET), {6, "SOL_TCP"}, {17, "SOL_UDP"}, {41, "SOL_IPV6"}};
constexpr Names kLevel{kLevels, ~u64{0}, {}, "SOL_???"};
constexpr Name kOptions[] = {N(SO_DEBUG),
                             N(SO_REUSEADDR),
                             N(SO_TYPE),
                             N(SO_ERROR),
                             N(SO_DONTROUTE),
                             N(SO_BROADCAST),
                             N(SO_SNDBUF),
                             N(SO_RCVBUF),
                             N(SO_KEEPALIVE),
                             N(SO_OOBINLINE),
                             N(SO_PRIORITY),
                             N(SO_LINGER),
                             N(SO_REUSEPORT),
                             N(SO_PASSCRED),
                             N(SO_PEERCRED),
                             N(SO_RCVLOWAT),
                             N(SO_SNDLOWAT),
                             {abi::kSO_RCVTIMEO, "SO_RCVTIMEO_OLD"},
                             {abi::kSO_SNDTIMEO, "SO_SNDTIMEO_OLD"},
                             {abi::kSO_TIMESTAMP, "SO_TIMESTAMP_OLD"},
                             N(SO_ACCEPTCONN),
                             N(SO_PEERSEC),
                             N(SO_SNDBUFFORCE),
                             N(SO_RCVBUFFORCE),
                             N(SO_PASSSEC),
                             N(SO_PROTOCOL),
                             N(SO_DOMAIN),
                             N(SO_PEEK_OFF),
                             N(SO_PEERGROUPS)};
constexpr Names kSocketOption{kOptions, ~u64{0}, {}, "SO_???"};
constexpr Name kTcpOptions[] = {{1, "TCP_NODELAY"},      {2, "TCP_MAXSEG"},    {3, "TCP_CORK"},
                                {4, "TCP_KEEPIDLE"},     {5, "TCP_KEEPINTVL"}, {6, "TCP_KEEPCNT"},
                                {9, "TCP_DEFER_ACCEPT"}, {11, "TCP_INFO"},     {18, "TCP_USER_TIMEOUT"}};
constexpr Names kTcpOption{kTcpOptions, ~u64{0}, {}, "TCP_???"};
constexpr Name kControlTypes[] = {N(SCM_RIGHTS), N(SCM_CREDENTIALS)};
constexpr Names kControlType{kControlTypes, ~u64{0}, {}, "SCM_???"};

constexpr Name kIpcBits[] = {N(IPC_CREAT), N(IPC_EXCL), N(IPC_NOWAIT)};
constexpr Names kIpc{{}, 0, kIpcBits, {}};
constexpr Name kIpcCommands[] = {N(IPC_RMID), N(IPC_SET), N(IPC_STAT), N(IPC_INFO)};
constexpr Names kIpcCommand{kIpcCommands, ~u64{0}, {}, {}};
constexpr Name kSemaphoreCommands[] = {N(GETPID), N(GETVAL), N(GETALL),   N(GETNCNT),  N(GETZCNT),
                                       N(SETVAL), N(SETALL), N(SEM_STAT), N(SEM_INFO), N(SEM_STAT_ANY)};
constexpr Names kSemaphoreCommand{kSemaphoreCommands, ~u64{0}, {}, {}};
#undef N

constexpr u32 kLongestAddress = 128;  // struct sockaddr_storage

u32 port_of(const u8* bytes) {
  return static_cast<u32>(bytes[0]) << 8 | bytes[1];
}

// A run of two zero groups or more is left out, the longest one (RFC 5952).
void inet6(TextBuffer& text, const u8* bytes) {
  u32 groups[8];
  for (u32 i = 0; i < 8; i++) groups[i] = port_of(bytes + 2 * i);
  u32 gap = 8, gap_length = 1;
  for (u32 i = 0; i < 8; i++) {
    u32 end = i;
    while (end < 8 && groups[end] == 0) end++;
    if (end - i > gap_length) {
      gap = i;
      gap_length = end - i;
    }
  }
  for (u32 i = 0; i < 8; i++) {
    if (i == gap) {
      text.add("::");
      i += gap_length - 1;
      continue;
    }
    if (i > 0 && i != gap + gap_length) text.add(':');
    text.hex(groups[i]);
  }
}

void unix_path(TextBuffer& text, const u8* bytes, u32 size) {
  std::string_view path(reinterpret_cast<const char*>(bytes), size);
  if (!path.empty() && path[0] == 0) {
    text.add('@');  // abstract
    return quoted(text, path.substr(1));
  }
  quoted(text, path.substr(0, path.find('\0')));
}

void address_of(TextBuffer& text, u64 address, u32 size) {
  u8 bytes[kLongestAddress] = {};
  u16 family = 0;
  if (size < sizeof family) return pointer(text, address);
  if (size > sizeof bytes) size = sizeof bytes;
  if (!read_or_pointer(text, address, bytes, size)) return;
  memcpy(&family, bytes, sizeof family);
  text.add("{sa_family=");
  names(text, kFamily, family);
  if (family == abi::kAF_UNIX && size > 2) {
    text.add(", sun_path=");
    unix_path(text, bytes + 2, size - 2);
  } else if (family == abi::kAF_INET && size >= 8) {
    text.add(", sin_port=htons(").udec(port_of(bytes + 2)).add("), sin_addr=inet_addr(\"");
    for (u32 i = 0; i < 4; i++) text.add(i == 0 ? "" : ".").udec(bytes[4 + i]);
    text.add("\")");
  } else if (family == abi::kAF_INET6 && size >= 24) {
    u32 scope = 0;
    if (size >= 28) memcpy(&scope, bytes + 24, sizeof scope);
    u64 flow = u64{port_of(bytes + 4)} << 16 | port_of(bytes + 6);
    text.add(", sin6_port=htons(").udec(port_of(bytes + 2)).add("), sin6_flowinfo=htonl(").udec(flow);
    text.add("), inet_pton(AF_INET6, \"");
    inet6(text, bytes + 8);
    text.add("\", &sin6_addr), sin6_scope_id=").udec(scope);
  }
  text.add('}');
}

void print_protocol(CallText& call, u32 index, const Printer&) {
  u32 family = static_cast<u32>(call.registers[0]);
  u32 protocol = static_cast<u32>(call.registers[index]);
  if (family == abi::kAF_INET || family == abi::kAF_INET6) {
    names(call.text, kProtocol, protocol);
  } else {
    call.text.udec(protocol);
  }
}

// The next register is its length.
void print_address(CallText& call, u32 index, const Printer&) {
  address_of(call.text, call.registers[index], static_cast<u32>(call.registers[index + 1]));
}

// --- Addresses that the call fills in: [28 => 16] is the length before and after.
void remember_length(CallText& call, u32 index) {
  u32 length = 0;
  if (call.registers[index] != 0) (void)copy_from_guest(&length, call.registers[index], sizeof length);
  call.remembered = length;
}
void print_address_out(CallText& call, u32 index, const Printer&) {
  u64 address = call.registers[index];
  u32 length = 0;
  bool known = !call.failed() && call.registers[index + 1] != 0 &&
               copy_from_guest(&length, call.registers[index + 1], sizeof length).ok();
  if (!known || length == 0) return pointer(call.text, address);
  address_of(call.text, address, length < call.remembered ? length : static_cast<u32>(call.remembered));
}
void print_length(CallText& call, u32 index, const Printer&) {
  u32 length = 0;
  if (call.registers[index] == 0) return pointer(call.text, 0);
  if (!read_or_pointer(call.text, call.registers[index], &length, sizeof length)) return;
  call.text.add('[').udec(call.remembered);
  if (length != call.remembered && !call.failed()) call.text.add(" => ").udec(length);
  call.text.add(']');
}

// --- setsockopt(2), getsockopt(2): fd, level, name, value, length.
void print_option(CallText& call, u32 index, const Printer&) {
  u32 level = static_cast<u32>(call.registers[index - 1]);
  u32 name = static_cast<u32>(call.registers[index]);
  constexpr u32 kTcp = 6;
  if (level == abi::kSOL_SOCKET) {
    names(call.text, kSocketOption, name);
  } else if (level == kTcp) {
    names(call.text, kTcpOption, name);
  } else {
    call.text.udec(name);
  }
}
void option_value(CallText& call, u32 index, u32 length) {
  u64 address = call.registers[index];
  TextBuffer& text = call.text;
  bool of_socket = static_cast<u32>(call.registers[1]) == abi::kSOL_SOCKET;
  u32 name = static_cast<u32>(call.registers[2]);
  bool is_time = of_socket && (name == abi::kSO_RCVTIMEO || name == abi::kSO_SNDTIMEO);
  if (is_time && length >= sizeof(abi::Timeval)) {
    abi::Timeval time;
    if (read_or_pointer(text, address, &time, sizeof time)) structure(text, time);
  } else if (of_socket && name == abi::kSO_LINGER && length >= sizeof(abi::Linger)) {
    abi::Linger linger;
    if (!read_or_pointer(text, address, &linger, sizeof linger)) return;
    text.add("{l_onoff=").dec(linger.on).add(", l_linger=").dec(linger.seconds).add('}');
  } else if (of_socket && name == abi::kSO_PEERCRED && length >= sizeof(abi::UCred)) {
    abi::UCred peer;
    if (!read_or_pointer(text, address, &peer, sizeof peer)) return;
    text.add("{pid=").dec(peer.pid).add(", uid=").udec(peer.uid).add(", gid=").udec(peer.gid).add('}');
  } else if (length == sizeof(s32)) {
    s32 value = 0;
    if (read_or_pointer(text, address, &value, sizeof value)) text.add('[').dec(value).add(']');
  } else {
    bytes(text, address, length);
  }
}
void print_option_in(CallText& call, u32 index, const Printer&) {
  option_value(call, index, static_cast<u32>(call.registers[index + 1]));
}
void print_option_out(CallText& call, u32 index, const Printer&) {
  u32 length = 0;
  if (call.failed() || !copy_from_guest(&length, call.registers[index + 1], sizeof length).ok()) {
    return pointer(call.text, call.registers[index]);
  }
  option_value(call, index, length);
}

// --- Messages.
void control_data(TextBuffer& text, const abi::CMsgHdr& header, u64 address) {
  u64 size = header.length > sizeof header ? header.length - sizeof header : 0;
  bool of_socket = header.level == abi::kSOL_SOCKET;
  if (of_socket && header.type == abi::kSCM_RIGHTS) {
    array<s32>(text, address, size / sizeof(s32), [](TextBuffer& out, s32 fd) { out.dec(fd); });
  } else if (of_socket && header.type == abi::kSCM_CREDENTIALS && size >= sizeof(abi::UCred)) {
    abi::UCred peer;
    if (!read_or_pointer(text, address, &peer, sizeof peer)) return;
    text.add("{pid=").dec(peer.pid).add(", uid=").udec(peer.uid).add(", gid=").udec(peer.gid).add('}');
  } else {
    bytes(text, address, size);
  }
}

void controls(TextBuffer& text, u64 address, u64 size) {
  abi::CMsgHdr header;
  if (size < sizeof header) return pointer(text, address);
  text.add('[');
  u64 at = 0;
  for (u64 i = 0; i < kLongestShown && at + sizeof header <= size; i++) {
    if (!copy_from_guest(&header, address + at, sizeof header).ok()) break;
    if (header.length < sizeof header || header.length > size - at) break;
    text.add(i == 0 ? "{cmsg_len=" : ", {cmsg_len=").udec(header.length).add(", cmsg_level=");
    names(text, kLevel, static_cast<u32>(header.level));
    text.add(", cmsg_type=");
    if (header.level == abi::kSOL_SOCKET) {
      names(text, kControlType, static_cast<u32>(header.type));
    } else {
      text.add("0x").hex(static_cast<u32>(header.type));
    }
    text.add(", cmsg_data=");
    control_data(text, header, address + at + sizeof header);
    text.add('}');
    at += (header.length + 7) & ~u64{7};
  }
  text.add(']');
}

// `filled`: bytes that a receiving call has put into the pieces; ~0 for a sending one.
void message(TextBuffer& text, const abi::MsgHdr& value, u64 filled) {
  text.add("{msg_name=");
  if (value.name == 0) {
    text.add("NULL");
  } else {
    address_of(text, value.name, static_cast<u32>(value.name_length));
  }
  text.add(", msg_namelen=").dec(value.name_length).add(", msg_iov=");
  message_pieces(text, value.iov, value.iov_count, filled);
  text.add(", msg_iovlen=").udec(value.iov_count);
  if (value.control != 0 && value.control_length != 0) {
    text.add(", msg_control=");
    controls(text, value.control, value.control_length);
  }
  text.add(", msg_controllen=").udec(value.control_length).add(", msg_flags=");
  names(text, kMessage, value.flags);
  text.add('}');
}
void print_message_out(CallText& call, u32 index, const Printer&) {
  abi::MsgHdr value;
  if (!filled_or_pointer(call, index, &value, sizeof value)) return;
  message(call.text, value, static_cast<u64>(call.result));
}

// --- System V IPC.
void print_key(CallText& call, u32 index, const Printer&) {
  u32 key = static_cast<u32>(call.registers[index]);
  if (key == abi::kIPC_PRIVATE) {
    call.text.add("IPC_PRIVATE");
  } else {
    call.text.add("0x").hex(key);
  }
}
void print_ipc_flags(CallText& call, u32 index, const Printer&) {
  u32 flags = static_cast<u32>(call.registers[index]);
  u32 bits = flags & ~u32{0777};
  if (bits != 0) {
    names(call.text, kIpc, bits);
    call.text.add('|');
  }
  mode(call.text, flags & 0777);
}
// IPC_64 may be set: libcs do so where the kernel once had two structures.
void print_ipc_command(CallText& call, u32 index, const Printer&) {
  u32 command = static_cast<u32>(call.registers[index]);
  bool of_semaphores = index == 2;
  bool is_own = of_semaphores && !choice(kSemaphoreCommand, command).empty();
  names(call.text, is_own ? kSemaphoreCommand : kIpcCommand, command);
}

}  // namespace

void structure(TextBuffer& text, const abi::MsgHdr& value) {
  message(text, value, ~u64{0});
}

constinit const Printer socket_family = named(kFamily);
constinit const Printer socket_type = named(kType);
constinit const Printer socket_protocol{&print_protocol};
constinit const Printer socket_flags = named(kSocketFlags);
constinit const Printer socket_address{&print_address};
constinit const Printer socket_address_out{&print_address_out, nullptr, true};
constinit const Printer socket_length{&print_length, nullptr, true, &remember_length};
constinit const Printer shutdown_how = named(kHow);
constinit const Printer message_flags = named(kMessage);
constinit const Printer message_out{&print_message_out, nullptr, true};
constinit const Printer socket_level = named(kLevel);
constinit const Printer socket_option{&print_option};
constinit const Printer option_in{&print_option_in};
constinit const Printer option_out{&print_option_out, nullptr, true};
constinit const Printer ipc_key{&print_key};
constinit const Printer ipc_flags{&print_ipc_flags};
constinit const Printer ipc_command{&print_ipc_command};

}  // namespace teacup::show
