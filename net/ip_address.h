// Internet addresses and names of sockets (ip(7), ipv6(7)), IPv4 ones in their IPv6 form (::ffff:a.b.c.d),
// and which of them are the machine's.
#pragma once

#include <string_view>

#include "kernel/base/format.h"
#include "kernel/base/result.h"
#include "net/socket.h"

namespace teacup::net {

inline constexpr s32 kLoopbackIndex = 1, kEthernetIndex = 2;  // the interfaces' (net/interfaces.h)

struct IpAddress {
  u8 bytes[16] = {};

  static IpAddress v4(u8 a, u8 b, u8 c, u8 d);
  static IpAddress v4(const u8* bytes) { return v4(bytes[0], bytes[1], bytes[2], bytes[3]); }
  static IpAddress v6(const u8* bytes);
  static IpAddress any(int family);
  static IpAddress loopback(int family);

  bool is_v4() const;
  const u8* v4_bytes() const { return bytes + 12; }
  bool is_any() const;  // of its family
  bool is_loopback() const;
  bool is_multicast() const;
  bool is_broadcast() const;  // 255.255.255.255, or an interface's
  bool operator==(const IpAddress& other) const;
  void print(TextBuffer& text) const;
};

struct IpName {
  IpAddress address;
  u16 port = 0;
  u32 scope = 0;  // sin6_scope_id
  bool operator==(const IpName& other) const { return port == other.port && address == other.address; }
};

// A socket address as bind(2), connect(2) and sendto(2) take it by a socket of this family. EINVAL: too
// short, EAFNOSUPPORT.
Result<IpName> ip_name_from(const Address& address, int family);
Address address_from(const IpName& name, int family);

// Can sockets be bound to it?
bool is_own_address(const IpAddress& address);
// The interface that packets to an address are thought to come by.
s32 interface_of(const IpAddress& to);
// The one of groups and of 255.255.255.255, if nothing says which.
s32 usual_interface();
// Where packets to `to` come from, of a socket that SO_BINDTODEVICE binds to `device` (0: none). ENETUNREACH:
// there is no way; EHOSTUNREACH: there is, and nobody at its end.
Result<IpAddress> source_for(const IpAddress& to, s32 device);
// From lo's address of IPv4 nothing leaves the machine: EINVAL.
bool leads_astray(const IpAddress& from, const IpAddress& to);
// source_for() for TCP and UDP, which may lead out of the machine (net/gateway.h).
Result<IpAddress> source_for_outside(const IpAddress& to, s32 device);

}  // namespace teacup::net
