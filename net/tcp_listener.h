// A listening TCP socket: connections that wait to be accepted, and those that wait for room among them.
//
// Locks: its own (kListener); connections' (kConnection) after it is dropped.
#pragma once

#include "net/tcp_connection.h"

namespace teacup::net {

class TcpListener final : public RefCounted<TcpListener>, public PortUser {
 public:
  static void destroy(TcpListener* listener) { teacup::destroy(listener); }
  TcpListener(Ref<TcpHub> hub, int family, u32 uid, u32 backlog)
      : family_(family), uid_(uid), hub_(std::move(hub)), backlog_(backlog) {}
  void ref_user() override { ref(); }
  void unref_user() override { unref(); }

  const Ref<TcpHub>& hub_ref() const { return hub_; }
  int family() const { return family_; }
  void set_backlog(u32 backlog);
  u32 backlog() const { return backlog_; }
  u32 ready_count() const { return ready_count_.load(std::memory_order_acquire); }

  // A connection from `from` to `to`, which offer() may be given. `client`: of its other side.
  Result<Ref<TcpConnection>> make_connection(Ref<TcpHub> client, const IpName& from, const IpName& to);
  // A connection comes. It is established (true), or waits until there is room (it stays in SYN_SENT).
  // ECONNREFUSED: closed meanwhile.
  Result<bool> admit(TcpConnection& connection);
  // Tells both sides of one that was established. Called without locks.
  void announce(TcpConnection& connection);
  // EAGAIN: none; EINVAL: closed.
  Result<Ref<TcpConnection>> take();
  // All that wait are reset.
  void close();

 private:
  // Linked by `next`; each counted.
  struct Queue {
    TcpConnection* first = nullptr;
    TcpConnection* last = nullptr;
    u32 count = 0;
    void push(TcpConnection* connection);
    TcpConnection* pop();
  };
  bool full_locked() const { return ready_.count > backlog_; }
  void fill();

  const int family_;  // AF_INET6 ones serve clients of both
  const u32 uid_;     // who made the socket
  Mutex lock_{LockRank::kListener};
  Ref<TcpHub> hub_;
  u32 backlog_;
  bool closed_ = false;
  Queue ready_, waiting_;
  std::atomic<u32> ready_count_{0};
};

}  // namespace teacup::net
