// Netlink sockets (netlink(7), rtnetlink(7)): what programs ask about interfaces, addresses and routes.
#pragma once

#include "net/families.h"

namespace teacup::net {

// protocol: NETLINK_ROUTE, NETLINK_SOCK_DIAG (net/sock_diag.h), or NETLINK_KOBJECT_UEVENT, on which nothing
// ever happens. EPROTONOSUPPORT.
Result<Ref<Socket>> make_netlink_socket(const Caller& caller, int type, int protocol, u32 flags);

}  // namespace teacup::net
