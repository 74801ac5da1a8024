// AF_UNIX sockets (unix(7)): stream, datagram and sequenced packets, with names in the file tree and
// abstract ones.
//
// Locks: the table of abstract names' (kSocketNames), alone; endpoints' (unix_endpoint.h).
#pragma once

#include "net/families.h"

namespace teacup::net {

// Creates the machine's table of names. Once.
void unix_start();

// flags: O_NONBLOCK. EPROTONOSUPPORT, ESOCKTNOSUPPORT.
Result<Ref<Socket>> make_unix_socket(int type, int protocol, u32 flags);
// A socket as /proc/net/unix shows it. `name` begins with a NUL if it is abstract.
struct UnixInfo {
  int type;
  bool listening, connected;
  u64 inode;
  u64 peer;               // its inode; 0: none
  u64 waiting, outgoing;  // bytes; of a listener, connections and how many there may be
  u64 send_buffer, receive_buffer;
  u8 shut_ways;  // RCV_SHUTDOWN (1), SEND_SHUTDOWN (2)
  char name[sizeof(Address::bytes)];
  size_t name_length;
};
void visit_unix_sockets(void (*visit)(void* context, const UnixInfo& info), void* context);
// Calls visit(info) for every socket, with the lock of the names held.
template <typename Visit>
void visit_unix_sockets(Visit visit) {
  visit_unix_sockets([](void* context, const UnixInfo& info) { (*static_cast<Visit*>(context))(info); },
                     &visit);
}

Result<SocketPair> make_unix_pair(const Caller& caller, int type, int protocol, u32 flags);

}  // namespace teacup::net
