#include "net/families.h"

#include "net/gateway.h"
#include "net/netlink.h"
#include "net/ports.h"
#include "net/raw_socket.h"
#include "net/raw_table.h"
#include "net/tcp_socket.h"
#include "net/udp_socket.h"
#include "net/unix.h"
#include "net/unix_rights.h"

namespace teacup::net {

void net_start() {
  unix_start();
  unix_rights_start();
  ports_start();
  gateway_start();
  raw_start();
}

namespace {

// socket(7): what SOCK_STREAM is depends on the protocol; 0 is the usual one.
Result<Ref<Socket>> make_internet_socket(const Caller& caller, int family, int type, int protocol,
                                         u32 flags) {
  if (protocol < 0 || protocol > abi::kIPPROTO_RAW) return Errno::INVAL;
  if (type == abi::kSOCK_STREAM) {
    if (protocol != 0 && protocol != abi::kIPPROTO_TCP) return Errno::PROTONOSUPPORT;
    return make_tcp_socket(caller, family, flags);
  }
  if (type == abi::kSOCK_DGRAM) {
    if (protocol == 0) protocol = abi::kIPPROTO_UDP;
    if (protocol == abi::kIPPROTO_ICMP || protocol == abi::kIPPROTO_ICMPV6)
      return make_raw_socket(caller, family, type, protocol, flags);
    if (protocol != abi::kIPPROTO_UDP && protocol != abi::kIPPROTO_UDPLITE) return Errno::PROTONOSUPPORT;
    return make_udp_socket(caller, family, protocol, flags);
  }
  if (type == abi::kSOCK_RAW) return make_raw_socket(caller, family, type, protocol, flags);
  return Errno::SOCKTNOSUPPORT;
}

}  // namespace

Result<Ref<Socket>> make_socket(const Caller& caller, int family, int type, int protocol, u32 flags) {
  if (family == abi::kAF_UNIX) return make_unix_socket(type, protocol, flags);
  if (family == abi::kAF_INET || family == abi::kAF_INET6)
    return make_internet_socket(caller, family, type, protocol, flags);
  if (family == abi::kAF_NETLINK) return make_netlink_socket(caller, type, protocol, flags);
  return Errno::AFNOSUPPORT;
}

Result<SocketPair> make_pair(const Caller& caller, int family, int type, int protocol, u32 flags) {
  if (family == abi::kAF_UNIX) return make_unix_pair(caller, type, protocol, flags);
  // Whoever makes such a socket makes no pairs of it.
  TRY(make_socket(caller, family, type, protocol, flags));
  return Errno::NOTSUP;
}

}  // namespace teacup::net
