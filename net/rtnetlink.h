// What rtnetlink(7) says of a machine's network: one interface, its addresses, routes to itself.
#pragma once

#include <span>

#include "net/netlink_message.h"

namespace teacup::net {

// `family`: AF_UNSPEC for all.
void write_link(Writer& out, u16 flags);
void write_addresses(Writer& out, u8 family, u16 flags);
void write_routes(Writer& out, u8 family, u16 flags);
void write_rules(Writer& out, u8 family, u16 flags);
// How packets to the address in the request go (`ip route get`). ENETUNREACH.
Result<void> write_route_to(Writer& out, std::span<const std::byte> body);

}  // namespace teacup::net
