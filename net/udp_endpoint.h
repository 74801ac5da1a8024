// The core of a UDP socket (udp(7)): the datagrams that came, its name and its peer's. Apart from the file,
// because senders find it by its port whatever becomes of the descriptor meanwhile.
//
// Locks: its own (kConnection); the ports' (kPorts) before it.
#pragma once

#include "net/ip_options.h"
#include "net/ports.h"

namespace teacup::net {

struct Datagram {
  ListNode node;
  IpName from, to;
  u64 time;  // CLOCK_REALTIME, ns
  u32 size;
  u8 hops, traffic_class;
  s32 interface;  // that it came by
  Errno error;    // of one that came back
  std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
  static Result<Datagram*> create(size_t size);
  static void destroy(Datagram* datagram) { teacup::destroy(datagram); }
  u64 charge() const;  // what it counts against the receiver's buffer
};

class UdpEndpoint final : public RefCounted<UdpEndpoint>, public PortUser {
 public:
  static void destroy(UdpEndpoint* endpoint) { teacup::destroy(endpoint); }
  ~UdpEndpoint();
  void ref_user() override { ref(); }
  void unref_user() override { unref(); }

  // Takes it over. Dropped without a word when the buffer is full.
  void deliver(Datagram* datagram);
  // An ICMP message about something that was sent from here.
  void fail(Errno error);
  // Nobody takes what was sent from here, says ICMP: kept for MSG_ERRQUEUE, if that is wanted (IP_RECVERR).
  // Takes it over.
  void refuse(Datagram* datagram, Errno error);
  // As File's. EAGAIN: none.
  Result<size_t> receive(ReceiveRequest& request, int family);
  u32 poll();
  u64 first_size();
  // Its queue, its buffers' sizes and what is shut, for sock_diag(7).
  void describe(PortInfo& info) const;
  u64 queued() const { return charged_.load(std::memory_order_relaxed); }
  Errno take_error() { return static_cast<Errno>(error_.exchange(0, std::memory_order_acq_rel)); }
  bool has_error() const { return error_.load(std::memory_order_acquire) != 0; }
  void shut(bool reading, bool writing);
  bool send_shut() const { return (shut_.load(std::memory_order_acquire) & kSendShut) != 0; }

  // Multicast groups. EADDRINUSE, EADDRNOTAVAIL, ENOBUFS.
  Result<void> join(const Group& group);
  // Interface 0: whichever.
  Result<void> leave(const Group& group);
  bool is_member(const Group& group);
  size_t groups(std::span<Group> into);

  WaitQueue queue;
  SocketOptions options;
  IpOptions ip;

 private:
  static constexpr u32 kReceiveShut = 1, kSendShut = 2;
  static constexpr size_t kMostGroups = PortTable::kMostGroups;
  static IpAddress answer_from(const Datagram& datagram);
  void describe(Datagram& datagram, ReceiveRequest& request, int family);
  Result<size_t> receive_refused(ReceiveRequest& request, int family);

  Mutex lock_{LockRank::kConnection};
  List<Datagram, &Datagram::node> datagrams_;
  List<Datagram, &Datagram::node> refused_;
  std::atomic<u64> charged_{0};
  std::atomic<u32> count_{0}, refused_count_{0};
  std::atomic<u32> error_{0};
  std::atomic<u32> shut_{0};
  Group groups_[kMostGroups];
  size_t group_count_ = 0;
};

}  // namespace teacup::net
