// UDP and UDP-Lite sockets (udp(7), udplite(7)) on the machine's own addresses, multicast and broadcast on lo
// included.
#pragma once

#include "net/families.h"

namespace teacup::net {

// family: AF_INET or AF_INET6; protocol: IPPROTO_UDP or IPPROTO_UDPLITE. flags: O_NONBLOCK.
Result<Ref<Socket>> make_udp_socket(const Caller& caller, int family, int protocol, u32 flags);

}  // namespace teacup::net
