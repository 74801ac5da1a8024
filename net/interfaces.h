// The machine's network interfaces: lo, and what netdevice(7)'s ioctls say of it.
#pragma once

#include "net/ip_address.h"

namespace teacup::net {

struct Interface {
  std::string_view name;
  s32 index;
  u32 flags;  // IFF_*
  u16 type;   // ARPHRD_*
  u32 mtu;
  u32 queue_length;
  u8 v4[4];
  u8 v4_bits;
};
const Interface& loopback_interface();
// False: --network none; it has no addresses then.
bool is_loopback_up();

// SIOCGIF*. ENOTTY: none of these; ENODEV; EPERM: nothing can be set.
Result<s64> interface_ioctl(u32 command, GuestAddress argument, int family);

}  // namespace teacup::net
