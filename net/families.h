// Address families: who makes a socket of which kind.
#pragma once

#include "net/socket.h"

namespace teacup::net {

struct SocketPair {
  Ref<Socket> first, second;
};

// Creates the machine's tables of names and ports. Once.
void net_start();

// socket(2) and socketpair(2). flags: O_NONBLOCK. EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT, EOPNOTSUPP.
Result<Ref<Socket>> make_socket(const Caller& caller, int family, int type, int protocol, u32 flags);
Result<SocketPair> make_pair(const Caller& caller, int family, int type, int protocol, u32 flags);

}  // namespace teacup::net
