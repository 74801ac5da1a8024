// Messages of ICMP and ICMPv6 (RFC 792, RFC 4443), as far as echoes go.
#pragma once

#include <span>

#include "net/ip_address.h"

namespace teacup::net {

struct EchoHeader {
  u8 type, code;
  u8 checksum[2], identifier[2], sequence[2];  // network order
};
static_assert(sizeof(EchoHeader) == 8);

inline constexpr u8 kEchoRequest = 8, kEchoReply = 0;
inline constexpr u8 kEchoRequestV6 = 128, kEchoReplyV6 = 129;

inline u8 echo_request_type(bool v4) {
  return v4 ? kEchoRequest : kEchoRequestV6;
}
inline u8 echo_reply_type(bool v4) {
  return v4 ? kEchoReply : kEchoReplyV6;
}
inline u16 icmp_protocol(bool v4) {
  return v4 ? abi::kIPPROTO_ICMP : abi::kIPPROTO_ICMPV6;
}

// The sum of 16-bit words in ones' complement that IP's protocols use (RFC 1071), in network order.
class InternetChecksum {
 public:
  void add(std::span<const std::byte> bytes);
  void add_number(u32 value) { sum_ += (value >> 16) + (value & 0xffff); }
  void store(u8* at) const;

 private:
  u64 sum_ = 0;
};

// Sets the checksum, at `offset` of a message; that of ICMPv6 and of IPv6's other protocols covers the
// addresses too.
void set_checksum(std::span<std::byte> message, size_t offset, const IpAddress& from, const IpAddress& to,
                  u8 protocol);

}  // namespace teacup::net
