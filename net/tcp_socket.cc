// The file of a TCP socket: which of its lives it is in (fresh, listening, connecting, connected) and what
// the calls mean in each. Data and the states of a connection are TcpConnection's.
//
// Locks: the socket's own (kSocket) for its life; then the ports' (kPorts), a listener's, a connection's.
// Sending, receiving and polling take none of these: the connection is published once and kept until the
// socket goes.
#include "net/tcp_socket.h"

#include <algorithm>

#include "net/gateway.h"
#include "net/tcp_listener.h"

namespace teacup::net {

namespace {

class TcpSocket final : public Socket, public PortOwner {
 public:
  TcpSocket(int family, u32 uid, Ref<TcpHub> hub, u32 flags)
      : Socket(family, abi::kSOCK_STREAM, abi::kIPPROTO_TCP, hub->options, flags),
        hub_(std::move(hub)),
        uid_(uid) {
    local_.address = asked_.address = IpAddress::any(family);
  }
  ~TcpSocket() override;

  // An accepted one.
  void adopt(Ref<TcpConnection> connection) {
    local_ = connection->local(TcpConnection::kServer);
    side_ = TcpConnection::kServer;
    connection_.store(connection.leak(), std::memory_order_release);
    life_ = Life::kConnected;
    tcp_ports().set_owner(*this->connection()->server_binding(), this);
  }
  PortInfo port_info() override;

  u32 poll() override;
  WaitQueue* wait_queue() override { return &hub_->queue; }
  Result<size_t> write(IoSource& from, u64) override { return send_bytes(from, 0); }
  Result<s64> ioctl(u32 command, GuestAddress argument) override;

  Result<void> bind(const Caller& caller, const Address& address) override;
  Result<void> listen(const Caller& caller, int backlog) override;
  Result<void> connect(const Caller& caller, const Address& address, bool wait) override;
  Result<Ref<Socket>> accept(u32 flags) override;
  Result<void> shutdown(int how) override;
  Result<size_t> send(const Caller&, SendRequest& request) override {
    return send_bytes(*request.data, request.flags);
  }
  Result<size_t> receive(ReceiveRequest& request) override;
  Result<Address> local_address() override;
  Result<Address> peer_address() override;
  Result<Address> accepted_from() override {
    return address_from(this->connection()->remote(side_), family());
  }
  bool is_listening() const override { return listener_.load(std::memory_order_acquire) != nullptr; }

 protected:
  Errno take_error() override;
  Result<u64> waiting_bytes() override;
  Result<u64> outgoing_bytes() override;
  Result<size_t> get_own_option(int level, int name, std::span<std::byte> value) override;
  Result<void> set_own_option(const Caller& caller, int level, int name,
                              std::span<const std::byte> value) override;

 private:
  enum class Life : u8 { kFresh, kListening, kConnecting, kConnected };

  TcpConnection* connection() const { return connection_.load(std::memory_order_acquire); }
  u8 state() const;
  TcpFigures figures() const;
  Claim claim() const;
  Result<size_t> send_bytes(IoSource& from, u32 flags);
  // `accepting`: the listener's, if it is to be told of a connection.
  Result<void> start_connecting_locked(const Address& address, Ref<TcpHub>& accepting);
  Result<void> reach_locked(const IpName& to, Ref<TcpHub>& accepting);
  Result<void> finish_connecting_locked(bool wait);
  Result<void> listen_locked(u32 most);
  Result<void> stop_listening_locked();
  void disconnect_locked();
  void forget_connection_locked();
  void release_automatic_locked();  // a port that nobody asked for

  Ref<TcpHub> hub_;
  const u32 uid_;  // who made it
  Mutex lock_{LockRank::kSocket};
  Life life_ = Life::kFresh;
  u8 side_ = TcpConnection::kClient;
  IpName local_;
  IpName asked_;                // of bind(2)
  bool keeps_address_ = false;  // is_asked_address(), once
  Ref<Binding> binding_;
  // Counted. Those of earlier lives are kept, for a call may be looking at them.
  std::atomic<TcpConnection*> connection_{nullptr};
  std::atomic<TcpListener*> listener_{nullptr};
  Ref<TcpConnection> earlier_connection_;
  Ref<TcpListener> earlier_listener_;
  // A connection that could not be begun: what connect(2) or SO_ERROR will say.
  std::atomic<u32> error_{0};
  std::atomic<bool> refused_{false};
};

TcpSocket::~TcpSocket() {
  if (binding_ && !is_listening()) binding_->release();
  if (TcpListener* listener = listener_.load(); listener != nullptr) {
    tcp_ports().stop_listening(*binding_);
    binding_->release();
    listener->close();
    listener->unref();
  }
  if (TcpConnection* connection = connection_.load(); connection != nullptr) {
    connection->close(side_, options().linger && options().linger_seconds == 0);
    connection->unref();
  }
}

TcpFigures TcpSocket::figures() const {
  TcpFigures figures;
  figures.state = state();
  TcpConnection* connection = this->connection();
  bool live = figures.state != abi::kTCP_CLOSE && figures.state != abi::kTCP_LISTEN;
  bool v4 = connection == nullptr || connection->local(side_).address.is_v4();
  figures.segment = segment_size(hub_->tcp, live, v4);
  if (TcpListener* listener = listener_.load(std::memory_order_acquire); listener != nullptr) {
    figures.waiting = listener->ready_count();
    figures.backlog = listener->backlog();
  } else if (connection != nullptr) {
    figures.sent = connection->sent(side_);
    // That it began counts as one, for who began it.
    u64 begun = live && side_ == TcpConnection::kClient ? 1 : 0;
    figures.acknowledged = figures.sent - std::min(figures.sent, connection->unacknowledged(side_)) + begun;
    figures.received = connection->received(side_);
  }
  return figures;
}

PortInfo TcpSocket::port_info() {
  PortInfo info;
  info.tcp = figures();
  info.congestion = hub_->tcp.congestion;
  info.send_buffer = options().send_buffer;
  info.receive_buffer = options().receive_buffer;
  hub_->ip.note_classes(info.type_of_service, info.traffic_class);
  info.state = state();
  info.inode = number();
  info.uid = uid_;
  if (TcpListener* listener = listener_.load(std::memory_order_acquire); listener != nullptr) {
    info.waiting = listener->ready_count();
    info.outgoing = listener->backlog();
  } else if (TcpConnection* connection = this->connection(); connection != nullptr) {
    info.waiting = connection->queued(side_);
    info.outgoing = connection->unacknowledged(side_);
    info.shut_ways = connection->shut_ways(side_);
  }
  return info;
}

u8 TcpSocket::state() const {
  if (is_listening()) return abi::kTCP_LISTEN;
  TcpConnection* connection = this->connection();
  return connection != nullptr ? connection->state(side_) : abi::kTCP_CLOSE;
}

Errno TcpSocket::take_error() {
  if (Errno error = static_cast<Errno>(error_.exchange(0)); error != Errno::OK) return error;
  TcpConnection* connection = this->connection();
  return connection != nullptr ? connection->take_error(side_) : Errno::OK;
}

u32 TcpSocket::poll() {
  if (TcpListener* listener = listener_.load(std::memory_order_acquire); listener != nullptr)
    return listener->ready_count() > 0 ? kReadEvents : 0;
  if (TcpConnection* connection = this->connection(); connection != nullptr) return connection->poll(side_);
  u32 events = abi::kPOLLHUP | kWriteEvents;
  if (error_.load(std::memory_order_acquire) != 0) events |= abi::kPOLLERR;
  // A connection that failed is shut both ways.
  if (refused_.load(std::memory_order_acquire)) events |= kReadEvents | abi::kPOLLRDHUP;
  return events;
}

// --- Names.

Claim TcpSocket::claim() const {
  Claim claim;
  claim.name = local_;
  if (!binding_) claim.name.port = 0;  // that of an earlier connection may still be shown
  claim.family = family();
  claim.v6_only = hub_->ip.v6_only();
  claim.uid = uid_;
  return claim;
}

Result<void> TcpSocket::bind(const Caller& caller, const Address& address) {
  IpName name = TRY(name_to_bind(caller, address, family(), hub_->ip, false));
  LockGuard guard(lock_);
  bool refused = life_ == Life::kConnecting && refused_.load(std::memory_order_relaxed);
  if ((life_ != Life::kFresh && !refused) || binding_) return Errno::INVAL;
  Claim wanted = claim();
  wanted.name = name;
  auto made = tcp_ports().bind(wanted, options(), nullptr);
  if (!made.ok()) {
    // An address that an earlier life has left goes with the attempt.
    local_.address = IpAddress::any(family());
    return made.error();
  }
  binding_ = std::move(made).value();
  tcp_ports().set_owner(*binding_, this);
  local_ = binding_->local();
  local_.scope = name.scope;
  asked_ = name;
  if (is_asked_address(name.address, family())) keeps_address_ = true;
  hub_->ip.note_bound(name.address);
  return {};
}

Result<Address> TcpSocket::local_address() {
  LockGuard guard(lock_);
  return address_from(local_, family());
}

Result<Address> TcpSocket::peer_address() {
  TcpConnection* connection = this->connection();
  if (connection == nullptr) return Errno::NOTCONN;
  u8 state = connection->state(side_);
  if (state == abi::kTCP_CLOSE || state == abi::kTCP_SYN_SENT) return Errno::NOTCONN;
  return address_from(connection->remote(side_), family());
}

// --- Listening.

Result<void> TcpSocket::listen(const Caller&, int backlog) {
  u32 most = static_cast<u32>(std::min<u32>(static_cast<u32>(backlog), abi::kSOMAXCONN));
  u16 port;
  {
    LockGuard guard(lock_);
    TRY(listen_locked(most));
    port = binding_->port();
  }
  gateway_settle_listening(port);
  return {};
}

Result<void> TcpSocket::listen_locked(u32 most) {
  if (TcpListener* listener = listener_.load(); listener != nullptr) {
    listener->set_backlog(most);
    return {};
  }
  if (life_ == Life::kConnected && state() == abi::kTCP_CLOSE) disconnect_locked();
  if (life_ != Life::kFresh) return Errno::INVAL;
  if (!binding_) {
    binding_ = TRY(tcp_ports().bind(claim(), options(), nullptr));
    tcp_ports().set_owner(*binding_, this);
    local_ = binding_->local();
  }
  auto listener = TRY(make_ref<TcpListener>(hub_, family(), uid_, most));
  TRY(tcp_ports().listen(*binding_, *listener));
  earlier_listener_ = nullptr;
  listener_.store(listener.leak(), std::memory_order_release);
  life_ = Life::kListening;
  return {};
}

// shutdown(2) of a listener: it is fresh again, its port still taken.
Result<void> TcpSocket::stop_listening_locked() {
  TcpListener* listener = listener_.exchange(nullptr);
  tcp_ports().stop_listening(*binding_);
  listener->close();
  earlier_listener_ = Ref<TcpListener>::adopt(listener);
  life_ = Life::kFresh;
  release_automatic_locked();
  return {};
}

Result<Ref<Socket>> TcpSocket::accept(u32 flags) {
  TcpListener* listener = listener_.load(std::memory_order_acquire);
  if (listener == nullptr) return Errno::INVAL;
  Ref<TcpConnection> connection = TRY(listener->take());
  if (connection->slot() != TcpConnection::kNoSlot) gateway_note_acceptor(*connection);
  auto made = make_ref<TcpSocket>(family(), uid_, connection->hub_ref(TcpConnection::kServer), flags);
  if (!made.ok()) {
    connection->close(TcpConnection::kServer, true);
    return made.error();
  }
  made.value()->adopt(std::move(connection));
  return Ref<Socket>(std::move(made).value());
}

// --- Connecting.

Result<void> TcpSocket::connect(const Caller&, const Address& address, bool wait) {
  if (address.length < sizeof(u16)) return Errno::INVAL;
  Ref<TcpHub> accepting;
  Result<void> result = [&]() -> Result<void> {
    LockGuard guard(lock_);
    if (address.family() == abi::kAF_UNSPEC) {
      if (life_ == Life::kListening) return stop_listening_locked();
      disconnect_locked();
      return {};
    }
    switch (life_) {
      case Life::kConnected:
      case Life::kListening:
        return Errno::ISCONN;
      case Life::kConnecting:
        return finish_connecting_locked(wait);
      case Life::kFresh:
        break;
    }
    TRY(start_connecting_locked(address, accepting));
    if (!wait) return Errno::INPROGRESS;
    return finish_connecting_locked(true);
  }();
  if (accepting) accepting->queue.wake(kReadEvents);
  if (!result.is(Errno::AGAIN) && !result.is(Errno::ALREADY)) hub_->queue.wake_all();
  return result;
}

Result<void> TcpSocket::start_connecting_locked(const Address& address, Ref<TcpHub>& accepting) {
  IpName to = TRY(ip_name_from(address, family()));
  if (to.address.is_v4() && hub_->ip.v6_only()) return Errno::NETUNREACH;
  if (to.address.is_any()) {
    bool v4 = to.address.is_v4() || asked_.address.is_v4();
    bool own = v4 && asked_.address.is_v4() && !asked_.address.is_any();
    to.address = own ? asked_.address : IpAddress::loopback(v4 ? abi::kAF_INET : abi::kAF_INET6);
  }
  if (to.address.is_multicast() || to.address.is_broadcast()) return Errno::NETUNREACH;
  IpAddress source = TRY(source_for_outside(to.address, options().bound_interface));
  if (leads_astray(local_.address, to.address)) return Errno::INVAL;
  error_.store(0, std::memory_order_release);
  // One that was bound to "any of IPv4" is one of IPv4.
  bool v4_only = family() == abi::kAF_INET6 && asked_.address.is_v4();
  if (local_.address.is_any() && !(v4_only && !to.address.is_v4())) {
    local_.address = source;
  } else if (local_.address.is_v4() != to.address.is_v4()) {
    return to.address.is_v4() ? Errno::NETUNREACH : Errno::AFNOSUPPORT;
  }
  auto reached = reach_locked(to, accepting);
  if (reached.ok() || reached.is(Errno::CONNREFUSED)) {
    life_ = Life::kConnecting;
    refused_.store(!reached.ok(), std::memory_order_release);
    if (!reached.ok()) {
      error_.store(static_cast<u32>(reached.error()), std::memory_order_release);
      release_automatic_locked();
    }
    return {};
  }
  if (!keeps_address_) local_.address = asked_.address;
  return reached;
}

Result<void> TcpSocket::reach_locked(const IpName& to, Ref<TcpHub>& accepting) {
  if (!binding_) {
    Claim wanted = claim();
    wanted.remote = to;
    wanted.has_remote = true;
    binding_ = TRY(tcp_ports().bind_for_connection(wanted, options(), nullptr));
    tcp_ports().set_owner(*binding_, this);
    local_.port = binding_->port();
  } else {
    TRY(tcp_ports().set_remote(*binding_, local_, to));
  }
  bool leads_out = gateway_leads_to(to.address);
  s32 device = options().bound_interface;
  s32 interface = device != 0 ? device : interface_of(to.address);
  PortUser* user = leads_out ? nullptr : tcp_ports().find(to, local_, interface, true);
  if (leads_out || (user == nullptr && gateway_is_resolver(to))) {
    auto outside = TRY(gateway_connect(hub_, local_, to));
    side_ = TcpConnection::kClient;
    forget_connection_locked();
    connection_.store(outside.leak(), std::memory_order_release);
    return {};
  }
  if (user == nullptr) return Errno::CONNREFUSED;
  auto listener = Ref<TcpListener>::adopt(static_cast<TcpListener*>(user));
  auto connection = TRY(listener->make_connection(hub_, local_, to));
  side_ = TcpConnection::kClient;
  forget_connection_locked();
  if (TRY(listener->admit(*connection))) accepting = listener->hub_ref();
  connection_.store(connection.leak(), std::memory_order_release);
  return {};
}

// What the connection has come to. EAGAIN: the listener has no room yet; the caller waits.
Result<void> TcpSocket::finish_connecting_locked(bool wait) {
  if (error_.load(std::memory_order_acquire) == 0 && state() == abi::kTCP_SYN_SENT)
    return wait ? Errno::AGAIN : Errno::ALREADY;
  Errno error = take_error();
  if (error != Errno::OK || connection() == nullptr) {
    disconnect_locked();
    return error != Errno::OK ? error : Errno::CONNABORTED;
  }
  if (state() == abi::kTCP_CLOSE) {
    disconnect_locked();
    return Errno::CONNABORTED;
  }
  life_ = Life::kConnected;
  return {};
}

void TcpSocket::release_automatic_locked() {
  if (!binding_ || asked_.port != 0) return;
  binding_->release();
  binding_ = nullptr;
}

void TcpSocket::forget_connection_locked() {
  TcpConnection* connection = connection_.exchange(nullptr);
  if (connection != nullptr) earlier_connection_ = Ref<TcpConnection>::adopt(connection);
}

// Back to a fresh socket; a name that bind(2) gave stays.
void TcpSocket::disconnect_locked() {
  if (TcpConnection* connection = this->connection(); connection != nullptr) {
    connection->close(side_, true);
    forget_connection_locked();
  }
  life_ = Life::kFresh;
  refused_.store(false, std::memory_order_release);
  release_automatic_locked();
  // As on Linux, the port is shown on, though it may be free.
  IpAddress shown = keeps_address_ ? local_.address : asked_.address;
  if (binding_) local_ = binding_->bound_name();
  local_.address = shown;
  if (binding_) tcp_ports().clear_remote(*binding_, local_);
}

Result<void> TcpSocket::shutdown(int how) {
  if (how < abi::kSHUT_RD || how > abi::kSHUT_RDWR) return Errno::INVAL;
  bool reading = how != abi::kSHUT_WR, writing = how != abi::kSHUT_RD;
  if (is_listening()) {
    if (!reading) return {};
    {
      LockGuard guard(lock_);
      if (is_listening()) TRY(stop_listening_locked());
    }
    hub_->queue.wake_all();
    return {};
  }
  TcpConnection* connection = this->connection();
  if (connection == nullptr) {
    hub_->queue.wake_all();
    return Errno::NOTCONN;
  }
  {
    // connect(2) will not be asked again how it went.
    LockGuard guard(lock_);
    u8 now = state();
    if (life_ == Life::kConnecting && now != abi::kTCP_SYN_SENT && now != abi::kTCP_CLOSE)
      life_ = Life::kConnected;
  }
  return connection->shutdown(side_, reading, writing);
}

// --- Data.

Result<size_t> TcpSocket::send_bytes(IoSource& from, u32 flags) {
  TcpConnection* connection = this->connection();
  if (connection != nullptr) return connection->send(side_, from, flags);
  if (Errno error = take_error(); error != Errno::OK) return error;
  return Errno::PIPE;
}

Result<size_t> TcpSocket::receive(ReceiveRequest& request) {
  if ((request.flags & abi::kMSG_ERRQUEUE) != 0) return Errno::AGAIN;
  if (TcpConnection* connection = this->connection(); connection != nullptr)
    return connection->receive(side_, *request.data, request.flags, &request.out_flags, request.goes_on);
  if ((request.flags & abi::kMSG_OOB) != 0 && !is_listening()) return Errno::INVAL;
  if (Errno error = take_error(); error != Errno::OK) return error;
  if (refused_.load(std::memory_order_acquire)) return size_t{0};
  return Errno::NOTCONN;
}

Result<u64> TcpSocket::waiting_bytes() {
  if (is_listening()) return Errno::INVAL;
  TcpConnection* connection = this->connection();
  return connection != nullptr ? connection->readable(side_) : u64{0};
}

Result<u64> TcpSocket::outgoing_bytes() {
  if (is_listening()) return Errno::INVAL;
  TcpConnection* connection = this->connection();
  return connection != nullptr ? connection->unacknowledged(side_) : u64{0};
}

Result<s64> TcpSocket::ioctl(u32 command, GuestAddress argument) {
  if (command != abi::kSIOCATMARK) return Socket::ioctl(command, argument);
  TcpConnection* connection = this->connection();
  s32 at_mark = connection != nullptr && connection->at_mark(side_) ? 1 : 0;
  TRY(GuestOut<s32>(argument.value).write(at_mark));
  return 0;
}

// --- Options.

Result<size_t> TcpSocket::get_own_option(int level, int name, std::span<std::byte> value) {
  if (level == abi::kSOL_SOCKET) return Errno::NOPROTOOPT;
  bool live = connection() != nullptr;
  if (level != abi::kIPPROTO_TCP) return get_ip_option(hub_->ip, family(), true, live, level, name, value);
  return get_tcp_option(hub_->tcp, figures(), name, value);
}

Result<void> TcpSocket::set_own_option(const Caller&, int level, int name, std::span<const std::byte> value) {
  if (level == abi::kSOL_SOCKET) return name == abi::kSO_ZEROCOPY ? Errno::NOTSUP : Errno::NOPROTOOPT;
  if (level == abi::kIPPROTO_TCP) return set_tcp_option(hub_->tcp, name, value);
  bool bound;
  {
    LockGuard guard(lock_);
    bound = bool(binding_) || life_ == Life::kConnected;
  }
  return set_ip_option(hub_->ip, options(), family(), true, bound, level, name, value);
}

}  // namespace

Result<Ref<Socket>> make_tcp_socket(const Caller& caller, int family, u32 flags) {
  auto hub = TRY(make_ref<TcpHub>());
  return Ref<Socket>(TRY(make_ref<TcpSocket>(family, caller.identity.uid, std::move(hub), flags)));
}

}  // namespace teacup::net
