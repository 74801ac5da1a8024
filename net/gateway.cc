#include "net/gateway.h"

#include "host/gate/gate.h"
#include "kernel/base/memory.h"
#include "kernel/sync/doorbell.h"
#include "net/tcp_listener.h"

namespace teacup::net {

namespace {

using abi::GatewayState;

struct GatewayTable {
  Mutex lock{LockRank::kGateway};
  TcpConnection* connections[abi::kGatewaySlots] = {};  // counted
};

GatewayTable* table() {
  return root<GatewayTable>(Root::kGateway);
}

void ring_doorbell() {
  abi::Gateway& gateway = abi::gateway();
  gateway.doorbell.fetch_add(1, std::memory_order_seq_cst);
  if (gateway.broker_sleeping.load(std::memory_order_seq_cst) != 0) gate::futex_wake(gateway.doorbell, 1);
}

void post(u32 index) {
  abi::gateway().to_broker.post(index);
  ring_doorbell();
}

IpName name_from(const abi::GatewayName& shared) {
  IpName name;
  memcpy(name.address.bytes, shared.address, sizeof name.address.bytes);
  name.port = shared.port;
  name.scope = shared.scope;
  return name;
}

// Who in the machine serves a published port: a listener of the peer's family, or of the other.
Ref<TcpListener> find_listener(const IpName& from, IpName& to) {
  int first = from.address.is_v4() ? abi::kAF_INET : abi::kAF_INET6;
  for (int family : {first, abi::kAF_INET + abi::kAF_INET6 - first}) {
    to.address = IpAddress::loopback(family);
    if (PortUser* user = tcp_ports().find(to, from, true); user != nullptr)
      return Ref<TcpListener>::adopt(static_cast<TcpListener*>(user));
  }
  return nullptr;
}

Result<void> let_in(u32 index, abi::GatewaySlot& slot) {
  IpName from = name_from(slot.from), to = name_from(slot.to);
  Ref<TcpListener> listener = find_listener(from, to);
  if (!listener) return Errno::CONNREFUSED;
  // A peer of IPv6 that is served over IPv4 has a name there too: the machine's, as if a proxy stood there.
  if (to.address.is_v4() != from.address.is_v4())
    from.address = IpAddress::loopback(to.address.is_v4() ? abi::kAF_INET : abi::kAF_INET6);
  auto connection = TRY(listener->make_connection(TRY(make_ref<TcpHub>()), from, to));
  connection->lead_outside(TcpConnection::kClient, index);
  {
    LockGuard guard(table()->lock);
    connection->ref();
    table()->connections[index] = connection.get();
  }
  auto offered = listener->offer(connection);
  if (!offered.ok()) connection->close(TcpConnection::kServer, true);
  return {};
}

void take_offer(u32 index, abi::GatewaySlot& slot) {
  GatewayState offered = GatewayState::kOffered;
  if (!slot.state.compare_exchange_strong(offered, GatewayState::kOpen, std::memory_order_acq_rel)) return;
  if (let_in(index, slot).ok()) return;
  slot.out.ended.store(abi::kGatewayReset, std::memory_order_release);
  slot.state.store(GatewayState::kDetached, std::memory_order_seq_cst);
  post(index);
}

void take_news(u32 index) {
  if (index >= abi::kGatewaySlots) return;
  abi::GatewaySlot& slot = abi::gateway().slots[index];
  take_offer(index, slot);
  Ref<TcpConnection> connection;
  {
    LockGuard guard(table()->lock);
    if (TcpConnection* known = table()->connections[index]; known != nullptr)
      connection = Ref<TcpConnection>::share(known);
  }
  if (!connection) return;
  u32 ended = slot.in.ended.load(std::memory_order_seq_cst);
  connection->outside_moved();
  if (ended == abi::kGatewayFin) connection->outside_finished();
  if (ended == abi::kGatewayReset) connection->outside_reset();
}

}  // namespace

void gateway_start() {
  if (abi::boot_config().gateway == 0) return;
  auto created = make<GatewayTable>();
  KERNEL_ASSERT(created.ok());
  set_root(Root::kGateway, created.value());
}

void gateway_news() {
  if (table() == nullptr) return;
  abi::gateway().to_guest.take(&take_news);
}

// Nearly always there are bytes to fetch, or room, and the bit says it. The slot's words are written with the
// table's lock, for once it is left it may be another connection's.
void gateway_tell(TcpConnection& connection) {
  u32 index = connection.slot();
  if (connection.is_reset_here() || connection.is_finished_here()) {
    abi::GatewaySlot& slot = abi::gateway().slots[index];
    Ref<TcpConnection> last;
    LockGuard guard(table()->lock);
    if (table()->connections[index] != &connection) return;
    u32 ended = connection.is_reset_here() ? abi::kGatewayReset : abi::kGatewayFin;
    slot.out.ended.store(ended, std::memory_order_release);
    if (connection.is_closed_here()) {
      table()->connections[index] = nullptr;
      last = Ref<TcpConnection>::adopt(&connection);
      slot.state.store(GatewayState::kDetached, std::memory_order_seq_cst);
    }
    guard.unlock();
    post(index);
    return;
  }
  post(index);
}

void gateway_settle_listening(u16 port) {
  if (table() == nullptr) return;
  const abi::Gateway& gateway = abi::gateway();
  for (u32 i = 0; i < gateway.published_count; i++) {
    const abi::PublishedPort& published = gateway.published[i];
    if (published.guest_port != port || published.is_udp != 0) continue;
    ring_call(abi::RingOp::kGateway);
    return;
  }
}

void gateway_set_listening(u16 port, bool listening) {
  if (table() == nullptr) return;
  abi::Gateway& gateway = abi::gateway();
  bool changed = false;
  for (u32 i = 0; i < gateway.published_count; i++) {
    abi::PublishedPort& published = gateway.published[i];
    if (published.guest_port != port || published.is_udp != 0) continue;
    changed |=
        published.listening.exchange(listening ? 1 : 0, std::memory_order_seq_cst) != (listening ? 1 : 0);
  }
  if (changed) post(abi::kNewsListeners);
}

}  // namespace teacup::net
