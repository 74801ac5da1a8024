#include "net/gateway.h"

#include "host/gate/gate.h"
#include "kernel/base/memory.h"
#include "kernel/sync/doorbell.h"
#include "kernel/sync/wait.h"
#include "net/gateway_wire.h"
#include "net/interfaces.h"
#include "net/tcp_listener.h"

namespace teacup::net {

namespace {

using abi::GatewayState;

struct GatewayTable {
  Mutex lock{LockRank::kGateway};
  TcpConnection* connections[abi::kGatewaySlots] = {};  // counted
  // Slots that the machine may begin, and which of them it has begun.
  u32 free[abi::kGatewaySlots - abi::kFirstOutSlot];
  u32 free_count = 0;
  std::atomic<u16> kept[abi::kGatewaySlots][2] = {};  // pages, by slot: in and out
  OutsideNews outside{&abi::gateway().to_guest.summary, &gateway_news};
  bool begun[abi::kGatewaySlots - abi::kFirstOutSlot] = {};
  Mutex datagram_locks[2] = {Mutex(LockRank::kGateway), Mutex(LockRank::kGateway)};
};

GatewayTable* table() {
  return root<GatewayTable>(Root::kGateway);
}

// Who in the machine serves a published port: a listener of the peer's family, or of the other, on lo or on
// eth0.
Ref<TcpListener> find_listener(const IpName& from, IpName& to) {
  int first = from.address.is_v4() ? abi::kAF_INET : abi::kAF_INET6;
  for (const Interface& interface : interfaces()) {
    for (int family : {first, abi::kAF_INET + abi::kAF_INET6 - first}) {
      to.address = interface.address(family);
      if (PortUser* user = tcp_ports().find(to, from, interface.index, true); user != nullptr)
        return Ref<TcpListener>::adopt(static_cast<TcpListener*>(user));
    }
  }
  return nullptr;
}

Result<void> let_in(u32 index, abi::GatewaySlot& slot) {
  IpName from = name_from_gateway(slot.from), to = name_from_gateway(slot.to);
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
  auto admitted = listener->admit(*connection);
  if (!admitted.ok()) connection->close(TcpConnection::kServer, true);
  if (admitted.ok() && admitted.value()) listener->announce(*connection);
  return {};
}

void take_offer(u32 index, abi::GatewaySlot& slot) {
  GatewayState offered = GatewayState::kOffered;
  if (!slot.state.compare_exchange_strong(offered, GatewayState::kOpen, std::memory_order_acq_rel)) return;
  if (let_in(index, slot).ok()) return;
  slot.out.ended.store(abi::kGatewayReset, std::memory_order_release);
  slot.state.store(GatewayState::kDetached, std::memory_order_seq_cst);
  gateway_post(index);
}

// Its connection; null: none any more. What the broker gave back can be begun again.
Ref<TcpConnection> connection_of(u32 index, const abi::GatewaySlot& slot) {
  GatewayTable& state = *table();
  LockGuard guard(state.lock);
  if (TcpConnection* known = state.connections[index]; known != nullptr)
    return Ref<TcpConnection>::share(known);
  if (index < abi::kFirstOutSlot || !state.begun[index - abi::kFirstOutSlot]) return nullptr;
  if (slot.state.load(std::memory_order_acquire) == GatewayState::kFree) {
    state.begun[index - abi::kFirstOutSlot] = false;
    state.free[state.free_count++] = index;
  }
  return nullptr;
}

void take_news(u32 index) {
  if (index == abi::kNewsDatagrams) return gateway_take_datagrams();
  if (index >= abi::kGatewaySlots) return;
  abi::GatewaySlot& slot = abi::gateway().slots[index];
  if (index < abi::kFirstOutSlot) take_offer(index, slot);
  Ref<TcpConnection> connection = connection_of(index, slot);
  if (!connection) return;
  GatewayState state = slot.state.load(std::memory_order_acquire);
  if (index >= abi::kFirstOutSlot && state == GatewayState::kFailed)
    return connection->outside_refused(static_cast<Errno>(slot.error.load(std::memory_order_relaxed)));
  if (index >= abi::kFirstOutSlot && state == GatewayState::kOpen) connection->outside_answered();
  u32 ended = slot.in.ended.load(std::memory_order_seq_cst);
  connection->outside_moved();
  if (!connection->count_outside()) return connection->outside_reset_both();
  if (ended == abi::kGatewayFin) connection->outside_finished();
  if (ended == abi::kGatewayReset) connection->outside_reset();
}

}  // namespace

Mutex& gateway_datagram_lock(bool out) {
  return table()->datagram_locks[out ? 1 : 0];
}

IpName name_from_gateway(const abi::GatewayName& shared) {
  IpName name;
  memcpy(name.address.bytes, shared.address, sizeof name.address.bytes);
  name.port = shared.port;
  name.scope = shared.scope;
  return name;
}

abi::GatewayName name_for_gateway(const IpName& name) {
  abi::GatewayName shared{};
  memcpy(shared.address, name.address.bytes, sizeof shared.address);
  shared.port = name.port;
  shared.scope = name.scope;
  return shared;
}

void gateway_post(u32 index) {
  abi::Gateway& gateway = abi::gateway();
  if (!gateway.to_broker.post(index) || gateway.broker_watching.load(std::memory_order_seq_cst) != 0) return;
  gateway.doorbell.fetch_add(1, std::memory_order_seq_cst);
  if (gateway.broker_sleeping.load(std::memory_order_seq_cst) != 0) gate::futex_wake(gateway.doorbell, 1);
}

void gateway_start() {
  if (abi::boot_config().gateway == 0) return;
  auto created = make<GatewayTable>();
  KERNEL_ASSERT(created.ok());
  GatewayTable& state = *created.value();
  for (u32 slot = abi::kGatewaySlots; slot > abi::kFirstOutSlot; slot--)
    state.free[state.free_count++] = slot - 1;
  set_root(Root::kGateway, created.value());
  set_root(Root::kOutsideNews, &state.outside);
}

void gateway_news() {
  if (table() == nullptr) return;
  abi::gateway().to_guest.take(&take_news);
}

bool gateway_leads_out() {
  return (abi::boot_config().gateway & abi::kGatewayOut) != 0;
}

bool gateway_leads_to(const IpAddress& to) {
  if (!gateway_leads_out() || to.is_any() || to.is_loopback()) return false;
  return !to.is_multicast() && !to.is_broadcast() && !is_own_address(to);
}

bool gateway_is_resolver(const IpName& to) {
  return gateway_leads_out() && to.port == abi::kResolverPort &&
         to.address == IpAddress::v4(abi::kResolverAddress);
}

Result<Ref<TcpConnection>> gateway_connect(Ref<TcpHub> client, const IpName& from, const IpName& to) {
  auto connection =
      TRY(TcpConnection::create(std::move(client), from, TRY(make_ref<TcpHub>()), Ref<Binding>{}, to));
  GatewayTable& state = *table();
  LockGuard guard(state.lock);
  if (state.free_count == 0) return Errno::NOBUFS;
  u32 index = state.free[--state.free_count];
  state.begun[index - abi::kFirstOutSlot] = true;
  abi::GatewaySlot& slot = abi::gateway().slots[index];
  slot.in.clear();
  slot.out.clear();
  slot.from = name_for_gateway(from);
  slot.to = name_for_gateway(to);
  connection->lead_outside(TcpConnection::kServer, index);
  connection->ref();
  state.connections[index] = connection.get();
  gateway_note_reader(*connection);
  slot.state.store(GatewayState::kAsked, std::memory_order_seq_cst);
  guard.unlock();
  gateway_post(index);
  return connection;
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
    gateway_post(index);
    return;
  }
  gateway_post(index);
}

void gateway_keep(u32 slot, bool out, u64 pages) {
  u64 earlier = table()->kept[slot][out ? 1 : 0].exchange(static_cast<u16>(pages), std::memory_order_acq_rel);
  if (earlier > 0) uncommit_pages(earlier);  // the slot's next connection is over already
}

u64 gateway_take_kept(u32 slot, bool out) {
  return table()->kept[slot][out ? 1 : 0].exchange(0, std::memory_order_acq_rel);
}

void gateway_note_reader(const TcpConnection& connection) {
  std::atomic<u64>& reader = abi::gateway().slots[connection.slot()].reader;
  u64 me = reinterpret_cast<u64>(&current_core().parking) - kArenaBase;
  if (reader.load(std::memory_order_relaxed) != me) reader.store(me, std::memory_order_relaxed);
}

void gateway_note_acceptor(const TcpConnection& connection) {
  gateway_note_reader(connection);
  abi::Gateway& gateway = abi::gateway();
  u64 me = gateway.slots[connection.slot()].reader.load(std::memory_order_relaxed);
  for (u32 i = 0; i < gateway.published_count; i++) {
    abi::PublishedPort& published = gateway.published[i];
    if (published.guest_port == connection.local(TcpConnection::kServer).port)
      published.acceptor.store(me, std::memory_order_relaxed);
  }
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
  if (changed) gateway_post(abi::kNewsListeners);
}

}  // namespace teacup::net
