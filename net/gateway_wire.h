// What the parts of the machine's end of the gateway share.
#pragma once

#include "kernel/abi/gateway.h"
#include "net/ip_address.h"

namespace teacup::net {

// Of the machine's end of the datagrams that leave (`out`), or that come.
Mutex& gateway_datagram_lock(bool out);
IpName name_from_gateway(const abi::GatewayName& shared);
abi::GatewayName name_for_gateway(const IpName& name);
// Tells the broker that a slot, or what else has a bit on its board, has news.
void gateway_post(u32 index);
// Delivers the datagrams that the broker has put down.
void gateway_take_datagrams();

}  // namespace teacup::net
