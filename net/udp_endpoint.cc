#include "net/udp_endpoint.h"

#include <algorithm>

#include "kernel/abi/time.h"
#include "net/interfaces.h"

namespace teacup::net {

namespace {
constexpr u64 kOverhead = 768;  // a small packet's true size on Linux
constexpr s64 kSecond = 1'000'000'000;
}  // namespace

Result<Datagram*> Datagram::create(size_t size) {
  void* block = heap_allocate(sizeof(Datagram) + size);
  if (block == nullptr) return Errno::NOBUFS;
  auto* datagram = new (block) Datagram{};
  datagram->size = static_cast<u32>(size);
  return datagram;
}

u64 Datagram::charge() const {
  return kOverhead + align_up(u64{size}, u64{256});
}

UdpEndpoint::~UdpEndpoint() {
  while (Datagram* datagram = datagrams_.pop_front()) Datagram::destroy(datagram);
  while (Datagram* datagram = refused_.pop_front()) Datagram::destroy(datagram);
}

void UdpEndpoint::deliver(Datagram* datagram) {
  {
    LockGuard guard(lock_);
    if (charged_.load(std::memory_order_relaxed) <= options.receive_buffer) {
      charged_.fetch_add(datagram->charge(), std::memory_order_relaxed);
      count_.fetch_add(1, std::memory_order_release);
      datagrams_.push_back(*datagram);
      datagram = nullptr;
    }
  }
  if (datagram != nullptr) return Datagram::destroy(datagram);
  if (!queue.empty()) queue.wake(kReadEvents);
}

void UdpEndpoint::fail(Errno error) {
  error_.store(static_cast<u32>(error), std::memory_order_release);
  queue.wake_all();
}

void UdpEndpoint::refuse(Datagram* datagram, Errno error) {
  bool v4 = datagram->to.address.is_v4();
  bool kept = v4 ? ip.stored.get(abi::kIPPROTO_IP, abi::kIP_RECVERR) != 0
                 : ip.stored.get(abi::kIPPROTO_IPV6, abi::kIPV6_RECVERR) != 0;
  datagram->error = error;
  {
    LockGuard guard(lock_);
    if (kept && charged_.load(std::memory_order_relaxed) <= options.receive_buffer) {
      charged_.fetch_add(datagram->charge(), std::memory_order_relaxed);
      refused_count_.fetch_add(1, std::memory_order_release);
      refused_.push_back(*datagram);
      datagram = nullptr;
    }
  }
  if (datagram != nullptr) Datagram::destroy(datagram);
  fail(error);
}

void UdpEndpoint::describe(PortInfo& info) const {
  info.waiting = queued();
  info.send_buffer = options.send_buffer;
  info.receive_buffer = options.receive_buffer;
  u32 shut = shut_.load(std::memory_order_relaxed);
  info.shut_ways = static_cast<u8>(((shut & kReceiveShut) != 0 ? 1 : 0) | ((shut & kSendShut) != 0 ? 2 : 0));
  ip.note_classes(info.type_of_service, info.traffic_class);
}

u64 UdpEndpoint::first_size() {
  LockGuard guard(lock_);
  Datagram* first = datagrams_.front();
  return first != nullptr ? first->size : 0;
}

void UdpEndpoint::shut(bool reading, bool writing) {
  shut_.fetch_or((reading ? kReceiveShut : 0) | (writing ? kSendShut : 0), std::memory_order_acq_rel);
  queue.wake_all();
}

u32 UdpEndpoint::poll() {
  u32 shut = shut_.load(std::memory_order_seq_cst);
  u32 events = kDatagramWriteEvents;
  if (has_error() || refused_count_.load(std::memory_order_acquire) > 0) events |= abi::kPOLLERR;
  if ((shut & kReceiveShut) != 0) events |= abi::kPOLLRDHUP | kReadEvents;
  if (shut == (kReceiveShut | kSendShut)) events |= abi::kPOLLHUP;
  if (count_.load(std::memory_order_seq_cst) > 0) events |= kReadEvents;
  return events;
}

// The address that an answer should come from.
IpAddress UdpEndpoint::answer_from(const Datagram& datagram) {
  const IpAddress& to = datagram.to.address;
  const Interface* interface = find_interface(datagram.interface);
  bool of_many = to.is_multicast() || to.is_broadcast();
  return of_many && interface != nullptr ? interface->address(abi::kAF_INET) : to;
}

// The control messages that were asked for (ip(7), ipv6(7), socket(7)).
void UdpEndpoint::describe(Datagram& datagram, ReceiveRequest& request, int family) {
  request.from = address_from(datagram.from, family);
  ControlRecords& control = request.control;
  if (s32 kind = options.timestamp; kind != 0) {
    s64 seconds = static_cast<s64>(datagram.time) / kSecond, rest = static_cast<s64>(datagram.time) % kSecond;
    bool fine = kind == abi::kSO_TIMESTAMPNS || kind == abi::kSO_TIMESTAMPNS_NEW;
    s64 stamp[2] = {seconds, fine ? rest : rest / 1000};
    control.add(abi::kSOL_SOCKET, kind, stamp, sizeof stamp);
  }
  auto wants = [&](int level, int name) { return ip.stored.get(level, name) != 0; };
  s32 hops = datagram.hops, traffic_class = datagram.traffic_class;
  if (datagram.to.address.is_v4()) {
    if (wants(abi::kIPPROTO_IP, abi::kIP_PKTINFO)) {
      abi::InPktInfo info{datagram.interface, {}, {}};
      memcpy(info.local, answer_from(datagram).v4_bytes(), sizeof info.local);
      memcpy(info.destination, datagram.to.address.v4_bytes(), sizeof info.destination);
      control.add(abi::kIPPROTO_IP, abi::kIP_PKTINFO, &info, sizeof info);
    }
    if (wants(abi::kIPPROTO_IP, abi::kIP_RECVTTL))
      control.add(abi::kIPPROTO_IP, abi::kIP_TTL, &hops, sizeof hops);
    if (wants(abi::kIPPROTO_IP, abi::kIP_RECVTOS))
      control.add(abi::kIPPROTO_IP, abi::kIP_TOS, &datagram.traffic_class, 1);
    if (wants(abi::kIPPROTO_IP, abi::kIP_RECVORIGDSTADDR)) {
      Address to = address_from(datagram.to, abi::kAF_INET);
      control.add(abi::kIPPROTO_IP, abi::kIP_RECVORIGDSTADDR, to.bytes, to.length);
    }
  }
  if (family != abi::kAF_INET6) return;
  if (wants(abi::kIPPROTO_IPV6, abi::kIPV6_RECVPKTINFO)) {
    abi::In6PktInfo info{{}, datagram.interface};
    memcpy(info.address, datagram.to.address.bytes, sizeof info.address);
    control.add(abi::kIPPROTO_IPV6, abi::kIPV6_PKTINFO, &info, sizeof info);
  }
  if (wants(abi::kIPPROTO_IPV6, abi::kIPV6_RECVHOPLIMIT))
    control.add(abi::kIPPROTO_IPV6, abi::kIPV6_HOPLIMIT, &hops, sizeof hops);
  if (wants(abi::kIPPROTO_IPV6, abi::kIPV6_RECVTCLASS))
    control.add(abi::kIPPROTO_IPV6, abi::kIPV6_TCLASS, &traffic_class, sizeof traffic_class);
}

namespace {

// What ICMP calls it (icmp(7), RFC 792 and 4443).
u8 unreachable_code(Errno error, bool v4) {
  constexpr u8 kNetwork = 0, kHostV4 = 1, kAddressV6 = 3, kForbiddenV6 = 1, kForbiddenV4 = 13;
  switch (error) {
    case Errno::NETUNREACH:
      return kNetwork;
    case Errno::HOSTUNREACH:
      return v4 ? kHostV4 : kAddressV6;
    case Errno::ACCES:
      return v4 ? kForbiddenV4 : kForbiddenV6;
    default:
      return v4 ? abi::kICMP_PORT_UNREACH : abi::kICMPV6_PORT_UNREACH;
  }
}

}  // namespace

// ip(7), IP_RECVERR: what was sent, where to, and who says that it did not arrive.
Result<size_t> UdpEndpoint::receive_refused(ReceiveRequest& request, int family) {
  Datagram* first;
  {
    LockGuard guard(lock_);
    first = refused_.pop_front();
    if (first == nullptr) return Errno::AGAIN;
    charged_.fetch_sub(first->charge(), std::memory_order_relaxed);
    // With the last of them SO_ERROR has nothing to say any more.
    if (refused_count_.fetch_sub(1, std::memory_order_relaxed) == 1) error_.store(0);
  }
  auto copied = request.data->put(first->data(), std::min<size_t>(first->size, request.data->remaining()));
  bool v4 = first->to.address.is_v4();
  struct {
    abi::SockExtendedErr error;
    u8 offender[sizeof(abi::SockAddrIn6)];
  } record{};
  static_assert(sizeof record <= sizeof(ControlRecords::Record::data));
  record.error.error = static_cast<u32>(first->error);
  record.error.origin = v4 ? abi::kSO_EE_ORIGIN_ICMP : abi::kSO_EE_ORIGIN_ICMP6;
  record.error.type = v4 ? abi::kICMP_DEST_UNREACH : abi::kICMPV6_DEST_UNREACH;
  record.error.code = unreachable_code(first->error, v4);
  Address offender = address_from({first->to.address, 0, 0}, family);
  memcpy(record.offender, offender.bytes, offender.length);
  if (family == abi::kAF_INET) {
    request.control.add(abi::kIPPROTO_IP, abi::kIP_RECVERR, &record, sizeof record.error + offender.length);
  } else {
    request.control.add(abi::kIPPROTO_IPV6, abi::kIPV6_RECVERR, &record,
                        sizeof record.error + offender.length);
  }
  request.from = address_from(first->to, family);
  request.out_flags |= abi::kMSG_ERRQUEUE;
  if (copied.ok() && copied.value() < first->size) request.out_flags |= abi::kMSG_TRUNC;
  Datagram::destroy(first);
  return copied;
}

Result<size_t> UdpEndpoint::receive(ReceiveRequest& request, int family) {
  if ((request.flags & abi::kMSG_ERRQUEUE) != 0) return receive_refused(request, family);
  if (Errno error = take_error(); error != Errno::OK) return error;
  Datagram* done = nullptr;
  Result<size_t> result = [&]() -> Result<size_t> {
    LockGuard guard(lock_);
    Datagram* first = datagrams_.front();
    if (first == nullptr) {
      // Who would not wait anyway is not told of the end.
      bool waits = (request.flags & abi::kMSG_DONTWAIT) == 0;
      if (waits && (shut_.load(std::memory_order_relaxed) & kReceiveShut) != 0) return size_t{0};
      return Errno::AGAIN;
    }
    size_t copied =
        TRY(request.data->put(first->data(), std::min<size_t>(first->size, request.data->remaining())));
    if (copied < first->size) request.out_flags |= abi::kMSG_TRUNC;
    describe(*first, request, family);
    size_t full = first->size;
    if ((request.flags & abi::kMSG_PEEK) == 0) {
      done = datagrams_.pop_front();
      charged_.fetch_sub(done->charge(), std::memory_order_relaxed);
      count_.fetch_sub(1, std::memory_order_relaxed);
    }
    return (request.flags & abi::kMSG_TRUNC) != 0 ? full : copied;
  }();
  if (done != nullptr) Datagram::destroy(done);
  return result;
}

// --- Multicast.

bool UdpEndpoint::is_member(const Group& group) {
  LockGuard guard(lock_);
  return std::find(groups_, groups_ + group_count_, group) != groups_ + group_count_;
}

size_t UdpEndpoint::groups(std::span<Group> into) {
  LockGuard guard(lock_);
  size_t count = std::min(group_count_, into.size());
  std::copy_n(groups_, count, into.begin());
  return count;
}

Result<void> UdpEndpoint::join(const Group& group) {
  if (!group.address.is_multicast()) return Errno::INVAL;
  LockGuard guard(lock_);
  if (std::find(groups_, groups_ + group_count_, group) != groups_ + group_count_) return Errno::ADDRINUSE;
  if (group_count_ == kMostGroups) return Errno::NOBUFS;
  groups_[group_count_++] = group;
  return {};
}

Result<void> UdpEndpoint::leave(const Group& group) {
  LockGuard guard(lock_);
  Group* end = groups_ + group_count_;
  Group* found = std::find_if(groups_, end, [&](const Group& one) {
    return one.address == group.address && (group.interface == 0 || one.interface == group.interface);
  });
  if (found == end) return Errno::ADDRNOTAVAIL;
  *found = groups_[--group_count_];
  return {};
}

}  // namespace teacup::net
