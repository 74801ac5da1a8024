// Differs from Linux: any user may have an echo socket (net.ipv4.ping_group_range is all groups).
//
// Locks: the socket's own (kSocket) for its names; then the table's (kPorts).
#include "net/raw_socket.h"

#include <algorithm>

#include "kernel/abi/process.h"
#include "net/datagram_socket.h"
#include "net/icmp.h"
#include "net/raw_table.h"

namespace teacup::net {

namespace {

constexpr size_t kLargest = 65535, kHeaderV4 = 20;
constexpr size_t kLargestEcho = kLargest - kHeaderV4;

// What the two kinds share: an address to be bound to, and one to be connected to.
class RawSocket : public DatagramSocket {
 public:
  RawSocket(int family, int type, int protocol, u32 uid, Ref<UdpEndpoint> endpoint, u32 flags)
      : DatagramSocket(family, type, protocol, endpoint, flags) {
    user_.endpoint = std::move(endpoint);
    user_.family = family;
    user_.protocol = protocol;
    user_.echoes = type == abi::kSOCK_DGRAM;
    user_.uid = uid;
    user_.inode = number();
    user_.local = user_.remote = IpAddress::any(family);
    headers_included_ = type == abi::kSOCK_RAW && protocol == abi::kIPPROTO_RAW;
    raw_table().add(user_);
  }
  ~RawSocket() override { raw_table().remove(user_); }

  Result<void> bind(const Caller& caller, const Address& address) override;
  Result<void> connect(const Caller& caller, const Address& address, bool wait) override;
  Result<void> shutdown(int how) override;
  Result<Address> local_address() override;
  Result<Address> peer_address() override;

 protected:
  Result<size_t> transmit(SendRequest& request) override;
  Result<size_t> get_own_option(int level, int name, std::span<std::byte> value) override;
  Result<void> set_own_option(const Caller& caller, int level, int name,
                              std::span<const std::byte> value) override;

 private:
  bool v4() const { return family() == abi::kAF_INET; }
  // What getsockname(2) has for a port: the identifier, or the protocol.
  u16 shown_port() const { return user_.echoes ? user_.identifier : static_cast<u16>(protocol()); }
  Result<IpAddress> target(SendRequest& request);
  Result<void> check_echo(std::span<std::byte> body);
  Result<void> read_header(IpPacket& packet);
  void add_checksum(IpPacket& packet);
  bool is_filter(int level, int name) const {
    if (user_.echoes) return false;
    return v4() ? level == abi::kSOL_RAW && name == abi::kICMP_FILTER
                : level == abi::kIPPROTO_ICMPV6 && name == abi::kICMPV6_FILTER;
  }

  RawUser user_;
  Mutex lock_{LockRank::kSocket};
  Setting<bool> headers_included_;
  Setting<s32> checksum_offset_{-1};  // IPV6_CHECKSUM
  bool connected_ = false;
};

// --- Names.

Result<void> RawSocket::bind(const Caller&, const Address& address) {
  IpName name = TRY(ip_name_from(address, family()));
  bool usable = name.address.is_any() || is_own_address(name.address) || endpoint_->ip.may_bind_anywhere();
  if (!usable || (!v4() && name.address.is_v4())) return Errno::ADDRNOTAVAIL;
  LockGuard guard(lock_);
  if (user_.echoes) {
    if (user_.identifier != 0) return Errno::INVAL;
    TRY(raw_table().claim_identifier(user_, name.port));
  }
  raw_table().set_local(user_, name.address);
  return {};
}

Result<void> RawSocket::connect(const Caller&, const Address& address, bool) {
  if (address.length < sizeof(u16)) return Errno::INVAL;
  LockGuard guard(lock_);
  if (address.family() == abi::kAF_UNSPEC) {
    connected_ = false;
    raw_table().set_remote(user_, IpAddress::any(family()));
    return {};
  }
  IpAddress to = TRY(ip_name_from(address, family())).address;
  if (to.is_any()) to = IpAddress::loopback(family());
  IpAddress source = TRY(source_for(to, options().bound_interface));
  if (user_.echoes && user_.identifier == 0) TRY(raw_table().claim_identifier(user_, 0));
  if (user_.local.is_any()) raw_table().set_local(user_, source);
  raw_table().set_remote(user_, to);
  connected_ = true;
  return {};
}

Result<Address> RawSocket::local_address() {
  LockGuard guard(lock_);
  return address_from({user_.local, shown_port(), 0}, family());
}

Result<Address> RawSocket::peer_address() {
  LockGuard guard(lock_);
  if (!connected_) return Errno::NOTCONN;
  return address_from({user_.remote, 0, 0}, family());
}

Result<void> RawSocket::shutdown(int how) {
  if (how < abi::kSHUT_RD || how > abi::kSHUT_RDWR) return Errno::INVAL;
  LockGuard guard(lock_);
  if (!connected_) return Errno::NOTCONN;
  endpoint_->shut(how != abi::kSHUT_WR, how != abi::kSHUT_RD);
  return {};
}

// --- Sending.

// Also sees to it that an echo socket has its identifier.
Result<IpAddress> RawSocket::target(SendRequest& request) {
  LockGuard guard(lock_);
  if (user_.echoes && user_.identifier == 0) TRY(raw_table().claim_identifier(user_, 0));
  if (request.to == nullptr || request.to->length == 0) {
    if (!connected_) return Errno::DESTADDRREQ;
    return user_.remote;
  }
  IpAddress to = TRY(ip_name_from(*request.to, family())).address;
  return to.is_any() ? IpAddress::loopback(family()) : to;
}

// icmp(7): requests only, and under its own identifier.
Result<void> RawSocket::check_echo(std::span<std::byte> body) {
  EchoHeader echo;
  if (body.size() < sizeof echo) return Errno::INVAL;
  memcpy(&echo, body.data(), sizeof echo);
  if (echo.type != echo_request_type(v4()) || echo.code != 0) return Errno::INVAL;
  echo.identifier[0] = static_cast<u8>(user_.identifier >> 8);
  echo.identifier[1] = static_cast<u8>(user_.identifier);
  memcpy(body.data(), &echo, sizeof echo);
  return {};
}

// IP_HDRINCL: the body begins with a header of the program's own making.
Result<void> RawSocket::read_header(IpPacket& packet) {
  constexpr size_t kFrom = 12, kHops = 8, kProtocol = 9;
  const u8* bytes = reinterpret_cast<const u8*>(packet.body.data());
  if (packet.body.size() < kHeaderV4) return Errno::INVAL;
  size_t length = size_t{bytes[0] & 15u} * 4;
  if (length < kHeaderV4 || length > packet.body.size()) return Errno::INVAL;
  packet.traffic_class = bytes[1];
  packet.hops = bytes[kHops];
  packet.protocol = bytes[kProtocol];
  if (IpAddress from = IpAddress::v4(bytes + kFrom); !from.is_any()) packet.from = from;
  packet.body = packet.body.subspan(length);
  return {};
}

void RawSocket::add_checksum(IpPacket& packet) {
  s32 offset = checksum_offset_;
  if (user_.echoes || (!v4() && protocol() == abi::kIPPROTO_ICMPV6)) offset = offsetof(EchoHeader, checksum);
  if (offset < 0) return;
  set_checksum(packet.body, static_cast<size_t>(offset), packet.from, packet.to, packet.protocol);
}

Result<size_t> RawSocket::transmit(SendRequest& request) {
  if ((request.flags & abi::kMSG_OOB) != 0) return Errno::NOTSUP;
  size_t size = request.data->remaining();
  bool has_header = v4() && headers_included_;
  if (size > (user_.echoes || (v4() && !has_header) ? kLargestEcho : kLargest)) return Errno::MSGSIZE;
  IpPacket packet;
  packet.to = TRY(target(request));
  packet.from = TRY(source_for(packet.to, options().bound_interface));
  if (!user_.local.is_any()) packet.from = user_.local;
  packet.protocol = static_cast<u8>(protocol());
  const auto& stored = endpoint_->ip.stored;
  s32 hops = v4() ? stored.get(abi::kIPPROTO_IP, abi::kIP_TTL)
                  : stored.get(abi::kIPPROTO_IPV6, abi::kIPV6_UNICAST_HOPS);
  packet.hops = static_cast<u8>(hops == -1 ? 64 : hops);
  packet.traffic_class = static_cast<u8>(v4() ? stored.get(abi::kIPPROTO_IP, abi::kIP_TOS) : 0);
  if (Errno error = endpoint_->take_error(); error != Errno::OK) return error;
  if (endpoint_->send_shut()) return Errno::PIPE;
  HeapArray<std::byte> bytes = TRY(HeapArray<std::byte>::create(std::max<size_t>(size, 1)));
  if (size > 0 && TRY(request.data->take(bytes.data(), size)) < size) return Errno::FAULT;
  packet.body = {bytes.data(), size};
  if (user_.echoes) TRY(check_echo(packet.body));
  if (has_header) {
    TRY(read_header(packet));
  } else {
    add_checksum(packet);
  }
  raw_table().deliver(packet);
  return size;
}

// --- Options.

Result<size_t> RawSocket::get_own_option(int level, int name, std::span<std::byte> value) {
  if (level == abi::kSOL_SOCKET) return Errno::NOPROTOOPT;
  if (is_filter(level, name)) {
    std::array<u32, IcmpFilter::kWords> words;
    for (size_t i = 0; i < words.size(); i++) words[i] = user_.filter.words[i];
    size_t size = v4() ? sizeof(u32) : sizeof words;
    return std::min(give_option(value.first(std::min(value.size(), size)), words), size);
  }
  if (level == abi::kIPPROTO_IP && name == abi::kIP_HDRINCL && v4() && !user_.echoes)
    return give_option(value, s32{headers_included_});
  if (level == abi::kIPPROTO_IPV6 && name == abi::kIPV6_CHECKSUM && !v4())
    return give_option(value, checksum_offset_.get());
  bool connected;
  {
    LockGuard guard(lock_);
    connected = connected_;
  }
  return get_ip_option(endpoint_->ip, family(), false, connected, level, name, value);
}

Result<void> RawSocket::set_own_option(const Caller&, int level, int name, std::span<const std::byte> value) {
  if (level == abi::kSOL_SOCKET) return Errno::NOPROTOOPT;
  if (is_filter(level, name)) {
    std::array<u32, IcmpFilter::kWords> words{};
    memcpy(words.data(), value.data(), std::min(value.size(), v4() ? sizeof(u32) : sizeof words));
    for (size_t i = 0; i < words.size(); i++) user_.filter.words[i] = words[i];
    return {};
  }
  if (level == abi::kIPPROTO_IP && name == abi::kIP_HDRINCL && v4() && !user_.echoes) {
    headers_included_ = TRY(take_option(value)) != 0;
    return {};
  }
  if (level == abi::kIPPROTO_IPV6 && name == abi::kIPV6_CHECKSUM && !v4()) {
    s32 offset = TRY(take_option(value));
    if (protocol() == abi::kIPPROTO_ICMPV6 || (offset > 0 && offset % 2 != 0)) return Errno::INVAL;
    checksum_offset_ = std::max(offset, -1);
    return {};
  }
  return set_ip_option(endpoint_->ip, options(), family(), false, false, level, name, value);
}

}  // namespace

Result<Ref<Socket>> make_raw_socket(const Caller& caller, int family, int type, int protocol, u32 flags) {
  if (type == abi::kSOCK_DGRAM) {
    if (protocol != icmp_protocol(family == abi::kAF_INET)) return Errno::PROTONOSUPPORT;
  } else {
    if (protocol == 0) return Errno::PROTONOSUPPORT;
    if (!caller.has(abi::kCAP_NET_RAW)) return Errno::PERM;
  }
  auto endpoint = TRY(make_ref<UdpEndpoint>());
  return Ref<Socket>(
      TRY(make_ref<RawSocket>(family, type, protocol, caller.identity.uid, std::move(endpoint), flags)));
}

}  // namespace teacup::net
