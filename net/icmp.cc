#include "net/icmp.h"

#include "kernel/base/memory.h"

namespace teacup::net {

void InternetChecksum::add(std::span<const std::byte> bytes) {
  for (size_t i = 0; i < bytes.size(); i += 2) {
    u32 low = i + 1 < bytes.size() ? static_cast<u32>(bytes[i + 1]) : 0;
    sum_ += static_cast<u32>(bytes[i]) << 8 | low;
  }
}

void InternetChecksum::store(u8* at) const {
  u64 sum = sum_;
  while (sum >> 16 != 0) sum = (sum >> 16) + (sum & 0xffff);
  sum = ~sum;
  at[0] = static_cast<u8>(sum >> 8);
  at[1] = static_cast<u8>(sum);
}

void set_checksum(std::span<std::byte> message, size_t offset, const IpAddress& from, const IpAddress& to,
                  u8 protocol) {
  if (offset + 2 > message.size()) return;
  u8* at = reinterpret_cast<u8*>(message.data()) + offset;
  at[0] = at[1] = 0;
  InternetChecksum sum;
  sum.add(message);
  if (!to.is_v4()) {
    sum.add(std::as_bytes(std::span(from.bytes)));
    sum.add(std::as_bytes(std::span(to.bytes)));
    sum.add_number(static_cast<u32>(message.size()));
    sum.add_number(protocol);
  }
  sum.store(at);
}

}  // namespace teacup::net
