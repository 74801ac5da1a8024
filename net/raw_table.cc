#include "net/raw_table.h"

#include "host/gate/gate.h"
#include "kernel/base/arena_header.h"
#include "kernel/base/memory.h"
#include "net/icmp.h"

namespace teacup::net {

namespace {

constexpr size_t kMostReceivers = 64;  // of one packet
constexpr u32 kIdentifiers = 0xffff;   // 0 is none

struct HeaderV4 {
  u8 version_length, traffic_class;
  u8 total[2], identification[2], fragment[2];
  u8 hops, protocol, checksum[2];
  u8 from[4], to[4];
};
static_assert(sizeof(HeaderV4) == 20);

void put_number(u8* at, size_t value) {
  at[0] = static_cast<u8>(value >> 8);
  at[1] = static_cast<u8>(value);
}

HeaderV4 header_of(const IpPacket& packet) {
  HeaderV4 header{};
  header.version_length = 0x45;
  header.traffic_class = packet.traffic_class;
  put_number(header.total, sizeof header + packet.body.size());
  header.hops = packet.hops;
  header.protocol = packet.protocol;
  memcpy(header.from, packet.from.v4_bytes(), sizeof header.from);
  memcpy(header.to, packet.to.v4_bytes(), sizeof header.to);
  InternetChecksum sum;
  sum.add(std::as_bytes(std::span(&header, 1)));
  sum.store(header.checksum);
  return header;
}

bool is_icmp(const IpPacket& packet) {
  return packet.protocol == icmp_protocol(packet.to.is_v4());
}

EchoHeader echo_of(const IpPacket& packet) {
  EchoHeader echo{0xff, 0xff, {}, {}, {}};
  if (packet.body.size() >= sizeof echo) memcpy(&echo, packet.body.data(), sizeof echo);
  return echo;
}

// `with_header`: raw sockets of IPv4 get the whole packet.
Datagram* datagram_of(const IpPacket& packet, bool with_header) {
  size_t head = with_header ? sizeof(HeaderV4) : 0;
  auto created = Datagram::create(head + packet.body.size());
  if (!created.ok()) return nullptr;  // lost, as it would be without buffers
  Datagram* datagram = created.value();
  if (with_header) {
    HeaderV4 header = header_of(packet);
    memcpy(datagram->data(), &header, sizeof header);
  }
  memcpy(datagram->data() + head, packet.body.data(), packet.body.size());
  datagram->from = {packet.from, 0, 0};
  datagram->to = {packet.to, 0, 0};
  datagram->time = gate::realtime_now();
  datagram->hops = packet.hops;
  datagram->traffic_class = packet.traffic_class;
  datagram->interface = interface_of(packet.to);
  return datagram;
}

}  // namespace

RawTable& raw_table() {
  return *root<RawTable>(Root::kRawSockets);
}

void raw_start() {
  auto created = make<RawTable>();
  KERNEL_ASSERT(created.ok());
  set_root(Root::kRawSockets, created.value());
}

void RawTable::add(RawUser& user) {
  LockGuard guard(lock_);
  users_.push_back(user);
}

void RawTable::remove(RawUser& user) {
  LockGuard guard(lock_);
  List<RawUser, &RawUser::node>::remove(user);
}

Result<void> RawTable::claim_identifier(RawUser& user, u16 wanted) {
  LockGuard guard(lock_);
  auto taken = [&](u16 identifier) {
    for (RawUser& other : users_) {
      if (other.echoes && other.family == user.family && other.identifier == identifier) return true;
    }
    return false;
  };
  for (u32 tries = 0; wanted == 0 && tries < kIdentifiers; tries++) {
    next_identifier_ = static_cast<u16>(next_identifier_ % kIdentifiers + 1);
    if (!taken(next_identifier_)) wanted = next_identifier_;
  }
  if (wanted == 0) return Errno::ADDRINUSE;
  user.identifier = wanted;
  List<RawUser, &RawUser::node>::remove(user);
  users_.push_front(user);
  return {};
}

void RawTable::set_local(RawUser& user, const IpAddress& local) {
  LockGuard guard(lock_);
  user.local = local;
}

void RawTable::set_remote(RawUser& user, const IpAddress& remote) {
  LockGuard guard(lock_);
  user.remote = remote;
}

bool RawTable::wants(const RawUser& user, const IpPacket& packet) const {
  bool v4 = packet.to.is_v4();
  if ((user.family == abi::kAF_INET) != v4 || user.protocol != packet.protocol) return false;
  if (!user.local.is_any() && !(user.local == packet.to)) return false;
  s32 device = user.endpoint->options.bound_interface;
  if (device != 0 && device != interface_of(packet.to)) return false;
  EchoHeader echo = echo_of(packet);
  if (user.echoes) {
    u16 identifier = static_cast<u16>(echo.identifier[0] << 8 | echo.identifier[1]);
    return echo.type == echo_reply_type(v4) && identifier == user.identifier;
  }
  if (!user.remote.is_any() && !(user.remote == packet.from)) return false;
  return !is_icmp(packet) || packet.body.empty() || !user.filter.blocks(static_cast<u8>(packet.body[0]));
}

void RawTable::hand_out(const IpPacket& packet) {
  struct Receiver {
    UdpEndpoint* endpoint;
    bool with_header;
  } receivers[kMostReceivers];
  size_t count = 0;
  {
    LockGuard guard(lock_);
    bool echoed = false;
    for (RawUser& user : users_) {
      if (count == kMostReceivers || (user.echoes && echoed) || !wants(user, packet)) continue;
      echoed = echoed || user.echoes;
      user.endpoint->ref();
      receivers[count++] = {user.endpoint.get(), packet.to.is_v4() && !user.echoes};
    }
  }
  for (size_t i = 0; i < count; i++) {
    auto endpoint = Ref<UdpEndpoint>::adopt(receivers[i].endpoint);
    if (Datagram* datagram = datagram_of(packet, receivers[i].with_header); datagram != nullptr)
      endpoint->deliver(datagram);
  }
}

void RawTable::deliver(const IpPacket& packet) {
  hand_out(packet);
  EchoHeader echo = echo_of(packet);
  bool v4 = packet.to.is_v4();
  if (!is_icmp(packet) || echo.type != echo_request_type(v4) || echo.code != 0) return;
  // In the sender's own buffer: whoever wanted the request has a copy.
  IpPacket reply = packet;
  reply.from = packet.to;
  reply.to = packet.from;
  reply.hops = 64;
  reply.body[0] = static_cast<std::byte>(echo_reply_type(v4));
  set_checksum(reply.body, offsetof(EchoHeader, checksum), reply.from, reply.to, reply.protocol);
  hand_out(reply);
}

}  // namespace teacup::net
