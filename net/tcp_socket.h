// TCP sockets (tcp(7)) on the machine's own addresses.
#pragma once

#include "net/families.h"

namespace teacup::net {

// family: AF_INET or AF_INET6. flags: O_NONBLOCK.
Result<Ref<Socket>> make_tcp_socket(const Caller& caller, int family, u32 flags);

}  // namespace teacup::net
