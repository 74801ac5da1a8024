// Raw sockets (raw(7)) and the echo sockets of icmp(7), which need no privilege.
#pragma once

#include "net/families.h"

namespace teacup::net {

// type: SOCK_RAW (EPERM without CAP_NET_RAW), or SOCK_DGRAM for echoes. EPROTONOSUPPORT.
Result<Ref<Socket>> make_raw_socket(const Caller& caller, int family, int type, int protocol, u32 flags);

}  // namespace teacup::net
