// One connection between a slot of the gateway (kernel/abi/gateway.h) and a host socket: bytes go straight
// from the socket into the slot's ring and from the ring into the socket. Nothing here waits: what cannot go
// on is taken up again when the socket is ready (the gateway's epoll) or the machine has news.
//
// Any thread; a connection's own mutex, held over host calls but sending.
#pragma once

#include <mutex>

#include "host/broker/socket_address.h"

namespace teacup::host {

class HostConnection {
 public:
  void set_index(u32 index) { index_ = index; }

  // A host connection for a port of the machine: offers it. The slot is free. `reader`: GatewaySlot's, until
  // the machine knows better.
  void offer(int fd, int epoll_fd, const SocketAddress& peer, u16 guest_port, u64 reader);

  // A connection out of the machine: connected, or on its way (`connecting`). Or it could not be begun.
  void begin(int fd, int epoll_fd, bool connecting);
  void refuse(int error);
  // The machine asks for one that was not begun yet.
  bool is_asked();

  // What one call came to.
  struct Outcome {
    bool news = false;  // for the machine
    bool over = false;  // the slot is free again
    bool more = false;  // there is more to do at once: news() again
  };
  // The host socket is ready for `events` (EPOLL*).
  Outcome ready(u32 events);
  // The machine has news of its side.
  Outcome news();
  // The machine has ended: writes what the host takes at once. True: there is more.
  bool flush();
  int fd() const { return fd_; }

 private:
  void take_socket(int fd, int epoll_fd, u32 events);
  void finish_connecting(Outcome& outcome);
  using Lock = std::unique_lock<std::mutex>;
  void advance(Lock& lock, bool readable, Outcome& outcome);
  void pump_in(Outcome& outcome);
  void pump_out(Lock& lock, Outcome& outcome);
  bool send_some(Lock& lock, u64& done, Outcome& outcome);
  void close_socket();
  bool is_left() const;
  bool has_output() const;
  void fail(int error, Outcome& outcome);
  void arm();
  void hang_up_if_reset();
  void leave(Outcome& outcome);
  void give_back_memory();
  abi::GatewaySlot& slot() const { return abi::gateway().slots[index_]; }

  std::mutex mutex_;
  u32 index_ = 0;
  int epoll_fd_ = -1;
  int fd_ = -1;
  bool busy_ = false;  // the slot is a connection's
  bool connecting_ = false;
  bool in_finished_ = false;  // the host's peer sends no more
  bool out_finished_ = false;
  bool in_stalled_ = false;   // the ring is full
  bool out_blocked_ = false;  // the socket is full
  // A thread is in pump_out(), and in it in the host's call, without the lock; it is to look once more.
  bool sending_ = false, in_sendmsg_ = false, send_again_ = false;
  u32 armed_ = 0;
  // The broker's own: the machine can write what it likes to those in the arena.
  u64 in_head_ = 0, in_base_ = 0, out_tail_ = 0;
  u64 furthest_ = 0;  // how far into a ring bytes came to lie
};

}  // namespace teacup::host
