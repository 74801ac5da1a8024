// A protocol's ports: which names are taken, by whom, and who gets what is sent to one. One table per
// protocol and machine; IPv4 and IPv6 share it.
//
// A Binding is one socket's claim. It stays in the table until release(), or its last reference goes. Sockets
// that were accepted have one too: they keep the port taken when the listener is gone (bind(2) after that
// needs SO_REUSEADDR), until their connection is closed, though the descriptor may be open.
//
// Who may share a name is asked with SO_REUSEADDR and SO_REUSEPORT as they are set at that moment, of both.
// Differs from Linux before 6.8: there they count as they were when a port was taken, while all had them.
// Differs from Linux: no TIME_WAIT, for no segment can be late: a port is free again at once.
//
// Locks: the table's own (kPorts).
#pragma once

#include <span>

#include "kernel/base/list.h"
#include "kernel/sync/lock.h"
#include "net/ip_address.h"
#include "net/tcp_options.h"

namespace teacup::net {

class PortTable;
class PortUser;

// A socket as /proc/net shows it.
struct PortInfo {
  u8 state = 0;                   // kTCP_*
  u64 outgoing = 0, waiting = 0;  // bytes
  u32 uid = 0;
  u64 inode = 0;
  u64 send_buffer = 0, receive_buffer = 0;  // their sizes
  u8 shut_ways = 0;                         // RCV_SHUTDOWN (1), SEND_SHUTDOWN (2)
  u8 type_of_service = 0, traffic_class = 0;
  // Of TCP.
  u8 congestion = 0;
  TcpFigures tcp;
};
// A multicast group, as it is joined: on one interface.
struct Group {
  IpAddress address;
  s32 interface = 0;
  bool operator==(const Group& other) const = default;
};
// The socket that a binding belongs to. Asked with the table's lock held.
class PortOwner {
 public:
  virtual PortInfo port_info() = 0;
  // The multicast groups that it is in, as many as there is room for.
  virtual size_t groups(std::span<Group>) { return 0; }

 protected:
  ~PortOwner() = default;
};

// What the rules of sharing a port ask of a socket.
struct Claim {
  IpName name;     // port 0: any that is free
  int family = 0;  // AF_INET, AF_INET6
  bool v6_only = false;
  u32 uid = 0;
  // Names in the sense of bind(2) overlap; connections are told apart by both their names.
  bool has_remote = false;
  IpName remote;

  bool takes_v4() const;
  bool takes_v6() const;
  // Would a packet to this address be this socket's?
  bool covers(const IpAddress& to) const;
  // As the one who asks for a name sees it: not quite the same from the other side.
  bool overlaps(const Claim& other) const;
};

class Binding : public RefCounted<Binding> {
 public:
  static void destroy(Binding* binding) { teacup::destroy(binding); }
  Binding(PortTable& table, const SocketOptions& options) : table_(table), options_(options) {}
  ~Binding() { release(); }

  const Claim& claim() const { return claim_; }
  const IpName& local() const { return claim_.name; }
  u16 port() const { return claim_.name.port; }
  // As bind(2) gave it: connecting fixes the address.
  const IpName& bound_name() const { return bound_; }
  PortTable& table() { return table_; }
  // bind(2) chose it, not connect(2).
  bool is_explicit() const { return explicit_; }
  // Gives the name back. More than once is fine.
  void release();

 private:
  friend class PortTable;
  ListNode node_;
  PortTable& table_;
  const SocketOptions& options_;
  Claim claim_;
  IpName bound_;
  bool explicit_ = false;
  bool listening_ = false;
  // Not counted: they release the binding before they go.
  PortUser* user_ = nullptr;
  PortOwner* owner_ = nullptr;
};

// Whoever can be found by a name: a TCP listener, a UDP endpoint. Counted by its own class.
class PortUser {
 public:
  virtual void ref_user() = 0;
  virtual void unref_user() = 0;

 protected:
  ~PortUser() = default;
};

class PortTable {
 public:
  // TCP's rules or UDP's: two sockets with SO_REUSEADDR share a name unless one of them listens; UDP's share.
  explicit PortTable(bool streams) : streams_(streams) {}

  // `options`: the socket's, which outlive the binding's place in the table.
  // bind(2). EADDRINUSE. `user`: who is found by it, null so far.
  Result<Ref<Binding>> bind(const Claim& claim, const SocketOptions& options, PortUser* user);
  // connect(2) of a socket that has no port yet. EADDRNOTAVAIL: all are taken.
  Result<Ref<Binding>> bind_for_connection(const Claim& claim, const SocketOptions& options, PortUser* user);
  // An accepted connection's, beside its listener's.
  Result<Ref<Binding>> bind_accepted(const Claim& claim, const SocketOptions& options);
  // listen(2): EADDRINUSE if another listens already.
  Result<void> listen(Binding& binding, PortUser& user);
  void stop_listening(Binding& binding);
  // The binding's socket is connected now, from `local`. EADDRNOTAVAIL: there is such a connection.
  Result<void> set_remote(Binding& binding, const IpName& local, const IpName& remote);
  void clear_remote(Binding& binding, const IpName& local);
  void set_owner(Binding& binding, PortOwner* owner);

  // Who gets what comes from `from` to `to` by an interface: the closest match; among equals that share the
  // port with SO_REUSEPORT one is picked by both names. With a reference; null: nobody.
  PortUser* find(const IpName& to, const IpName& from, s32 interface, bool listeners);
  // Calls visit(user) for all that get a datagram to many; with the lock held.
  template <typename Visit>
  void visit_port(u16 port, Visit visit) {
    LockGuard guard(lock_);
    for (Binding& binding : bucket(port).bound) {
      if (binding.port() == port && binding.user_ != nullptr) visit(binding.claim_, *binding.user_);
    }
  }
  // Calls visit(claim, info) for all that belong to a socket; with the lock held.
  template <typename Visit>
  void visit_owners(Visit visit) {
    LockGuard guard(lock_);
    for (Bucket& bucket : buckets_) {
      for (Bindings* bindings : {&bucket.bound, &bucket.accepted}) {
        for (Binding& binding : *bindings) {
          if (binding.owner_ != nullptr) visit(binding.claim_, binding.owner_->port_info());
        }
      }
    }
  }
  // Calls visit(group) for each membership in a multicast group of sockets with a port; with the lock held.
  template <typename Visit>
  void visit_groups(Visit visit) {
    LockGuard guard(lock_);
    Group groups[kMostGroups];
    for (Bucket& bucket : buckets_) {
      for (Binding& binding : bucket.bound) {
        size_t count = binding.owner_ != nullptr ? binding.owner_->groups(groups) : 0;
        for (size_t i = 0; i < count; i++) visit(groups[i]);
      }
    }
  }
  static constexpr size_t kMostGroups = 20;  // of a socket: net.ipv4.igmp_max_memberships

 private:
  friend class Binding;
  using Bindings = List<Binding, &Binding::node_>;
  struct Bucket {
    Bindings bound;
    Bindings accepted;  // apart, for there may be thousands and nobody is found by them
  };
  static constexpr u32 kBuckets = 1024;

  Bucket& bucket(u16 port) { return buckets_[port % kBuckets]; }
  bool conflicts_locked(const Claim& claim, const Binding& self, bool any_port);
  bool tuple_taken_locked(const Claim& claim, const Binding* self);
  void tell_listening_locked(u16 port);
  int score(const Binding& binding, const IpName& to, const IpName& from, s32 interface) const;
  Result<Ref<Binding>> make_binding(const Claim& claim, const SocketOptions& options, PortUser* user,
                                    bool is_explicit);
  template <typename Free>
  Result<u16> choose_locked(Free is_free);

  const bool streams_;
  Mutex lock_{LockRank::kPorts};
  u32 next_ = 0;  // where the search for a free port goes on
  Bucket buckets_[kBuckets];
};

// net.ipv4.ip_local_port_range
inline constexpr u16 kFirstEphemeral = 32768, kLastEphemeral = 60999;

PortTable& tcp_ports();
PortTable& udp_ports();
PortTable& udplite_ports();
// Creates the tables. Once.
void ports_start();

}  // namespace teacup::net
