// The options of the levels IPPROTO_IP and IPPROTO_IPV6, for TCP, UDP and ICMP sockets alike.
#pragma once

#include "net/ip_address.h"
#include "net/stored_options.h"

namespace teacup::net {

inline constexpr s32 kAnyNumber = 0x7fffffff;

struct IpOptionTable {
  static constexpr StoredOption entries[] = {
      {abi::kIPPROTO_IP, abi::kIP_TOS, 0, 0, 255},
      {abi::kIPPROTO_IP, abi::kIP_TTL, 64, 1, 255},
      {abi::kIPPROTO_IP, abi::kIP_RECVTTL, 0, 0, 1, true},
      {abi::kIPPROTO_IP, abi::kIP_RECVTOS, 0, 0, 1, true},
      {abi::kIPPROTO_IP, abi::kIP_RECVOPTS, 0, 0, 1, true},
      {abi::kIPPROTO_IP, abi::kIP_RETOPTS, 0, 0, 1, true},
      {abi::kIPPROTO_IP, abi::kIP_PKTINFO, 0, 0, 1, true},
      {abi::kIPPROTO_IP, abi::kIP_MTU_DISCOVER, 1, 0, 5},
      {abi::kIPPROTO_IP, abi::kIP_RECVERR, 0, 0, 1, true},
      {abi::kIPPROTO_IP, abi::kIP_FREEBIND, 0, 0, 1, true},
      {abi::kIPPROTO_IP, abi::kIP_RECVORIGDSTADDR, 0, 0, 1, true},
      {abi::kIPPROTO_IP, abi::kIP_MINTTL, 0, 0, 255},
      {abi::kIPPROTO_IP, abi::kIP_BIND_ADDRESS_NO_PORT, 0, 0, 1, true},
      {abi::kIPPROTO_IP, abi::kIP_RECVFRAGSIZE, 0, 0, 1},
      {abi::kIPPROTO_IP, abi::kIP_MULTICAST_TTL, 1, 0, 255},
      {abi::kIPPROTO_IP, abi::kIP_MULTICAST_LOOP, 1, 0, 1, true},
      {abi::kIPPROTO_IP, abi::kIP_MULTICAST_ALL, 1, 0, 1},
      {abi::kIPPROTO_IP, abi::kIP_UNICAST_IF, 0, -kAnyNumber, kAnyNumber},
      {abi::kIPPROTO_IPV6, abi::kIPV6_UNICAST_HOPS, 64, -1, 255},
      {abi::kIPPROTO_IPV6, abi::kIPV6_MULTICAST_IF, 0, 0, kEthernetIndex},
      {abi::kIPPROTO_IPV6, abi::kIPV6_MULTICAST_HOPS, 1, -1, 255},
      {abi::kIPPROTO_IPV6, abi::kIPV6_MULTICAST_LOOP, 1, 0, 1},
      {abi::kIPPROTO_IPV6, abi::kIPV6_MULTICAST_ALL, 1, 0, 1},
      {abi::kIPPROTO_IPV6, abi::kIPV6_MTU_DISCOVER, 1, 0, 5},
      {abi::kIPPROTO_IPV6, abi::kIPV6_RECVERR, 0, 0, 1, true},
      {abi::kIPPROTO_IPV6, abi::kIPV6_V6ONLY, 0, 0, 1, true},
      {abi::kIPPROTO_IPV6, abi::kIPV6_RECVPKTINFO, 0, 0, 1, true},
      {abi::kIPPROTO_IPV6, abi::kIPV6_RECVHOPLIMIT, 0, 0, 1, true},
      {abi::kIPPROTO_IPV6, abi::kIPV6_RECVTCLASS, 0, 0, 1, true},
      {abi::kIPPROTO_IPV6, abi::kIPV6_TCLASS, 0, -1, 255},
      {abi::kIPPROTO_IPV6, abi::kIPV6_DONTFRAG, 0, 0, 1, true},
      {abi::kIPPROTO_IPV6, abi::kIPV6_AUTOFLOWLABEL, 1, 0, 1, true},
      {abi::kIPPROTO_IPV6, abi::kIPV6_FREEBIND, 0, 0, 1, true},
      {abi::kIPPROTO_IPV6, abi::kIPV6_MINHOPCOUNT, 0, 0, 255},
      {abi::kIPPROTO_IPV6, abi::kIPV6_ADDR_PREFERENCES, 2, 0, kAnyNumber},
  };
};
using IpStoredOptions = StoredOptions<IpOptionTable>;

struct IpOptions {
  IpStoredOptions stored;
  // IP_MULTICAST_IF: the address it was set to, and the interface; 0: none.
  IpAddress multicast_from = IpAddress::any(abi::kAF_INET);
  Setting<s32> multicast_interface;

  // An address of IPv6, if it is one, leaves no way to IPv4.
  void note_bound(const IpAddress& address) {
    constexpr s32 kOn = 1;
    if (address.is_v4() || address.is_any()) return;
    (void)stored.set(abi::kIPPROTO_IPV6, abi::kIPV6_V6ONLY, std::as_bytes(std::span(&kOn, 1)));
  }
  void note_classes(u8& type_of_service, u8& traffic_class) const {
    type_of_service = static_cast<u8>(stored.get(abi::kIPPROTO_IP, abi::kIP_TOS));
    s32 chosen = stored.get(abi::kIPPROTO_IPV6, abi::kIPV6_TCLASS);
    traffic_class = static_cast<u8>(chosen < 0 ? 0 : chosen);
  }
  bool v6_only() const { return stored.get(abi::kIPPROTO_IPV6, abi::kIPV6_V6ONLY) != 0; }
  bool may_bind_anywhere() const {
    return stored.get(abi::kIPPROTO_IP, abi::kIP_FREEBIND) != 0 ||
           stored.get(abi::kIPPROTO_IPV6, abi::kIPV6_FREEBIND) != 0;
  }
};

// What the end of an ip_mreq or ip_mreqn, or IP_MULTICAST_IF's in_addr, says: the index of the interface, or
// the interface of the address; 0: neither. EINVAL: too short; ENODEV.
Result<s32> interface_named(std::span<const std::byte> value);

// bind(2): the name, if the caller may have it. `of_many`: a multicast or broadcast address will do too.
// EINVAL, EAFNOSUPPORT, EADDRNOTAVAIL; EACCES below port 1024.
Result<IpName> name_to_bind(const Caller& caller, const Address& address, int family,
                            const IpOptions& options, bool of_many);
// Whether a connection that ends, or fails, leaves the address it chose. Linux asks whether any bind(2) of
// the socket's life named one, even if the last did not; "any of IPv4" is one to a socket of IPv6.
inline bool is_asked_address(const IpAddress& address, int family) {
  return !address.is_any() || (family == abi::kAF_INET6 && address.is_v4());
}

// For a socket of this family: IPPROTO_IPV6 is none of AF_INET's. `bound`: IPV6_V6ONLY can no longer change.
Result<size_t> get_ip_option(const IpOptions& options, int family, bool stream, bool connected, int level,
                             int name, std::span<std::byte> value);
// `socket`: the same socket's options of SOL_SOCKET.
Result<void> set_ip_option(IpOptions& options, SocketOptions& socket, int family, bool stream, bool bound,
                           int level, int name, std::span<const std::byte> value);

}  // namespace teacup::net
