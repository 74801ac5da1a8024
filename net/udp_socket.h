// UDP sockets (udp(7)) on the machine's own addresses, multicast and broadcast on lo included.
#pragma once

#include "net/families.h"

namespace teacup::net {

// family: AF_INET or AF_INET6. flags: O_NONBLOCK.
Result<Ref<Socket>> make_udp_socket(int family, u32 flags);

}  // namespace teacup::net
