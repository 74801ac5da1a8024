// A TCP connection (tcp(7)) inside the machine: two sides, each with the queue of bytes that come to it, and
// the states that a program can see. There are no segments: what one side does happens to the other at once,
// under the connection's lock.
//
// A side belongs to a socket, or to nobody (not accepted yet, or closed). What must outlive sockets, the wait
// queue and the options that the other side looks at, is in a TcpHub.
//
// One side may lie outside the machine (net/gateway.h): then its queue is a ring that the broker reads or
// writes, and what would wake its socket is told to the broker.
//
// Locks: the connection's own (kConnection); queues' inside. Wake-ups are made after it is dropped.
#pragma once

#include "net/byte_queue.h"
#include "net/ip_options.h"
#include "net/ports.h"
#include "net/tcp_options.h"

namespace teacup::net {

// The part of a TCP socket that others refer to.
class TcpHub : public RefCounted<TcpHub> {
 public:
  static void destroy(TcpHub* hub) { teacup::destroy(hub); }
  TcpHub() {
    options.send_buffer = 16384;      // net.ipv4.tcp_wmem
    options.receive_buffer = 131072;  // net.ipv4.tcp_rmem
  }
  WaitQueue queue;
  SocketOptions options;
  IpOptions ip;
  TcpOptions tcp;
};

class TcpConnection : public RefCounted<TcpConnection> {
 public:
  enum SideIndex { kClient = 0, kServer = 1 };

  // In SYN_SENT: establish() makes it live.
  static Result<Ref<TcpConnection>> create(Ref<TcpHub> client, const IpName& from, Ref<TcpHub> server,
                                           Ref<Binding> server_binding, const IpName& to);
  static void destroy(TcpConnection* connection) { teacup::destroy(connection); }
  ~TcpConnection();

  // The listener has taken it. False: the client has gone meanwhile. The client is told by announce(), which
  // is called without locks.
  bool establish();
  // Side `side` is outside from now on, reached through this slot of the gateway. Before anyone else sees it.
  void lead_outside(int side, u32 slot);
  void announce() { wake_all(kClient); }
  // Nobody took it: the client's connect fails.
  void refuse(Errno error);

  // --- By the socket of side `me`. Results as File's: EAGAIN where it would block.
  Result<size_t> send(int me, IoSource& from, u32 flags);
  // As ReceiveRequest has it.
  Result<size_t> receive(int me, IoDest& to, u32 flags, u32* out_flags, bool goes_on);
  Result<void> shutdown(int me, bool reading, bool writing);
  // The last descriptor is gone; `reset`: as SO_LINGER with 0 has it.
  void close(int me, bool reset);
  u32 poll(int me);

  u8 state(int me) const { return sides_[me].state.load(std::memory_order_acquire); }
  const IpName& local(int me) const { return sides_[me].name; }
  const IpName& remote(int me) const { return sides_[1 - me].name; }
  bool has_error(int me) const { return sides_[me].error.load(std::memory_order_acquire) != 0; }
  Errno take_error(int me) {
    return static_cast<Errno>(sides_[me].error.exchange(0, std::memory_order_acq_rel));
  }
  u64 readable(int me) { return sides_[me].incoming.readable_to_mark(hub(me).options.out_of_band_inline); }
  bool at_mark(int me) { return sides_[me].incoming.at_mark(); }
  // Bytes on their way in the sense of SIOCOUTQ: beyond what the receiver's buffer takes.
  u64 unacknowledged(int me);
  u64 queued(int me) const { return sides_[me].incoming.used(); }
  u64 sent(int me) const { return sides_[1 - me].incoming.written(); }
  u64 received(int me) const { return sides_[me].incoming.written(); }
  // As sock_diag(7) has it: RCV_SHUTDOWN, SEND_SHUTDOWN.
  u8 shut_ways(int me) const {
    return static_cast<u8>((sides_[me].has(kReceiveShut) ? 1 : 0) | (sides_[me].has(kSendShut) ? 2 : 0));
  }
  TcpHub& hub(int me) const { return *sides_[me].hub; }
  const Ref<TcpHub>& hub_ref(int me) const { return sides_[me].hub; }
  // Of the server's side. In the table until the connection is closed.
  const Ref<Binding>& server_binding() const { return sides_[kServer].binding; }

  // --- For the gateway, when a side is outside.
  static constexpr u32 kNoSlot = ~u32{0};
  u32 slot() const { return slot_; }
  // The broker has read some of what was sent, has written something, or both.
  void outside_moved();
  void outside_finished();            // it sends no more
  void outside_answered();            // it was reached
  void outside_refused(Errno error);  // it was not
  void outside_reset() { close(outside_, true); }
  // Counts the memory of what has come in. False: the machine has no more; outside_reset_both() ends it.
  bool count_outside();
  void outside_reset_both();
  // What the machine's side has done with its end.
  bool is_closed_here() const { return sides_[1 - outside_].has(kClosed); }
  bool is_finished_here() const { return sides_[1 - outside_].has(kSendShut); }
  bool is_reset_here() const { return sides_[outside_].error.load(std::memory_order_acquire) != 0; }

  TcpConnection* next = nullptr;  // in a listener's queue

 private:
  enum Flag : u32 { kReceiveShut = 1, kSendShut = 2, kFinCame = 4, kClosed = 8 };

  struct Side {
    Ref<TcpHub> hub;
    Ref<Binding> binding;  // the server's, from create() on; a client's is its socket's
    IpName name;
    std::atomic<u32> flags{0};
    std::atomic<u32> error{0};
    std::atomic<u8> state{abi::kTCP_CLOSE};
    std::atomic<bool> wants_room{false};  // told when there is room again
    ByteQueue incoming;
    bool has(u32 wanted) const { return (flags.load(std::memory_order_acquire) & wanted) != 0; }
    void add(u32 more) { flags.fetch_or(more, std::memory_order_seq_cst); }
  };

  void release_ended();
  bool is_deaf(int side) const;
  void reset_both();
  u64 limit(int me) const;  // of what side `me` may have on its way
  bool has_room(int me) const;
  Result<void> check_send(int me);
  Result<size_t> send_urgent(int me, IoSource& from);
  void fin_locked(int me);
  void reset_locked(int me);
  void peer_gone(int me);
  void made_room(int me);
  void want_room(int me);
  bool wants_room(int side) const;
  bool take_room_wish(int side);
  abi::GatewaySlot& gateway_slot() const { return abi::gateway().slots[slot_]; }
  void wake(int side, u32 events) {
    if (side == outside_) return tell_outside();
    WaitQueue& queue = sides_[side].hub->queue;
    if (!queue.empty()) queue.wake(events);
  }
  void wake_all(int side) {
    if (side == outside_) return tell_outside();
    sides_[side].hub->queue.wake_all();
  }
  void tell_outside();

  Mutex lock_{LockRank::kConnection};
  Side sides_[2];
  int outside_ = -1;  // which side is outside the machine, if one is
  u32 slot_ = kNoSlot;
};

}  // namespace teacup::net
