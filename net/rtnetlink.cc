#include "net/rtnetlink.h"

#include "kernel/base/memory.h"
#include "net/gateway.h"
#include "net/interfaces.h"

namespace teacup::net {

namespace {

constexpr u8 kUnknown = 0, kOperational = 6;                            // IF_OPER_UP
constexpr u8 kByKernel = 2, kByBoot = 3;                                // RTPROT_KERNEL, RTPROT_BOOT
constexpr u8 kUnicast = 1, kLocal = 2, kBroadcast = 3, kMulticast = 5;  // RTN_UNICAST and so on
constexpr u8 kEverywhere = 0, kLinkScope = 253, kHostScope = 254;
constexpr u32 kCloned = 0x200, kLocalCache = 0x80000000;  // RTM_F_CLONED, RTCF_LOCAL
constexpr u32 kOfAddress = 256, kUserRoute = 1024;        // IP6_RT_PRIO_ADDRCONF, IP6_RT_PRIO_USER

size_t size_of(int family) {
  return family == abi::kAF_INET ? 4 : 16;
}
const u8* bytes_of(const IpAddress& address) {
  return address.is_v4() ? address.v4_bytes() : address.bytes;
}

}  // namespace

void write_link(Writer& out, const Interface& link, u16 flags) {
  constexpr u64 kNoStatistics[24] = {};
  constexpr size_t kHardware = sizeof link.hardware;
  u32 carrier = link.is_up() ? abi::kIFF_LOWER_UP : 0;
  out.begin(abi::kRTM_NEWLINK, flags, abi::IfInfoMsg{0, 0, link.type, link.index, link.flags | carrier, 0});
  out.text(abi::kIFLA_IFNAME, link.name);
  out.number(abi::kIFLA_TXQLEN, link.queue_length);
  out.attribute(abi::kIFLA_OPERSTATE, link.is_loopback() ? &kUnknown : &kOperational, 1);
  out.attribute(abi::kIFLA_LINKMODE, &kUnknown, 1);
  out.number(abi::kIFLA_MTU, link.mtu);
  out.number(abi::kIFLA_GROUP, 0);
  out.number(abi::kIFLA_PROMISCUITY, 0);
  out.number(abi::kIFLA_NUM_TX_QUEUES, 1);
  out.number(abi::kIFLA_NUM_RX_QUEUES, 1);
  out.attribute(abi::kIFLA_ADDRESS, link.hardware, kHardware);
  out.attribute(abi::kIFLA_BROADCAST, link.hardware_broadcast, kHardware);
  out.text(abi::kIFLA_QDISC, "noqueue");
  out.attribute(abi::kIFLA_STATS64, kNoStatistics, sizeof kNoStatistics);
  out.end();
}

Result<const Interface*> find_link(std::span<const std::byte> body) {
  abi::IfInfoMsg request;
  if (body.size() < sizeof request) return Errno::INVAL;
  memcpy(&request, body.data(), sizeof request);
  const Interface* found = nullptr;
  if (request.index != 0) {
    found = find_interface(request.index);
  } else {
    auto named = TRY(find_attribute(body.subspan(sizeof request), abi::kIFLA_IFNAME));
    if (named.empty()) named = TRY(find_attribute(body.subspan(sizeof request), abi::kIFLA_ALT_IFNAME));
    if (named.empty()) return Errno::INVAL;
    std::string_view name(reinterpret_cast<const char*>(named.data()), named.size());
    found = find_interface(name.substr(0, name.find('\0')));
  }
  return found != nullptr ? Result<const Interface*>(found) : Result<const Interface*>(Errno::NODEV);
}

namespace {

void write_address(Writer& out, const Interface& of, u8 family, u16 flags) {
  constexpr u8 kPermanent = 0x80;
  constexpr u32 kForever[4] = {~u32{0}, ~u32{0}, 0, 0};
  bool v4 = family == abi::kAF_INET;
  const u8* own = v4 ? of.v4 : of.v6;
  out.begin(
      abi::kRTM_NEWADDR, flags,
      abi::IfAddrMsg{family, v4 ? of.v4_bits : of.v6_bits, kPermanent, of.scope, static_cast<u32>(of.index)});
  out.attribute(abi::kIFA_ADDRESS, own, size_of(family));
  if (v4) {
    out.attribute(abi::kIFA_LOCAL, own, size_of(family));
    u8 all[4];
    of.v4_broadcast(all);
    if (!of.is_loopback()) out.attribute(abi::kIFA_BROADCAST, all, sizeof all);
    out.text(abi::kIFA_LABEL, of.name);
  }
  out.number(abi::kIFA_FLAGS, kPermanent);
  out.attribute(abi::kIFA_CACHEINFO, kForever, sizeof kForever);
  out.end();
}

}  // namespace

void write_addresses(Writer& out, u8 family, u16 flags) {
  for (u8 of : {abi::kAF_INET, abi::kAF_INET6}) {
    if (family != abi::kAF_UNSPEC && family != of) continue;
    for (const Interface& interface : interfaces()) {
      if (interface.is_up()) write_address(out, interface, of, flags);
    }
  }
}

namespace {

void write_preference(Writer& out, u32 metric) {
  constexpr u8 kMedium = 0;  // ICMPV6_ROUTER_PREF_MEDIUM
  out.number(abi::kRTA_PRIORITY, metric);
  out.attribute(abi::kRTA_PREF, &kMedium, sizeof kMedium);
}

void write_route(Writer& out, const Route& route, u16 flags) {
  bool v4 = route.family == abi::kAF_INET;
  size_t size = size_of(route.family);
  out.begin(
      abi::kRTM_NEWROUTE, flags,
      abi::RtMsg{route.family, route.bits, 0, 0, route.table, route.protocol, route.scope, route.type, 0});
  out.number(abi::kRTA_TABLE, route.table);
  if (route.bits > 0) out.attribute(abi::kRTA_DST, bytes_of(route.to), size);
  if (v4 && route.protocol == kByKernel) {
    IpAddress source = find_interface(route.interface)->address(route.family);
    out.attribute(abi::kRTA_PREFSRC, source.v4_bytes(), size);
  }
  if (route.by_neighbour) out.attribute(abi::kRTA_GATEWAY, bytes_of(neighbour(route.family)), size);
  out.number(abi::kRTA_OIF, static_cast<u32>(route.interface));
  if (!v4) write_preference(out, route.metric);
  out.end();
}

}  // namespace

// What is let out goes by the default route; and as nothing else says where groups are, they are on eth0.
std::span<const Route> routes(RouteTable& into) {
  size_t count = 0;
  if (!is_network_up()) return {};
  auto add = [&](const Route& route) { into[count++] = route; };
  constexpr u8 kMain = abi::kRT_TABLE_MAIN, kOwn = abi::kRT_TABLE_LOCAL;
  constexpr u8 kV4 = abi::kAF_INET, kV6 = abi::kAF_INET6;
  constexpr s32 kLo = kLoopbackIndex, kEth = kEthernetIndex;
  const Interface& eth = *find_interface(kEth);
  IpAddress eth4 = eth.address(kV4), eth6 = eth.address(kV6);
  IpAddress net4 = eth4, net6 = IpAddress{}, all4 = eth4;
  memcpy(net6.bytes, eth6.bytes, eth.v6_bits / 8);
  u8 mask[4];
  eth.v4_mask(mask);
  for (u32 i = 0; i < 4; i++) net4.bytes[12 + i] &= mask[i];
  eth.v4_broadcast(all4.bytes + 12);
  if (gateway_leads_out())
    add({kV4, 0, kUnicast, kEverywhere, kMain, kByBoot, kEth, IpAddress::any(kV4), true, 0});
  add({kV4, eth.v4_bits, kUnicast, kLinkScope, kMain, kByKernel, kEth, net4, false, 0});
  if (!gateway_leads_out())
    add({kV4, 4, kUnicast, kLinkScope, kMain, kByBoot, kEth, IpAddress::v4(224, 0, 0, 0), false, 0});
  add({kV4, 32, kLocal, kHostScope, kOwn, kByKernel, kEth, eth4, false, 0});
  add({kV4, 32, kBroadcast, kLinkScope, kOwn, kByKernel, kEth, all4, false, 0});
  add({kV4, 8, kLocal, kHostScope, kOwn, kByKernel, kLo, IpAddress::v4(127, 0, 0, 0), false, 0});
  add({kV4, 32, kLocal, kHostScope, kOwn, kByKernel, kLo, IpAddress::loopback(kV4), false, 0});
  add({kV4, 32, kBroadcast, kLinkScope, kOwn, kByKernel, kLo, IpAddress::v4(127, 255, 255, 255), false, 0});
  add({kV6, eth.v6_bits, kUnicast, kEverywhere, kMain, kByKernel, kEth, net6, false, kOfAddress});
  if (gateway_leads_out())
    add({kV6, 0, kUnicast, kEverywhere, kMain, kByBoot, kEth, IpAddress{}, true, kUserRoute});
  add({kV6, 128, kLocal, kEverywhere, kOwn, kByKernel, kLo, IpAddress::loopback(kV6), false, 0});
  add({kV6, 128, kLocal, kEverywhere, kOwn, kByKernel, kEth, eth6, false, 0});
  IpAddress groups{};
  groups.bytes[0] = 0xff;
  add({kV6, 8, kMulticast, kEverywhere, kOwn, kByKernel, kEth, groups, false, kOfAddress});
  return {into.data(), count};
}

void write_routes(Writer& out, u8 family, u16 flags) {
  RouteTable table;
  for (const Route& route : routes(table)) {
    if (family == abi::kAF_UNSPEC || family == route.family) write_route(out, route, flags);
  }
}

namespace {

// A neighbour's, on eth0, if there was one.
bool is_near(const IpAddress& to) {
  return is_network_up() && !is_own_address(to) && find_interface(kEthernetIndex)->is_near(to);
}

}  // namespace

Result<void> write_route_to(Writer& out, std::span<const std::byte> body) {
  abi::RtMsg request;
  if (body.size() < sizeof request) return Errno::INVAL;
  memcpy(&request, body.data(), sizeof request);
  bool v4 = request.destination_length == 32;
  size_t size = v4 ? 4 : 16;
  auto named = TRY(find_attribute(body.subspan(sizeof request), abi::kRTA_DST));
  if (named.size() != size) return Errno::INVAL;
  const u8* destination = reinterpret_cast<const u8*>(named.data());
  IpAddress to = v4 ? IpAddress::v4(destination) : IpAddress::v6(destination);
  bool local = is_own_address(to), near = is_near(to), leads_out = !local && !near;
  IpAddress from =
      near ? find_interface(kEthernetIndex)->address(request.family) : TRY(source_for_outside(to, 0));
  // As Linux has it, of IPv4 it is a copy made for the asker, of IPv6 the route itself.
  u8 table = v4 || !local ? abi::kRT_TABLE_MAIN : abi::kRT_TABLE_LOCAL;
  u8 protocol = v4 ? u8{0} : leads_out ? kByBoot : kByKernel;
  out.begin(abi::kRTM_NEWROUTE, 0,
            abi::RtMsg{request.family, request.destination_length, 0, 0, table, protocol, 0,
                       local ? kLocal : kUnicast, v4 ? kCloned | (local ? kLocalCache : 0) : 0});
  out.number(abi::kRTA_TABLE, table);
  out.attribute(abi::kRTA_DST, destination, size);
  if (leads_out) out.attribute(abi::kRTA_GATEWAY, bytes_of(neighbour(request.family)), size);
  // What is the machine's own never leaves lo.
  out.number(abi::kRTA_OIF, static_cast<u32>(local ? kLoopbackIndex : kEthernetIndex));
  out.attribute(abi::kRTA_PREFSRC, bytes_of(from), size);
  if (v4) {
    constexpr u32 kNoTimes[8] = {};
    out.number(abi::kRTA_UID, 0);
    out.attribute(abi::kRTA_CACHEINFO, kNoTimes, sizeof kNoTimes);
  } else {
    write_preference(out, local ? 0 : leads_out ? kUserRoute : kOfAddress);
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
