// Datagrams between the machine's UDP sockets and the broker: two rings of whole records
// (kernel/abi/gateway.h).
//
// Locks: kGateway for the end of the machine in either ring, one each; sockets are looked up and told
// without.
#include <algorithm>

#include "host/gate/gate.h"
#include "kernel/base/memory.h"
#include "net/gateway.h"
#include "net/gateway_wire.h"
#include "net/interfaces.h"
#include "net/udp_endpoint.h"

namespace teacup::net {

namespace {

constexpr u64 kMask = abi::kGatewayRingSize - 1;

void copy_in(u64 position, const void* from, u64 size) {
  u64 first = std::min(size, abi::kGatewayRingSize - (position & kMask));
  memcpy(abi::datagram_out_ring() + (position & kMask), from, first);
  memcpy(abi::datagram_out_ring(), static_cast<const u8*>(from) + first, size - first);
}

void copy_out(u64 position, void* to, u64 size) {
  u64 first = std::min(size, abi::kGatewayRingSize - (position & kMask));
  memcpy(to, abi::datagram_in_ring() + (position & kMask), first);
  memcpy(static_cast<u8*>(to) + first, abi::datagram_in_ring(), size - first);
}

// Whose a datagram is. One of a published port comes for lo's address, and is eth0's if nobody is there.
PortUser* find_receiver(const IpName& from, IpName& to) {
  PortUser* user = udp_ports().find(to, from, interface_of(to.address), false);
  if (user != nullptr || !to.address.is_loopback()) return user;
  const Interface& last = interfaces().back();
  IpName other = to;
  other.address = last.address(to.address.is_v4() ? abi::kAF_INET : abi::kAF_INET6);
  user = udp_ports().find(other, from, last.index, false);
  if (user != nullptr) to = other;
  return user;
}

struct Received {
  abi::DatagramHead head;
  Datagram* datagram = nullptr;  // null: there was no memory
};

// The next one; false: none.
bool take_one(Received& received) {
  LockGuard guard(gateway_datagram_lock(false));
  abi::RingPositions& ring = abi::gateway().datagrams_in;
  u64 tail = ring.tail.load(std::memory_order_relaxed);
  if (ring.head.load(std::memory_order_seq_cst) == tail) return false;
  copy_out(tail, &received.head, sizeof received.head);
  received.datagram = Datagram::create(received.head.size).value_or(nullptr);
  if (received.datagram != nullptr)
    copy_out(tail + sizeof received.head, received.datagram->data(), received.head.size);
  ring.tail.store(tail + received.head.whole(), std::memory_order_seq_cst);
  return true;
}

}  // namespace

void gateway_take_datagrams() {
  Received received;
  while (take_one(received)) {
    IpName from = name_from_gateway(received.head.from), to = name_from_gateway(received.head.to);
    PortUser* user = find_receiver(from, to);
    if (user == nullptr) {
      if (received.datagram != nullptr) Datagram::destroy(received.datagram);
      continue;
    }
    auto endpoint = Ref<UdpEndpoint>::adopt(static_cast<UdpEndpoint*>(user));
    auto error = static_cast<Errno>(received.head.error);
    if (received.datagram == nullptr) {
      if (error != Errno::OK) endpoint->fail(error);
      continue;
    }
    if (error != Errno::OK) {
      // It comes back: the name that it came "from" is the one it was sent to.
      received.datagram->from = to;
      received.datagram->to = from;
      endpoint->refuse(received.datagram, error);
      continue;
    }
    received.datagram->from = from;
    received.datagram->to = to;
    received.datagram->time = gate::realtime_now();
    received.datagram->hops = 64;
    received.datagram->interface = interface_of(to.address);
    endpoint->deliver(received.datagram);
  }
}

void gateway_send(Datagram* datagram, bool wants_errors) {
  abi::DatagramHead head{datagram->size, wants_errors ? 1u : 0u, name_for_gateway(datagram->from),
                         name_for_gateway(datagram->to)};
  abi::RingPositions& ring = abi::gateway().datagrams_out;
  {
    LockGuard guard(gateway_datagram_lock(true));
    u64 at = ring.head.load(std::memory_order_relaxed);
    if (at - ring.tail.load(std::memory_order_seq_cst) + head.whole() <= abi::kGatewayRingSize) {
      copy_in(at, &head, sizeof head);
      copy_in(at + sizeof head, datagram->data(), datagram->size);
      ring.head.store(at + head.whole(), std::memory_order_seq_cst);
    }
  }
  Datagram::destroy(datagram);
  gateway_post(abi::kNewsDatagrams);
}

}  // namespace teacup::net
