#include "net/ip_address.h"

#include <algorithm>

#include "kernel/base/memory.h"
#include "net/gateway.h"
#include "net/interfaces.h"

namespace teacup::net {

namespace {
constexpr u32 kShortestV6 = 24;  // without sin6_scope_id (RFC 2133)
constexpr u8 kMappedPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr u8 kZeros[16] = {};

u16 port_from(const u8* bytes) {
  return static_cast<u16>(bytes[0] << 8 | bytes[1]);
}
void port_to(u8* bytes, u16 port) {
  bytes[0] = static_cast<u8>(port >> 8);
  bytes[1] = static_cast<u8>(port);
}
}  // namespace

IpAddress IpAddress::v4(u8 a, u8 b, u8 c, u8 d) {
  IpAddress address;
  memcpy(address.bytes, kMappedPrefix, sizeof kMappedPrefix);
  u8 own[4] = {a, b, c, d};
  memcpy(address.bytes + 12, own, sizeof own);
  return address;
}

IpAddress IpAddress::v6(const u8* bytes) {
  IpAddress address;
  memcpy(address.bytes, bytes, sizeof address.bytes);
  return address;
}

IpAddress IpAddress::any(int family) {
  return family == abi::kAF_INET ? v4(0, 0, 0, 0) : IpAddress{};
}

IpAddress IpAddress::loopback(int family) {
  if (family == abi::kAF_INET) return v4(127, 0, 0, 1);
  IpAddress address;
  address.bytes[15] = 1;
  return address;
}

bool IpAddress::is_v4() const {
  return memcmp(bytes, kMappedPrefix, sizeof kMappedPrefix) == 0;
}

bool IpAddress::is_any() const {
  return memcmp(v4_bytes(), kZeros, 4) == 0 && (is_v4() || memcmp(bytes, kZeros, 12) == 0);
}

bool IpAddress::is_loopback() const {
  return is_v4() ? bytes[12] == 127 : *this == loopback(abi::kAF_INET6);
}

bool IpAddress::is_multicast() const {
  return is_v4() ? bytes[12] >= 224 && bytes[12] < 240 : bytes[0] == 0xff;
}

bool IpAddress::is_broadcast() const {
  if (!is_v4() || bytes[15] != 255) return false;
  if (*this == v4(255, 255, 255, 255)) return true;
  for (const Interface& interface : interfaces()) {
    u8 all[4];
    interface.v4_broadcast(all);
    if (*this == v4(all)) return true;
  }
  return false;
}

bool IpAddress::operator==(const IpAddress& other) const {
  return memcmp(bytes, other.bytes, sizeof bytes) == 0;
}

Result<IpName> ip_name_from(const Address& address, int family) {
  IpName name;
  if (family == abi::kAF_INET) {
    abi::SockAddrIn in;
    if (address.length < sizeof in) return Errno::INVAL;
    if (address.family() != abi::kAF_INET) return Errno::AFNOSUPPORT;
    memcpy(&in, address.bytes, sizeof in);
    name.address = IpAddress::v4(in.address);
    name.port = port_from(in.port);
    return name;
  }
  abi::SockAddrIn6 in{};
  if (address.length < kShortestV6) return Errno::INVAL;
  if (address.family() != abi::kAF_INET6) return Errno::AFNOSUPPORT;
  memcpy(&in, address.bytes, std::min<size_t>(address.length, sizeof in));
  name.address = IpAddress::v6(in.address);
  name.port = port_from(in.port);
  name.scope = address.length >= sizeof in ? in.scope : 0;
  return name;
}

Address address_from(const IpName& name, int family) {
  Address address;
  if (family == abi::kAF_INET) {
    abi::SockAddrIn in{};
    in.family = abi::kAF_INET;
    port_to(in.port, name.port);
    memcpy(in.address, name.address.v4_bytes(), sizeof in.address);
    address.length = sizeof in;
    memcpy(address.bytes, &in, sizeof in);
    return address;
  }
  abi::SockAddrIn6 in{};
  in.family = abi::kAF_INET6;
  port_to(in.port, name.port);
  memcpy(in.address, name.address.bytes, sizeof in.address);
  in.scope = name.scope;
  address.length = sizeof in;
  memcpy(address.bytes, &in, sizeof in);
  return address;
}

// --- The machine's addresses.

bool is_own_address(const IpAddress& address) {
  if (!is_network_up()) return false;
  if (address.is_loopback()) return !address.is_broadcast();
  int family = address.is_v4() ? abi::kAF_INET : abi::kAF_INET6;
  return find_interface(kEthernetIndex)->address(family) == address;
}

s32 interface_of(const IpAddress& to) {
  return to.is_loopback() || to.is_any() ? kLoopbackIndex : usual_interface();
}

s32 usual_interface() {
  return is_network_up() ? kEthernetIndex : kLoopbackIndex;
}

Result<IpAddress> source_for(const IpAddress& to, s32 device) {
  int family = to.is_v4() ? abi::kAF_INET : abi::kAF_INET6;
  if (!is_network_up()) return Errno::NETUNREACH;
  const Interface& ethernet = *find_interface(kEthernetIndex);
  if (to.is_loopback() || to.is_any()) {
    // By eth0 it would be looked for among the neighbours.
    return device == kEthernetIndex ? Result<IpAddress>(Errno::HOSTUNREACH)
                                    : Result<IpAddress>(IpAddress::loopback(family));
  }
  if (is_own_address(to)) return to;
  // The address of all leads nowhere in particular, unless the socket or a default route says where.
  bool everywhere = to == IpAddress::v4(255, 255, 255, 255);
  if (everywhere && (device != 0 || gateway_leads_out())) return ethernet.address(family);
  if (everywhere || !ethernet.is_near(to) || device == kLoopbackIndex) return Errno::NETUNREACH;
  if (to.is_broadcast()) return ethernet.address(family);
  return Errno::HOSTUNREACH;
}

bool leads_astray(const IpAddress& from, const IpAddress& to) {
  return from.is_v4() && from.is_loopback() && gateway_leads_to(to);
}

Result<IpAddress> source_for_outside(const IpAddress& to, s32 device) {
  if (!gateway_leads_to(to)) return source_for(to, device);
  if (device == kLoopbackIndex) return Errno::NETUNREACH;
  return find_interface(kEthernetIndex)->address(to.is_v4() ? abi::kAF_INET : abi::kAF_INET6);
}

}  // namespace teacup::net
