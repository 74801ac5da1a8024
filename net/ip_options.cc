#include "net/ip_options.h"

#include "kernel/abi/process.h"
#include "kernel/base/memory.h"
#include "net/interfaces.h"

namespace teacup::net {

namespace {
constexpr s32 kMtu = 65536;           // lo's
constexpr u16 kFirstFreePort = 1024;  // net.ipv4.ip_unprivileged_port_start
}  // namespace

Result<IpName> name_to_bind(const Caller& caller, const Address& address, int family,
                            const IpOptions& options, bool of_many) {
  IpName name = TRY(ip_name_from(address, family));
  const IpAddress& wanted = name.address;
  if (family == abi::kAF_INET6 && wanted.is_v4() && options.v6_only()) return Errno::INVAL;
  bool usable = wanted.is_any() || is_own_address(wanted) || options.may_bind_anywhere() ||
                (of_many && (wanted.is_multicast() || wanted.is_broadcast()));
  if (!usable) return Errno::ADDRNOTAVAIL;
  if (name.port != 0 && name.port < kFirstFreePort && !caller.has(abi::kCAP_NET_BIND_SERVICE))
    return Errno::ACCES;
  return name;
}

Result<s32> interface_named(std::span<const std::byte> value) {
  if (value.size() < 4) return Errno::INVAL;
  s32 index = 0;
  if (value.size() >= 8) memcpy(&index, value.data() + 4, sizeof index);
  if (index != 0) return find_interface(index) != nullptr ? Result<s32>(index) : Result<s32>(Errno::NODEV);
  IpAddress address = IpAddress::v4(reinterpret_cast<const u8*>(value.data()));
  if (address.is_any()) return 0;
  return is_own_address(address) ? Result<s32>(interface_of(address)) : Result<s32>(Errno::NODEV);
}

Result<s32> option_number(std::span<const std::byte> value, bool short_too) {
  if (short_too && !value.empty() && value.size() < sizeof(s32)) return static_cast<s32>(value[0]);
  return take_option(value);
}

size_t give_number(std::span<std::byte> into, s32 value, bool short_too) {
  if (short_too && !into.empty() && into.size() < sizeof value && value >= 0 && value <= 255) {
    into[0] = static_cast<std::byte>(value);
    return 1;
  }
  return give_option(into, value);
}

Result<size_t> get_ip_option(const IpOptions& options, int family, bool stream, bool connected, int level,
                             int name, std::span<std::byte> value) {
  if (level != abi::kIPPROTO_IP && family != abi::kAF_INET6) return Errno::NOTSUP;
  bool mtu = (level == abi::kIPPROTO_IP && name == abi::kIP_MTU) ||
             (level == abi::kIPPROTO_IPV6 && name == abi::kIPV6_MTU);
  if (mtu) {
    if (!connected) return Errno::NOTCONN;
    return give_option(value, kMtu);
  }
  if (level == abi::kIPPROTO_IP) {
    if (name == abi::kIP_OPTIONS) return size_t{0};
    if (name == abi::kIP_MULTICAST_IF) {
      std::array<u8, 4> from;
      memcpy(from.data(), options.multicast_from.v4_bytes(), from.size());
      return give_option(value, from);
    }
    bool multicast_only = name == abi::kIP_MULTICAST_TTL || name == abi::kIP_MULTICAST_LOOP;
    if (multicast_only && stream) return give_option(value, s32{1});
  }
  return options.stored.give(level, name, value);
}

namespace {

// What SO_PRIORITY becomes when a type of service is chosen (tc-prio(8)).
s32 priority_of_service(s32 tos) {
  constexpr s32 kOfFourths[] = {0, 2, 6, 4};  // best effort, bulk, interactive, interactive bulk
  return kOfFourths[tos >> 3 & 3];
}

Result<void> set_type_of_service(IpOptions& options, SocketOptions& socket, bool stream,
                                 std::span<const std::byte> value) {
  s32 number = TRY(option_number(value, true));
  s32 before = options.stored.get(abi::kIPPROTO_IP, abi::kIP_TOS);
  // A stream's two bits of congestion are its own business.
  if (stream && number >= 0) number = (number & ~3) | (before & 3);
  TRY(options.stored.set(abi::kIPPROTO_IP, abi::kIP_TOS, std::as_bytes(std::span(&number, 1))));
  if (number != before) socket.priority = priority_of_service(number);
  return {};
}

}  // namespace

Result<void> set_ip_option(IpOptions& options, SocketOptions& socket, int family, bool stream, bool bound,
                           int level, int name, std::span<const std::byte> value) {
  if (level != abi::kIPPROTO_IP && family != abi::kAF_INET6) return Errno::NOPROTOOPT;
  if (level == abi::kIPPROTO_IP) {
    if (name == abi::kIP_OPTIONS) return value.size() > 40 ? Result<void>(Errno::INVAL) : Result<void>{};
    if (name == abi::kIP_TTL && option_number(value, true).ok() && option_number(value, true).value() == -1) {
      s32 usual = 64;
      return options.stored.set(level, name, std::as_bytes(std::span(&usual, 1)));
    }
    bool multicast =
        name == abi::kIP_MULTICAST_TTL || name == abi::kIP_MULTICAST_LOOP || name == abi::kIP_MULTICAST_IF;
    if (multicast && stream) return Errno::INVAL;
    if (name == abi::kIP_MULTICAST_IF) {
      // An address, an ip_mreq or an ip_mreqn: the address is the first or the second word.
      std::span<const std::byte> named = value.subspan(value.size() >= 8 ? 4 : 0);
      auto interface = interface_named(named);
      if (interface.is(Errno::NODEV)) return Errno::ADDRNOTAVAIL;
      options.multicast_interface = TRY(std::move(interface));
      options.multicast_from = IpAddress::v4(reinterpret_cast<const u8*>(named.data()));
      return {};
    }
  } else {
    if (name == abi::kIPV6_V6ONLY && bound) return Errno::INVAL;
    if (name == abi::kIPV6_MULTICAST_HOPS && stream) return Errno::NOPROTOOPT;
  }
  if (level == abi::kIPPROTO_IP && name == abi::kIP_TOS)
    return set_type_of_service(options, socket, stream, value);
  if (name == abi::kIPV6_TCLASS && level == abi::kIPPROTO_IPV6 && stream) {
    s32 number = TRY(option_number(value, false));
    if (number >= 0) number &= ~3;
    return options.stored.set(level, name, std::as_bytes(std::span(&number, 1)));
  }
  return options.stored.set(level, name, value);
}

}  // namespace teacup::net
