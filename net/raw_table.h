// Sockets that get packets by their protocol, not by a port (raw(7), and icmp(7)'s echo sockets), and what
// answers an echo request: the machine itself.
//
// Only what such sockets send goes this way. UDP and TCP have no packets here, so a raw socket of theirs
// hears nothing.
//
// Locks: the table's own (kPorts); endpoints' after it is dropped.
#pragma once

#include "net/udp_endpoint.h"

namespace teacup::net {

// A packet on its way; the body is what follows the header of IP.
struct IpPacket {
  IpAddress from, to;
  u8 protocol = 0, hops = 64, traffic_class = 0;
  std::span<std::byte> body;
};

// Types of ICMP messages that a raw socket does not want (ICMP_FILTER, ICMP6_FILTER): a bit each.
struct IcmpFilter {
  static constexpr size_t kWords = 8;
  Setting<u32> words[kWords];
  bool blocks(u32 type) const { return (words[type / 32] >> (type % 32) & 1) != 0; }
};

// A socket's entry. Its names are changed under the table's lock.
struct RawUser {
  ListNode node;
  Ref<UdpEndpoint> endpoint;
  int family = 0, protocol = 0;
  bool echoes = false;  // an echo socket: replies to its own identifier, and nothing else
  u16 identifier = 0;   // 0: none yet
  u32 uid = 0;          // who made it
  u64 inode = 0;        // the socket's number
  IpAddress local, remote;
  IcmpFilter filter;
};

class RawTable {
 public:
  void add(RawUser& user);
  void remove(RawUser& user);
  // bind(2) of an echo socket; 0: any that is free (EADDRINUSE: none). Who claims one last gets its replies.
  Result<void> claim_identifier(RawUser& user, u16 wanted);
  void set_local(RawUser& user, const IpAddress& local);
  void set_remote(RawUser& user, const IpAddress& remote);
  // To all who want it, and, if it asks for an echo, the answer to it.
  void deliver(const IpPacket& packet);

  // Calls visit(user) for every socket; with the lock held.
  template <typename Visit>
  void visit(Visit visit) {
    LockGuard guard(lock_);
    for (RawUser& user : users_) visit(static_cast<const RawUser&>(user));
  }

 private:
  bool wants(const RawUser& user, const IpPacket& packet) const;
  void hand_out(const IpPacket& packet);

  Mutex lock_{LockRank::kPorts};
  List<RawUser, &RawUser::node> users_;
  u16 next_identifier_ = 0;
};

RawTable& raw_table();
// Creates the table. Once.
void raw_start();

}  // namespace teacup::net
