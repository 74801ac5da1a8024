// Locks: the socket's own (kSocket) for its names; then the ports' (kPorts), then an endpoint's.
#include "net/udp_socket.h"

#include <algorithm>

#include "kernel/abi/process.h"
#include "net/datagram_socket.h"
#include "net/gateway.h"
#include "net/interfaces.h"

namespace teacup::net {

namespace {

constexpr size_t kLargestV4 = 65507, kLargestV6 = 65527;
constexpr size_t kMostReceivers = 64;  // of one multicast or broadcast datagram

class UdpSocket final : public DatagramSocket, public PortOwner {
 public:
  UdpSocket(int family, int protocol, u32 uid, Ref<UdpEndpoint> endpoint, u32 flags)
      : DatagramSocket(family, abi::kSOCK_DGRAM, protocol, std::move(endpoint), flags),
        uid_(uid),
        ports_(protocol == abi::kIPPROTO_UDPLITE ? udplite_ports() : udp_ports()) {
    local_.address = asked_.address = IpAddress::any(family);
  }
  ~UdpSocket() override {
    if (binding_) binding_->release();
  }

  PortInfo port_info() override {
    PortInfo info;
    info.state = connected_.load(std::memory_order_relaxed) ? abi::kTCP_ESTABLISHED : abi::kTCP_CLOSE;
    info.uid = uid_;
    info.inode = number();
    endpoint_->describe(info);
    return info;
  }

  size_t groups(std::span<Group> into) override { return endpoint_->groups(into); }

  Result<void> bind(const Caller& caller, const Address& address) override;
  Result<void> connect(const Caller& caller, const Address& address, bool wait) override;
  Result<void> shutdown(int how) override;
  Result<Address> local_address() override {
    LockGuard guard(lock_);
    return address_from(local_, family());
  }
  Result<Address> peer_address() override {
    LockGuard guard(lock_);
    if (!connected_ || remote_.port == 0) return Errno::NOTCONN;
    return address_from(remote_, family());
  }

 protected:
  Result<size_t> transmit(SendRequest& request) override;
  Result<size_t> get_own_option(int level, int name, std::span<std::byte> value) override;
  Result<void> set_own_option(const Caller& caller, int level, int name,
                              std::span<const std::byte> value) override;

 private:
  // What a datagram is sent with.
  struct Marks {
    u8 hops = 0, traffic_class = 0;
    IpAddress source;
    s32 interface = 0;  // 0: whichever leads there
  };
  Result<Marks> marks_of(const ControlRecords& control) const;
  Claim claim() const;
  Result<void> bind_automatically_locked();
  Result<IpName> target_locked(const Address& address) const;
  Result<void> send_one(const IpName& from, const IpName& to, bool connected, Datagram* datagram);
  Result<void> send_many(const IpName& to, Datagram* datagram);
  s32 interface_to(const IpName& to, s32 asked) const;
  Result<IpAddress> source_of(const IpName& to, s32 asked) const;
  Result<void> check_family_locked(const IpName& to) const;
  void find_any_locked(IpName& to) const;
  void disconnect_locked();
  Result<void> change_membership(int level, int name, std::span<const std::byte> value);

  const u32 uid_;  // who made it
  PortTable& ports_;
  // UDPLITE_SEND_CSCOV, UDPLITE_RECV_CSCOV: how much a checksum would cover.
  Setting<s32> coverage_[2];
  Mutex lock_{LockRank::kSocket};
  IpName local_;                // as bound, or as connecting chose it
  IpName asked_;                // of bind(2)
  bool keeps_address_ = false;  // is_asked_address(), once
  IpName remote_;
  std::atomic<bool> connected_{false};
  Ref<Binding> binding_;
};

// --- Names.

Claim UdpSocket::claim() const {
  Claim claim;
  claim.name = local_;
  claim.family = family();
  claim.v6_only = endpoint_->ip.v6_only();
  claim.uid = uid_;
  return claim;
}

Result<void> UdpSocket::bind(const Caller& caller, const Address& address) {
  IpName name = TRY(name_to_bind(caller, address, family(), endpoint_->ip, true));
  LockGuard guard(lock_);
  if (binding_) return Errno::INVAL;
  Claim wanted = claim();
  wanted.name = name;
  auto made = ports_.bind(wanted, options(), endpoint_.get());
  if (!made.ok()) {
    // An address that an earlier connection has left goes with the attempt.
    local_.address = IpAddress::any(family());
    return made.error();
  }
  binding_ = std::move(made).value();
  ports_.set_owner(*binding_, this);
  local_ = binding_->local();
  local_.scope = name.scope;
  asked_ = name;
  if (is_asked_address(name.address, family())) keeps_address_ = true;
  endpoint_->ip.note_bound(name.address);
  return {};
}

Result<void> UdpSocket::bind_automatically_locked() {
  if (binding_) return {};
  binding_ = TRY(ports_.bind_for_connection(claim(), options(), endpoint_.get()));
  ports_.set_owner(*binding_, this);
  local_.port = binding_->port();
  return {};
}

// Where a datagram goes. A socket of IPv6 takes an address of IPv4 too.
Result<IpName> UdpSocket::target_locked(const Address& address) const {
  int as = family() == abi::kAF_INET6 && address.family() == abi::kAF_INET ? abi::kAF_INET : family();
  // ip(7): an address without a family is one of IPv4.
  Address plain = address;
  if (as == abi::kAF_INET && address.family() == abi::kAF_UNSPEC) plain.bytes[0] = abi::kAF_INET;
  IpName to = TRY(ip_name_from(plain, as));
  if (family() == abi::kAF_INET6 && to.address.is_v4() && endpoint_->ip.v6_only()) return Errno::NETUNREACH;
  if (to.port == 0) return Errno::INVAL;
  find_any_locked(to);
  return to;
}

// What a datagram leaves by: as its control message has it, or the socket's device, or, for a group, the name
// or the options.
s32 UdpSocket::interface_to(const IpName& to, s32 asked) const {
  if (asked != 0) return asked;
  if (s32 device = options().bound_interface; device != 0) return device;
  if (!to.address.is_multicast()) return interface_of(to.address);
  if (to.scope != 0) return static_cast<s32>(to.scope);
  s32 chosen = to.address.is_v4() ? endpoint_->ip.multicast_interface.get()
                                  : endpoint_->ip.stored.get(abi::kIPPROTO_IPV6, abi::kIPV6_MULTICAST_IF);
  return chosen != 0 ? chosen : usual_interface();
}

Result<IpAddress> UdpSocket::source_of(const IpName& to, s32 asked) const {
  if (to.address.is_multicast()) {
    const Interface* interface = find_interface(interface_to(to, asked));
    if (interface == nullptr) return Errno::NODEV;
    const IpAddress& chosen = endpoint_->ip.multicast_from;
    if (to.address.is_v4() && !chosen.is_any()) return chosen;
    return interface->address(to.address.is_v4() ? abi::kAF_INET : abi::kAF_INET6);
  }
  s32 device = asked != 0 ? asked : options().bound_interface.get();
  return protocol() == abi::kIPPROTO_UDP ? source_for_outside(to.address, device)
                                         : source_for(to.address, device);
}

// "Any" is the socket's own address, if it has one, or its family's loopback.
void UdpSocket::find_any_locked(IpName& to) const {
  if (!to.address.is_any()) return;
  bool v4 = to.address.is_v4() || local_.address.is_v4();
  bool own = v4 && local_.address.is_v4() && !local_.address.is_any() && !local_.address.is_multicast();
  to.address = own ? local_.address : IpAddress::loopback(v4 ? abi::kAF_INET : abi::kAF_INET6);
}

// A socket of IPv6 that was bound to an address of IPv4 does not reach the other ones.
Result<void> UdpSocket::check_family_locked(const IpName& to) const {
  bool crosses = family() == abi::kAF_INET6 && local_.address.is_v4() && !to.address.is_v4();
  return crosses ? Result<void>(Errno::AFNOSUPPORT) : Result<void>{};
}

void UdpSocket::disconnect_locked() {
  connected_ = false;
  if (!binding_) return;
  IpAddress shown = keeps_address_ ? local_.address : asked_.address;
  local_ = asked_;
  local_.address = shown;
  if (asked_.port == 0) {
    // A port that nobody asked for goes with the connection.
    binding_->release();
    binding_ = nullptr;
    return;
  }
  ports_.clear_remote(*binding_, local_);
}

Result<void> UdpSocket::connect(const Caller&, const Address& address, bool) {
  if (address.length < sizeof(u16)) return Errno::INVAL;
  LockGuard guard(lock_);
  if (address.family() == abi::kAF_UNSPEC) {
    disconnect_locked();
    return {};
  }
  TRY(bind_automatically_locked());  // whatever comes of it
  int as = family() == abi::kAF_INET6 && address.family() == abi::kAF_INET ? abi::kAF_INET : family();
  IpName to = TRY(ip_name_from(address, as));
  if (to.address.is_v4() && endpoint_->ip.v6_only())
    return as == abi::kAF_INET ? Errno::AFNOSUPPORT : Errno::NETUNREACH;
  find_any_locked(to);
  TRY(check_family_locked(to));
  IpAddress source = TRY(source_of(to, 0));
  if (to.address.is_broadcast() && !options().broadcast) return Errno::ACCES;
  if (local_.address.is_any()) local_.address = source;
  if (leads_astray(local_.address, to.address)) return Errno::INVAL;
  remote_ = to;
  connected_ = true;
  return ports_.set_remote(*binding_, local_, remote_);
}

Result<void> UdpSocket::shutdown(int how) {
  if (how < abi::kSHUT_RD || how > abi::kSHUT_RDWR) return Errno::INVAL;
  endpoint_->shut(how != abi::kSHUT_WR, how != abi::kSHUT_RD);
  LockGuard guard(lock_);
  return connected_ ? Result<void>{} : Result<void>(Errno::NOTCONN);
}

// --- Sending.

// What the options say, and control messages for this one datagram (ip(7), ipv6(7)).
Result<UdpSocket::Marks> UdpSocket::marks_of(const ControlRecords& control) const {
  bool v4 = family() == abi::kAF_INET;
  const auto& stored = endpoint_->ip.stored;
  s32 hops = v4 ? stored.get(abi::kIPPROTO_IP, abi::kIP_TTL)
                : stored.get(abi::kIPPROTO_IPV6, abi::kIPV6_UNICAST_HOPS);
  s32 traffic_class =
      v4 ? stored.get(abi::kIPPROTO_IP, abi::kIP_TOS) : stored.get(abi::kIPPROTO_IPV6, abi::kIPV6_TCLASS);
  Marks marks;
  for (const auto& record : control.records()) {
    if (record.level == abi::kIPPROTO_UDP) return Errno::INVAL;
    if (record.level != (v4 ? abi::kIPPROTO_IP : abi::kIPPROTO_IPV6)) continue;
    bool is_hops = record.type == (v4 ? abi::kIP_TTL : abi::kIPV6_HOPLIMIT);
    bool is_class = record.type == (v4 ? abi::kIP_TOS : abi::kIPV6_TCLASS);
    std::span<const std::byte> value(record.data, record.size);
    if (is_hops || is_class) {
      if (record.size != sizeof(s32) && !(v4 && is_class && record.size == 1)) return Errno::INVAL;
      s32 number = TRY(option_number(value, v4));
      if (number < -1 || number > 255 || (v4 && is_hops && number < 1)) return Errno::INVAL;
      (is_hops ? hops : traffic_class) = number == -1 ? (is_hops ? 64 : 0) : number;
    } else if (v4 && record.type == abi::kIP_PKTINFO && record.size == sizeof(abi::InPktInfo)) {
      abi::InPktInfo info;
      memcpy(&info, record.data, sizeof info);
      marks.source = IpAddress::v4(info.local);
      marks.interface = info.interface;
    } else if (!v4 && record.type == abi::kIPV6_PKTINFO && record.size >= sizeof(abi::In6PktInfo)) {
      abi::In6PktInfo info;
      memcpy(&info, record.data, sizeof info);
      marks.source = IpAddress::v6(info.address);
      marks.interface = info.interface;
    } else {
      return Errno::INVAL;
    }
  }
  if (!marks.source.is_any() && !is_own_address(marks.source)) return Errno::INVAL;
  if (marks.interface != 0 && find_interface(marks.interface) == nullptr) return Errno::NODEV;
  marks.hops = static_cast<u8>(hops == -1 ? 64 : hops);
  marks.traffic_class = static_cast<u8>(traffic_class == -1 ? 0 : traffic_class);
  return marks;
}

Result<size_t> UdpSocket::transmit(SendRequest& request) {
  if ((request.flags & abi::kMSG_OOB) != 0) return Errno::NOTSUP;
  IpName from, to;
  bool connected;
  Marks marks = TRY(marks_of(request.control));
  {
    LockGuard guard(lock_);
    TRY(bind_automatically_locked());
    connected = connected_;
    if (request.to != nullptr && request.to->length > 0) {
      to = TRY(target_locked(*request.to));
      connected = connected && to == remote_;
    } else if (connected) {
      to = remote_;
    } else {
      return Errno::DESTADDRREQ;
    }
    TRY(check_family_locked(to));
    IpAddress source = TRY(source_of(to, marks.interface));
    if (to.address.is_broadcast() && !options().broadcast) return Errno::ACCES;
    from = local_;
    if (from.address.is_any() || from.address.is_multicast() || from.address.is_v4() != to.address.is_v4())
      from.address = source;
    if (!marks.source.is_any() && marks.source.is_v4() == to.address.is_v4()) from.address = marks.source;
    if (leads_astray(from.address, to.address)) return Errno::INVAL;
  }
  size_t size = request.data->remaining();
  if (size > (to.address.is_v4() ? kLargestV4 : kLargestV6)) return Errno::MSGSIZE;
  if (Errno error = endpoint_->take_error(); error != Errno::OK) return error;
  if (endpoint_->send_shut()) return Errno::PIPE;
  Datagram* datagram = TRY(Datagram::create(size));
  if (size > 0) {
    auto copied = request.data->take(datagram->data(), size);
    if (!copied.ok() || copied.value() < size) {
      Datagram::destroy(datagram);
      return Errno::FAULT;
    }
  }
  datagram->from = from;
  datagram->to = to;
  datagram->time = gate::realtime_now();
  datagram->hops = marks.hops;
  datagram->traffic_class = marks.traffic_class;
  datagram->interface = interface_to(to, marks.interface);
  if (to.address.is_multicast() || to.address.is_broadcast()) {
    TRY(send_many(to, datagram));
  } else {
    TRY(send_one(from, to, connected, datagram));
  }
  return size;
}

// Nobody there is what ICMP would say: a connected sender hears of it, at its next call.
Result<void> UdpSocket::send_one(const IpName& from, const IpName& to, bool connected, Datagram* datagram) {
  bool leads_out = gateway_leads_to(to.address);
  PortUser* user = leads_out ? nullptr : ports_.find(to, from, datagram->interface, false);
  if (user == nullptr) {
    const auto& stored = endpoint_->ip.stored;
    bool asked = to.address.is_v4() ? stored.get(abi::kIPPROTO_IP, abi::kIP_RECVERR) != 0
                                    : stored.get(abi::kIPPROTO_IPV6, abi::kIPV6_RECVERR) != 0;
    if (&ports_ == &udp_ports() && (leads_out || gateway_is_resolver(to))) {
      gateway_send(datagram, connected || asked);
      return {};
    }
    if (asked || connected) {
      endpoint_->refuse(datagram, Errno::CONNREFUSED);
    } else {
      Datagram::destroy(datagram);
    }
    return {};
  }
  auto receiver = Ref<UdpEndpoint>::adopt(static_cast<UdpEndpoint*>(user));
  receiver->deliver(datagram);
  return {};
}

// To a group or to all: everyone on the port who wants it has a copy.
Result<void> UdpSocket::send_many(const IpName& to, Datagram* datagram) {
  UdpEndpoint* receivers[kMostReceivers];
  size_t count = 0;
  bool group = to.address.is_multicast();
  bool loops = !group || endpoint_->ip.stored.get(
                             to.address.is_v4() ? abi::kIPPROTO_IP : abi::kIPPROTO_IPV6,
                             to.address.is_v4() ? abi::kIP_MULTICAST_LOOP : abi::kIPV6_MULTICAST_LOOP) != 0;
  ports_.visit_port(to.port, [&](const Claim& claim, PortUser& user) {
    auto& endpoint = static_cast<UdpEndpoint&>(user);
    s32 device = endpoint.options.bound_interface;
    bool wanted = claim.covers(to.address) && (device == 0 || device == datagram->interface) &&
                  (!group || endpoint.is_member({to.address, datagram->interface}));
    if (claim.has_remote && !(claim.remote == datagram->from)) wanted = false;
    if (!wanted || !loops || count == kMostReceivers) return;
    endpoint.ref();
    receivers[count++] = &endpoint;
  });
  for (size_t i = 0; i < count; i++) {
    auto receiver = Ref<UdpEndpoint>::adopt(receivers[i]);
    auto copy = Datagram::create(datagram->size);
    if (!copy.ok()) continue;  // lost, as it would be without buffers
    copy.value()->from = datagram->from;
    copy.value()->to = datagram->to;
    copy.value()->time = datagram->time;
    copy.value()->hops = 1;
    copy.value()->interface = datagram->interface;
    memcpy(copy.value()->data(), datagram->data(), datagram->size);
    receiver->deliver(copy.value());
  }
  Datagram::destroy(datagram);
  return {};
}

// --- Options.

Result<size_t> UdpSocket::get_own_option(int level, int name, std::span<std::byte> value) {
  if (level == abi::kSOL_SOCKET) return Errno::NOPROTOOPT;
  bool connected;
  {
    LockGuard guard(lock_);
    connected = connected_;
  }
  if (level == abi::kIPPROTO_UDPLITE) {
    if (name != abi::kUDPLITE_SEND_CSCOV && name != abi::kUDPLITE_RECV_CSCOV) return Errno::NOPROTOOPT;
    return give_option(value, coverage_[name == abi::kUDPLITE_RECV_CSCOV].get());
  }
  if (level == abi::kIPPROTO_UDP) {
    bool known = name == abi::kUDP_CORK || name == abi::kUDP_SEGMENT || name == abi::kUDP_GRO;
    return known ? Result<size_t>(give_option(value, s32{0})) : Result<size_t>(Errno::NOPROTOOPT);
  }
  return get_ip_option(endpoint_->ip, family(), false, connected, level, name, value);
}

Result<void> UdpSocket::set_own_option(const Caller&, int level, int name, std::span<const std::byte> value) {
  if (level == abi::kSOL_SOCKET) return name == abi::kSO_ZEROCOPY ? Errno::NOTSUP : Errno::NOPROTOOPT;
  if (level == abi::kIPPROTO_UDPLITE) {
    if (name != abi::kUDPLITE_SEND_CSCOV && name != abi::kUDPLITE_RECV_CSCOV) return Errno::NOPROTOOPT;
    if (protocol() != abi::kIPPROTO_UDPLITE) return Errno::NOPROTOOPT;
    s32 number = TRY(take_option(value));
    // No less than the header, unless it is all.
    coverage_[name == abi::kUDPLITE_RECV_CSCOV] = number == 0 ? 0 : std::clamp(number, 8, 0xffff);
    return {};
  }
  if (level == abi::kIPPROTO_UDP) {
    // Batches (UDP_SEGMENT) and corking are not offered; that they are off can be said.
    s32 number = TRY(take_option(value));
    bool known = name == abi::kUDP_CORK || name == abi::kUDP_GRO;
    return known && number == 0 ? Result<void>{} : Result<void>(Errno::NOPROTOOPT);
  }
  bool membership = level == abi::kIPPROTO_IP
                        ? name == abi::kIP_ADD_MEMBERSHIP || name == abi::kIP_DROP_MEMBERSHIP
                        : name == abi::kIPV6_ADD_MEMBERSHIP || name == abi::kIPV6_DROP_MEMBERSHIP;
  membership = membership || name == abi::kMCAST_JOIN_GROUP || name == abi::kMCAST_LEAVE_GROUP;
  if (membership) return change_membership(level, name, value);
  bool bound;
  {
    LockGuard guard(lock_);
    bound = bool(binding_);
  }
  return set_ip_option(endpoint_->ip, options(), family(), false, bound, level, name, value);
}

// ip_mreq and ip_mreqn begin with the group, and so does ipv6_mreq; group_req has it after a word and its
// padding, as a socket address. What says the interface is the second word and, of ip_mreqn, the third; that
// of ipv6_mreq is behind the group, and group_req's is the first.
Result<void> UdpSocket::change_membership(int level, int name, std::span<const std::byte> value) {
  constexpr size_t kGroupOffset = 8;
  const u8* bytes = reinterpret_cast<const u8*>(value.data());
  Group group;
  if (name == abi::kMCAST_JOIN_GROUP || name == abi::kMCAST_LEAVE_GROUP) {
    if (value.size() < kGroupOffset + sizeof(Address::bytes)) return Errno::INVAL;
    Address address;
    address.length = sizeof address.bytes;
    memcpy(address.bytes, bytes + kGroupOffset, sizeof address.bytes);
    group.address =
        TRY(ip_name_from(address, level == abi::kIPPROTO_IP ? abi::kAF_INET : abi::kAF_INET6)).address;
    memcpy(&group.interface, bytes, sizeof group.interface);
  } else if (level == abi::kIPPROTO_IP) {
    if (value.size() < 8) return Errno::INVAL;
    group.address = IpAddress::v4(bytes);
    group.interface = TRY(interface_named(value.subspan(4)));
  } else {
    if (value.size() < 20) return Errno::INVAL;
    group.address = IpAddress::v6(bytes);
    memcpy(&group.interface, bytes + sizeof group.address.bytes, sizeof group.interface);
  }
  bool joins = name == abi::kMCAST_JOIN_GROUP ||
               name == (level == abi::kIPPROTO_IP ? abi::kIP_ADD_MEMBERSHIP : abi::kIPV6_ADD_MEMBERSHIP);
  if (!joins) return endpoint_->leave(group);
  if (group.interface == 0) group.interface = usual_interface();
  if (find_interface(group.interface) == nullptr) return Errno::NODEV;
  return endpoint_->join(group);
}

}  // namespace

Result<Ref<Socket>> make_udp_socket(const Caller& caller, int family, int protocol, u32 flags) {
  auto endpoint = TRY(make_ref<UdpEndpoint>());
  return Ref<Socket>(
      TRY(make_ref<UdpSocket>(family, protocol, caller.identity.uid, std::move(endpoint), flags)));
}

}  // namespace teacup::net
