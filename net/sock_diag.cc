// A dump is collected first, under the lock of the sockets' table, and written after, for writing allocates
// and wakes.
//
// Locks: none while the tables' (kPorts, kSocketNames) are not held; nothing is called with them.
#include "net/sock_diag.h"

#include "kernel/frame/heap.h"
#include "net/ports.h"
#include "net/raw_table.h"
#include "net/unix.h"

namespace teacup::net {

namespace {

constexpr size_t kLargestMessage = 640;  // of one socket, with its attributes
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
  Result<void> finish(Errno error = Errno::OK) {
    flush();
    Writer out = TRY(writer());
    out.begin(abi::kNLMSG_DONE, abi::kNLM_F_MULTI, -static_cast<s32>(error));
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

// INET_DIAG_REQ_PROTOCOL tells what does not fit in a byte.
Result<u32> protocol_of(const abi::InetDiagReqV2& request, std::span<const std::byte> attributes) {
  auto told = TRY(find_attribute(attributes, abi::kINET_DIAG_REQ_PROTOCOL));
  u32 protocol = request.protocol;
  if (told.size() == sizeof protocol) memcpy(&protocol, told.data(), sizeof protocol);
  return protocol;
}

PortTable* table_of(u32 protocol) {
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

// SK_MEMINFO_*: what is in the queues, and how large they may grow.
void write_memory(Writer& out, u16 type, u64 waiting, u64 outgoing, u64 receive_buffer, u64 send_buffer) {
  u32 memory[9] = {
      static_cast<u32>(waiting), static_cast<u32>(receive_buffer), 0, static_cast<u32>(send_buffer), 0,
      static_cast<u32>(outgoing)};
  out.attribute(type, memory, sizeof memory);
}

// `extensions`: what is asked for, a bit for each INET_DIAG_* from 1 on.
void write_internet(Writer& out, const InternetEntry& entry, u32 protocol, u32 extensions, u16 flags) {
  abi::InetDiagMsg message = message_of(entry);
  const PortInfo& info = entry.info;
  auto wants = [&](u16 extension) { return (extensions >> (extension - 1) & 1) != 0; };
  out.begin(abi::kSOCK_DIAG_BY_FAMILY, flags, message);
  out.attribute(abi::kINET_DIAG_SHUTDOWN, &info.shut_ways, sizeof info.shut_ways);
  if (wants(abi::kINET_DIAG_TOS)) out.attribute(abi::kINET_DIAG_TOS, &info.type_of_service, 1);
  bool v6 = message.family == abi::kAF_INET6;
  if (v6 && wants(abi::kINET_DIAG_TCLASS)) out.attribute(abi::kINET_DIAG_TCLASS, &info.traffic_class, 1);
  bool passive = message.state == abi::kTCP_LISTEN || message.state == abi::kTCP_CLOSE;
  u8 v6_only = entry.claim.v6_only;
  if (v6 && passive) out.attribute(abi::kINET_DIAG_SKV6ONLY, &v6_only, sizeof v6_only);
  // Of raw sockets: what ss names them by.
  u8 raw = static_cast<u8>(entry.claim.name.port);
  if (protocol == abi::kIPPROTO_RAW) out.attribute(abi::kINET_DIAG_PROTOCOL, &raw, sizeof raw);
  bool listens = message.state == abi::kTCP_LISTEN;
  u64 waiting = listens ? 0 : info.waiting, outgoing = listens ? 0 : info.outgoing;
  if (wants(abi::kINET_DIAG_MEMINFO)) {
    u32 memory[4] = {static_cast<u32>(waiting), static_cast<u32>(outgoing), 0, static_cast<u32>(outgoing)};
    out.attribute(abi::kINET_DIAG_MEMINFO, memory, sizeof memory);
  }
  if (wants(abi::kINET_DIAG_SKMEMINFO))
    write_memory(out, abi::kINET_DIAG_SKMEMINFO, waiting, outgoing, info.receive_buffer, info.send_buffer);
  if (protocol == abi::kIPPROTO_TCP && wants(abi::kINET_DIAG_INFO)) {
    TcpInfo inner = tcp_info(info.tcp);
    out.attribute(abi::kINET_DIAG_INFO, &inner, sizeof inner);
  }
  if (protocol == abi::kIPPROTO_TCP && wants(abi::kINET_DIAG_CONG))
    out.text(abi::kINET_DIAG_CONG, congestion_name(info.congestion));
  out.end();
}

// Whether it is the one socket that was asked for.
bool is_asked_for(const abi::InetDiagMsg& message, const abi::InetDiagSockId& id) {
  return memcmp(message.id.source_port, id.source_port, 2) == 0 &&
         memcmp(message.id.destination_port, id.destination_port, 2) == 0 &&
         memcmp(message.id.source, id.source, 16) == 0 &&
         memcmp(message.id.destination, id.destination, 16) == 0;
}

// Raw sockets: the protocol stands for the port.
template <typename Offer>
void visit_raw(Offer offer) {
  raw_table().visit([&](const RawUser& user) {
    if (user.echoes) return;
    InternetEntry entry;
    entry.claim.family = user.family;
    entry.claim.name = {user.local, static_cast<u16>(user.protocol), 0};
    entry.claim.has_remote = !user.remote.is_any();
    entry.claim.remote = {user.remote, 0, 0};
    entry.info.state = entry.claim.has_remote ? abi::kTCP_ESTABLISHED : abi::kTCP_CLOSE;
    entry.info.uid = user.uid;
    entry.info.inode = user.inode;
    user.endpoint->describe(entry.info);
    offer(entry);
  });
}

Result<void> answer_internet(std::span<const std::byte> body, bool all, Dump& dump) {
  abi::InetDiagReqV2 request;
  if (body.size() < sizeof request) return dump.fail(Errno::INVAL);
  memcpy(&request, body.data(), sizeof request);
  u32 protocol = TRY(protocol_of(request, body.subspan(sizeof request)));
  PortTable* table = table_of(protocol);
  bool raw = protocol == abi::kIPPROTO_RAW;
  if (table == nullptr && !raw) return all ? dump.finish(Errno::NOENT) : dump.fail(Errno::NOENT);
  size_t count = 0;
  auto entries = TRY(collect<InternetEntry>(
      [&](auto see) {
        auto offer = [&](const InternetEntry& entry) {
          bool wanted = entry.claim.family == request.family;
          if (wanted && (!all || (request.states >> entry.info.state & 1) != 0)) see(entry);
        };
        if (raw) return visit_raw(offer);
        table->visit_owners([&](const Claim& claim, const PortInfo& info) {
          offer(InternetEntry{claim, info});
        });
      },
      count));
  for (size_t i = 0; i < count; i++) {
    if (!all && !is_asked_for(message_of(entries[i]), request.id)) continue;
    Writer out = TRY(dump.writer());
    write_internet(out, entries[i], protocol, request.extensions, all ? abi::kNLM_F_MULTI : u16{0});
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
  if ((show & abi::kUDIAG_SHOW_MEMINFO) != 0) {
    u64 waiting = info.listening ? 0 : info.waiting;
    write_memory(out, abi::kUNIX_DIAG_MEMINFO, waiting, 0, info.receive_buffer, info.send_buffer);
  }
  out.attribute(abi::kUNIX_DIAG_SHUTDOWN, &info.shut_ways, sizeof info.shut_ways);
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
  // What was asked before there were families: of TCP, by those who would have heard by now, and DCCP.
  bool early = header.type == abi::kTCPDIAG_GETSOCK || header.type == abi::kDCCPDIAG_GETSOCK;
  if (early) return all ? dump.finish(Errno::NOENT) : dump.fail(Errno::NOENT);
  if (header.type != abi::kSOCK_DIAG_BY_FAMILY || body.empty()) return dump.fail(Errno::INVAL);
  u8 family = static_cast<u8>(body[0]);
  if (family == abi::kAF_INET || family == abi::kAF_INET6) return answer_internet(body, all, dump);
  if (family == abi::kAF_UNIX) return answer_unix(body, all, dump);
  return dump.fail(Errno::NOENT);
}

}  // namespace teacup::net
