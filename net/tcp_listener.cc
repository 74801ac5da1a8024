#include "net/tcp_listener.h"

namespace teacup::net {

void TcpListener::Queue::push(TcpConnection* connection) {
  connection->next = nullptr;
  (last != nullptr ? last->next : first) = connection;
  last = connection;
  count++;
}

TcpConnection* TcpListener::Queue::pop() {
  TcpConnection* connection = first;
  if (connection == nullptr) return nullptr;
  first = connection->next;
  if (first == nullptr) last = nullptr;
  count--;
  return connection;
}

void TcpListener::set_backlog(u32 backlog) {
  {
    LockGuard guard(lock_);
    backlog_ = backlog;
  }
  fill();
}

Result<Ref<TcpConnection>> TcpListener::make_connection(Ref<TcpHub> client, const IpName& from,
                                                        const IpName& to) {
  auto hub = TRY(make_ref<TcpHub>());
  hub->options = hub_->options;
  hub->options.priority = 0;  // an accepted one begins with none
  hub->ip = hub_->ip;
  hub->tcp = hub_->tcp;
  Claim theirs;
  theirs.name = to;
  theirs.family = family_;
  theirs.v6_only = hub->ip.v6_only();
  theirs.uid = uid_;
  theirs.remote = from;
  theirs.has_remote = true;
  auto binding = TRY(tcp_ports().bind_accepted(theirs, hub->options));
  return TcpConnection::create(std::move(client), from, hub, std::move(binding), to);
}

Result<bool> TcpListener::admit(TcpConnection& connection) {
  LockGuard guard(lock_);
  if (closed_) return Errno::CONNREFUSED;
  connection.ref();
  if (full_locked()) {
    waiting_.push(&connection);
    return false;
  }
  connection.establish();
  ready_.push(&connection);
  ready_count_.store(ready_.count, std::memory_order_release);
  return true;
}

void TcpListener::announce(TcpConnection& connection) {
  connection.announce();
  hub_->queue.wake(kReadEvents);
}

// Lets in those that wait, as far as there is room.
void TcpListener::fill() {
  for (;;) {
    Ref<TcpConnection> connection;
    bool established;
    {
      LockGuard guard(lock_);
      if (full_locked()) return;
      connection = Ref<TcpConnection>::adopt(waiting_.pop());
      if (!connection) return;
      established = connection->establish();
      if (established) {
        connection->ref();
        ready_.push(connection.get());
        ready_count_.store(ready_.count, std::memory_order_release);
      }
    }
    if (!established) continue;
    announce(*connection);
  }
}

Result<Ref<TcpConnection>> TcpListener::take() {
  Ref<TcpConnection> taken;
  bool others;
  {
    LockGuard guard(lock_);
    if (closed_) return Errno::INVAL;
    taken = Ref<TcpConnection>::adopt(ready_.pop());
    others = waiting_.count > 0;
    ready_count_.store(ready_.count, std::memory_order_release);
  }
  if (!taken) return Errno::AGAIN;
  if (others) fill();
  return taken;
}

void TcpListener::close() {
  Queue ready, waiting;
  {
    LockGuard guard(lock_);
    closed_ = true;
    ready = std::exchange(ready_, {});
    waiting = std::exchange(waiting_, {});
    ready_count_.store(0, std::memory_order_release);
  }
  while (TcpConnection* connection = ready.pop()) {
    connection->close(TcpConnection::kServer, true);
    connection->unref();
  }
  while (TcpConnection* connection = waiting.pop()) {
    connection->refuse(Errno::CONNREFUSED);
    connection->close(TcpConnection::kServer, true);
    connection->unref();
  }
}

}  // namespace teacup::net
