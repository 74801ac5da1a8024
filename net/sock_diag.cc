// A dump is collected first, under the lock of the sockets' table, and written after, for writing allocates
// and wakes.
//
// Locks: none while the tables' (kPorts, kSocketNames) are not held; nothing is called with them.
#include "net/sock_diag.h"

#include "kernel/frame/heap.h"
#include "net/ports.h"
#include "net/unix.h"

namespace teacup::net {

namespace {

constexpr size_t kLargestMessage = 256;  // of one socket, with its attributes
constexpr u32 kSlack = 64;               // sockets that are made while others are counted

struct InternetEntry {
  Claim claim;
  PortInfo info;
};

// Hands messages to the sink, a datagram at a time.
class Dump {
 public:
  Dump(const abi::NlMsgHdr& header, u32 port, AnswerSink& sink) : header_(header), port_(port), sink_(sink) {}
  ~Dump() {
    if (answer_ != nullptr) sink_.drop(answer_);
  }
  // Room for one more message.
  Result<Writer> writer() {
    if (answer_ != nullptr && !answer_->has_room_for(kLargestMessage)) flush();
    if (answer_ == nullptr) answer_ = TRY(sink_.new_answer());
    return Writer(*answer_, header_.sequence, port_);
  }
  void flush() {
    if (answer_ != nullptr) sink_.push(answer_);
    answer_ = nullptr;
  }
  // That this was all is a datagram of its own, as on Linux.
  Result<void> finish() {
    flush();
    Writer out = TRY(writer());
    out.begin(abi::kNLMSG_DONE, abi::kNLM_F_MULTI, s32{0});
    out.end();
    flush();
    return {};
  }
  Result<void> fail(Errno error) {
    Writer out = TRY(writer());
    out.begin(abi::kNLMSG_ERROR, 0, abi::NlMsgErr{-static_cast<s32>(error), header_});
    out.end();
    flush();
    return {};
  }

 private:
  const abi::NlMsgHdr& header_;
  u32 port_;
  AnswerSink& sink_;
  Answer* answer_ = nullptr;
};

// What `visit` shows, counted first; what comes meanwhile may be left out.
template <typename Entry, typename Visit>
Result<HeapArray<Entry>> collect(Visit visit, size_t& count) {
  size_t expected = kSlack;
  visit([&](const Entry&) { expected++; });
  auto entries = TRY(HeapArray<Entry>::create(expected));
  count = 0;
  visit([&](const Entry& entry) {
    if (count < entries.size()) entries[count++] = entry;
  });
  return entries;
}

// --- Internet sockets.

PortTable* table_of(u8 protocol) {
  if (protocol == abi::kIPPROTO_TCP) return &tcp_ports();
  if (protocol == abi::kIPPROTO_UDP) return &udp_ports();
  if (protocol == abi::kIPPROTO_UDPLITE) return &udplite_ports();
  return nullptr;
}

void put_name(const IpName& name, bool v6, u8* port, u8* address) {
  port[0] = static_cast<u8>(name.port >> 8);
  port[1] = static_cast<u8>(name.port);
  if (v6) {
    memcpy(address, name.address.bytes, sizeof name.address.bytes);
  } else {
    memcpy(address, name.address.v4_bytes(), 4);
  }
}

abi::InetDiagMsg message_of(const InternetEntry& entry) {
  const Claim& claim = entry.claim;
  bool v6 = claim.family == abi::kAF_INET6;
  abi::InetDiagMsg message{};
  message.family = static_cast<u8>(claim.family);
  message.state = entry.info.state;
  put_name(claim.name, v6, message.id.source_port, message.id.source);
  IpName nobody{IpAddress::any(claim.family), 0, 0};
  put_name(claim.has_remote ? claim.remote : nobody, v6, message.id.destination_port, message.id.destination);
  message.id.cookie[0] = static_cast<u32>(entry.info.inode);
  message.id.cookie[1] = static_cast<u32>(entry.info.inode >> 32);
  message.receive_queue = static_cast<u32>(entry.info.waiting);
  message.send_queue = static_cast<u32>(entry.info.outgoing);
  message.uid = entry.info.uid;
  message.inode = static_cast<u32>(entry.info.inode);
  return message;
}

void write_internet(Writer& out, const InternetEntry& entry, u16 flags) {
  abi::InetDiagMsg message = message_of(entry);
  out.begin(abi::kSOCK_DIAG_BY_FAMILY, flags, message);
  u8 none = 0, v6_only = entry.claim.v6_only;
  out.attribute(abi::kINET_DIAG_SHUTDOWN, &none, sizeof none);
  bool passive = message.state == abi::kTCP_LISTEN || message.state == abi::kTCP_CLOSE;
  if (message.family == abi::kAF_INET6 && passive)
    out.attribute(abi::kINET_DIAG_SKV6ONLY, &v6_only, sizeof v6_only);
  out.end();
}

// Whether it is the one socket that was asked for.
bool is_asked_for(const abi::InetDiagMsg& message, const abi::InetDiagSockId& id) {
  return memcmp(message.id.source_port, id.source_port, 2) == 0 &&
         memcmp(message.id.destination_port, id.destination_port, 2) == 0 &&
         memcmp(message.id.source, id.source, 16) == 0 &&
         memcmp(message.id.destination, id.destination, 16) == 0;
}

Result<void> answer_internet(std::span<const std::byte> body, bool all, Dump& dump) {
  abi::InetDiagReqV2 request;
  if (body.size() < sizeof request) return dump.fail(Errno::INVAL);
  memcpy(&request, body.data(), sizeof request);
  PortTable* table = table_of(request.protocol);
  // Raw sockets and other protocols: none can be told of.
  if (table == nullptr) return all ? dump.finish() : dump.fail(Errno::NOENT);
  size_t count = 0;
  auto entries = TRY(collect<InternetEntry>(
      [&](auto see) {
        table->visit_owners([&](const Claim& claim, const PortInfo& info) {
          bool wanted = claim.family == request.family && (!all || (request.states >> info.state & 1) != 0);
          if (wanted) see(InternetEntry{claim, info});
        });
      },
      count));
  for (size_t i = 0; i < count; i++) {
    if (!all && !is_asked_for(message_of(entries[i]), request.id)) continue;
    Writer out = TRY(dump.writer());
    write_internet(out, entries[i], all ? abi::kNLM_F_MULTI : u16{0});
    if (!all) {
      dump.flush();
      return {};
    }
  }
  return all ? dump.finish() : dump.fail(Errno::NOENT);
}

// --- Unix sockets.

u8 state_of(const UnixInfo& info) {
  if (info.listening) return abi::kTCP_LISTEN;
  return info.connected ? abi::kTCP_ESTABLISHED : abi::kTCP_CLOSE;
}

void write_unix(Writer& out, const UnixInfo& info, u32 show) {
  abi::UnixDiagMsg message{};
  message.family = abi::kAF_UNIX;
  message.type = static_cast<u8>(info.type);
  message.state = state_of(info);
  message.inode = static_cast<u32>(info.inode);
  message.cookie[0] = static_cast<u32>(info.inode);
  out.begin(abi::kSOCK_DIAG_BY_FAMILY, abi::kNLM_F_MULTI, message);
  if ((show & abi::kUDIAG_SHOW_NAME) != 0 && info.name_length > 0)
    out.attribute(abi::kUNIX_DIAG_NAME, info.name, info.name_length);
  if ((show & abi::kUDIAG_SHOW_PEER) != 0 && info.peer != 0)
    out.number(abi::kUNIX_DIAG_PEER, static_cast<u32>(info.peer));
  if ((show & abi::kUDIAG_SHOW_RQLEN) != 0) {
    u32 queues[2] = {static_cast<u32>(info.waiting), static_cast<u32>(info.outgoing)};
    out.attribute(abi::kUNIX_DIAG_RQLEN, queues, sizeof queues);
  }
  u8 none = 0;
  out.attribute(abi::kUNIX_DIAG_SHUTDOWN, &none, sizeof none);
  out.end();
}

Result<void> answer_unix(std::span<const std::byte> body, bool all, Dump& dump) {
  abi::UnixDiagReq request;
  if (body.size() < sizeof request) return dump.fail(Errno::INVAL);
  memcpy(&request, body.data(), sizeof request);
  size_t count = 0;
  auto entries = TRY(collect<UnixInfo>(
      [&](auto see) {
        visit_unix_sockets([&](const UnixInfo& info) {
          bool wanted = all ? (request.states >> state_of(info) & 1) != 0 : info.inode == request.inode;
          if (wanted) see(info);
        });
      },
      count));
  if (!all && count == 0) return dump.fail(Errno::NOENT);
  for (size_t i = 0; i < count; i++) {
    Writer out = TRY(dump.writer());
    write_unix(out, entries[i], request.show);
  }
  if (all) return dump.finish();
  dump.flush();
  return {};
}

}  // namespace

Result<void> answer_sock_diag(const abi::NlMsgHdr& header, std::span<const std::byte> body, u32 port,
                              AnswerSink& sink) {
  Dump dump(header, port, sink);
  bool all = (header.flags & abi::kNLM_F_DUMP) == abi::kNLM_F_DUMP;
  if (header.type != abi::kSOCK_DIAG_BY_FAMILY || body.empty()) return dump.fail(Errno::INVAL);
  u8 family = static_cast<u8>(body[0]);
  if (family == abi::kAF_INET || family == abi::kAF_INET6) return answer_internet(body, all, dump);
  if (family == abi::kAF_UNIX) return answer_unix(body, all, dump);
  return dump.fail(Errno::NOENT);
}

}  // namespace teacup::net
