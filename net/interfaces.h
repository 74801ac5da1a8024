// The machine's network interfaces, lo and eth0, and what netdevice(7)'s ioctls say of them.
//
// Nothing is behind eth0: it is the address by which the machine knows itself, and the one that connections
// to the outside have (net/gateway.h). Every machine has the same, so that nothing depends on where it runs.
#pragma once

#include <span>

#include "net/ip_address.h"

namespace teacup::net {

struct Interface {
  std::string_view name;
  s32 index;
  u32 flags;  // IFF_*
  u16 type;   // ARPHRD_*
  u32 mtu;
  u32 queue_length;
  u8 hardware[6], hardware_broadcast[6];
  u8 v4[4];
  u8 v4_bits;
  u8 v6[16];
  u8 v6_bits;
  u8 scope;  // of its addresses: RT_SCOPE_*

  bool is_loopback() const { return index == kLoopbackIndex; }
  bool is_up() const { return (flags & abi::kIFF_UP) != 0; }
  // The part of an address of IPv4 that is the network's.
  void v4_mask(u8 mask[4]) const;
  void v4_broadcast(u8 address[4]) const;
  // Its address of this family.
  IpAddress address(int family) const;
  // Is it in the interface's network?
  bool is_near(const IpAddress& to) const;
};
// By index. --network none: only lo, which is down and has no addresses then.
std::span<const Interface> interfaces();
const Interface* find_interface(s32 index);
const Interface* find_interface(std::string_view name);
// Whether there are addresses at all.
bool is_network_up();
// Where the default route would lead if anything was let out; the machine's neighbour on eth0.
IpAddress neighbour(int family);

// SIOCGIF*. ENOTTY: none of these; ENODEV; EPERM: nothing can be set.
Result<s64> interface_ioctl(u32 command, GuestAddress argument, int family);

}  // namespace teacup::net
