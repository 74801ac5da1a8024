#include "net/rtnetlink.h"

#include "net/interfaces.h"
#include "net/ip_address.h"

namespace teacup::net {

void write_link(Writer& out, u16 flags) {
  const Interface& lo = loopback_interface();
  constexpr u8 kNoAddress[6] = {};
  constexpr u64 kNoStatistics[24] = {};
  out.begin(
      abi::kRTM_NEWLINK, flags,
      abi::IfInfoMsg{0, 0, lo.type, lo.index, lo.flags | (is_loopback_up() ? abi::kIFF_LOWER_UP : 0), 0});
  out.text(abi::kIFLA_IFNAME, lo.name);
  out.number(abi::kIFLA_TXQLEN, lo.queue_length);
  u8 unknown = 0;
  out.attribute(abi::kIFLA_OPERSTATE, &unknown, 1);
  out.attribute(abi::kIFLA_LINKMODE, &unknown, 1);
  out.number(abi::kIFLA_MTU, lo.mtu);
  out.number(abi::kIFLA_GROUP, 0);
  out.number(abi::kIFLA_PROMISCUITY, 0);
  out.number(abi::kIFLA_NUM_TX_QUEUES, 1);
  out.number(abi::kIFLA_NUM_RX_QUEUES, 1);
  out.attribute(abi::kIFLA_ADDRESS, kNoAddress, sizeof kNoAddress);
  out.attribute(abi::kIFLA_BROADCAST, kNoAddress, sizeof kNoAddress);
  out.text(abi::kIFLA_QDISC, "noqueue");
  out.attribute(abi::kIFLA_STATS64, kNoStatistics, sizeof kNoStatistics);
  out.end();
}

void write_addresses(Writer& out, u8 family, u16 flags) {
  const Interface& lo = loopback_interface();
  constexpr u8 kPermanent = 0x80, kHostScope = 254;
  constexpr u32 kForever[4] = {~u32{0}, ~u32{0}, 0, 0};
  auto index = static_cast<u32>(lo.index);
  if (family == abi::kAF_UNSPEC || family == abi::kAF_INET) {
    out.begin(abi::kRTM_NEWADDR, flags,
              abi::IfAddrMsg{abi::kAF_INET, lo.v4_bits, kPermanent, kHostScope, index});
    out.attribute(abi::kIFA_ADDRESS, lo.v4, sizeof lo.v4);
    out.attribute(abi::kIFA_LOCAL, lo.v4, sizeof lo.v4);
    out.text(abi::kIFA_LABEL, lo.name);
    out.number(abi::kIFA_FLAGS, kPermanent);
    out.attribute(abi::kIFA_CACHEINFO, kForever, sizeof kForever);
    out.end();
  }
  if (family == abi::kAF_UNSPEC || family == abi::kAF_INET6) {
    IpAddress own = IpAddress::loopback(abi::kAF_INET6);
    out.begin(abi::kRTM_NEWADDR, flags, abi::IfAddrMsg{abi::kAF_INET6, 128, kPermanent, kHostScope, index});
    out.attribute(abi::kIFA_ADDRESS, own.bytes, sizeof own.bytes);
    out.attribute(abi::kIFA_CACHEINFO, kForever, sizeof kForever);
    out.number(abi::kIFA_FLAGS, kPermanent);
    out.end();
  }
}

namespace {

constexpr u8 kByKernel = 2, kLocal = 2, kBroadcast = 3;  // RTPROT_KERNEL, RTN_LOCAL, RTN_BROADCAST
constexpr u8 kLinkScope = 253, kHostScope = 254;
constexpr u32 kCloned = 0x200, kLocalCache = 0x80000000;  // RTM_F_CLONED, RTCF_LOCAL

struct Route {
  u8 family, bits, type, scope;
  const u8* to;
};

void write_preference(Writer& out) {
  constexpr u8 kMedium = 0;  // ICMPV6_ROUTER_PREF_MEDIUM
  out.number(abi::kRTA_PRIORITY, 0);
  out.attribute(abi::kRTA_PREF, &kMedium, sizeof kMedium);
}

void write_route(Writer& out, const Route& route, u16 flags) {
  const Interface& lo = loopback_interface();
  out.begin(abi::kRTM_NEWROUTE, flags,
            abi::RtMsg{route.family, route.bits, 0, 0, abi::kRT_TABLE_LOCAL, kByKernel, route.scope,
                       route.type, 0});
  out.number(abi::kRTA_TABLE, abi::kRT_TABLE_LOCAL);
  out.attribute(abi::kRTA_DST, route.to, route.family == abi::kAF_INET ? 4 : 16);
  if (route.family == abi::kAF_INET) out.attribute(abi::kRTA_PREFSRC, lo.v4, sizeof lo.v4);
  out.number(abi::kRTA_OIF, static_cast<u32>(lo.index));
  if (route.family == abi::kAF_INET6) write_preference(out);
  out.end();
}

}  // namespace

// All in the table "local": there is no way out of the machine.
void write_routes(Writer& out, u8 family, u16 flags) {
  const Interface& lo = loopback_interface();
  constexpr u8 kNet[4] = {127, 0, 0, 0}, kAll[4] = {127, 255, 255, 255};
  if (family == abi::kAF_UNSPEC || family == abi::kAF_INET) {
    write_route(out, {abi::kAF_INET, 8, kLocal, kHostScope, kNet}, flags);
    write_route(out, {abi::kAF_INET, 32, kLocal, kHostScope, lo.v4}, flags);
    write_route(out, {abi::kAF_INET, 32, kBroadcast, kLinkScope, kAll}, flags);
  }
  IpAddress own = IpAddress::loopback(abi::kAF_INET6);
  if (family == abi::kAF_UNSPEC || family == abi::kAF_INET6)
    write_route(out, {abi::kAF_INET6, 128, kLocal, 0, own.bytes}, flags);
}

Result<void> write_route_to(Writer& out, std::span<const std::byte> body) {
  abi::RtMsg request;
  if (body.size() < sizeof request) return Errno::INVAL;
  memcpy(&request, body.data(), sizeof request);
  bool v4 = request.destination_length == 32;
  size_t size = v4 ? 4 : 16, at = sizeof request;
  const u8* destination = nullptr;
  while (at + sizeof(abi::RtAttr) <= body.size()) {
    abi::RtAttr attribute;
    memcpy(&attribute, body.data() + at, sizeof attribute);
    if (attribute.length < sizeof attribute || at + attribute.length > body.size()) return Errno::INVAL;
    if (attribute.type == abi::kRTA_DST && attribute.length == sizeof attribute + size)
      destination = reinterpret_cast<const u8*>(body.data() + at + sizeof attribute);
    at += align_up(u64{attribute.length}, u64{4});
  }
  if (destination == nullptr) return Errno::INVAL;
  IpAddress to = v4 ? IpAddress::v4(destination) : IpAddress::v6(destination);
  IpAddress from = TRY(source_for(to));
  // As Linux has it, of IPv4 it is a copy made for the asker, of IPv6 the route itself.
  u8 table = v4 ? abi::kRT_TABLE_MAIN : abi::kRT_TABLE_LOCAL;
  out.begin(abi::kRTM_NEWROUTE, 0,
            abi::RtMsg{request.family, request.destination_length, 0, 0, table, v4 ? u8{0} : kByKernel, 0,
                       kLocal, v4 ? kCloned | kLocalCache : 0});
  out.number(abi::kRTA_TABLE, table);
  out.attribute(abi::kRTA_DST, destination, size);
  out.number(abi::kRTA_OIF, static_cast<u32>(loopback_interface().index));
  out.attribute(abi::kRTA_PREFSRC, v4 ? from.v4_bytes() : from.bytes, size);
  if (v4) {
    constexpr u32 kNoTimes[8] = {};
    out.number(abi::kRTA_UID, 0);
    out.attribute(abi::kRTA_CACHEINFO, kNoTimes, sizeof kNoTimes);
  } else {
    write_preference(out);
  }
  out.end();
  return {};
}

void write_rules(Writer& out, u8 family, u16 flags) {
  constexpr u8 kToTable = 1;  // FR_ACT_TO_TBL
  auto rule = [&](u8 of, u8 table, u32 priority) {
    out.begin(abi::kRTM_NEWRULE, flags, abi::RtMsg{of, 0, 0, 0, table, 0, 0, kToTable, 0});
    out.number(abi::kFRA_TABLE, table);
    out.number(abi::kFRA_SUPPRESS_PREFIXLEN, ~u32{0});
    out.attribute(abi::kFRA_PROTOCOL, &kByKernel, sizeof kByKernel);
    if (priority != 0) out.number(abi::kFRA_PRIORITY, priority);
    out.end();
  };
  for (u8 of : {abi::kAF_INET, abi::kAF_INET6}) {
    if (family != abi::kAF_UNSPEC && family != of) continue;
    rule(of, abi::kRT_TABLE_LOCAL, 0);
    rule(of, abi::kRT_TABLE_MAIN, 32766);
    if (of == abi::kAF_INET) rule(of, abi::kRT_TABLE_DEFAULT, 32767);
  }
}

}  // namespace teacup::net
