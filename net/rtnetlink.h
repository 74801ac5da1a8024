// What rtnetlink(7) says of a machine's network: its interfaces, their addresses, routes.
#pragma once

#include <array>

#include "net/interfaces.h"
#include "net/netlink_message.h"

namespace teacup::net {

struct Route {
  u8 family, bits, type, scope, table, protocol;
  s32 interface;
  IpAddress to;
  bool by_neighbour;  // neighbour() passes it on
  u32 metric;         // of IPv6
};
using RouteTable = std::array<Route, 16>;
std::span<const Route> routes(RouteTable& into);

void write_link(Writer& out, const Interface& link, u16 flags);
// The link that a request names by its index or its name. EINVAL: it does neither; ENODEV.
Result<const Interface*> find_link(std::span<const std::byte> body);
// `family`: AF_UNSPEC for all.
void write_addresses(Writer& out, u8 family, u16 flags);
void write_routes(Writer& out, u8 family, u16 flags);
void write_rules(Writer& out, u8 family, u16 flags);
// How packets to the address in the request go (`ip route get`). ENETUNREACH.
Result<void> write_route_to(Writer& out, std::span<const std::byte> body);

}  // namespace teacup::net
