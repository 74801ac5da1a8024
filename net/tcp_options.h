// The options of the level IPPROTO_TCP (tcp(7)).
#pragma once

#include "net/stored_options.h"

namespace teacup::net {

inline constexpr s32 kLargestOption = 0x7fffffff;

struct TcpOptionTable {
  static constexpr StoredOption entries[] = {
      {abi::kIPPROTO_TCP, abi::kTCP_NODELAY, 0, 0, 1, true},
      {abi::kIPPROTO_TCP, abi::kTCP_CORK, 0, 0, 1, true},
      {abi::kIPPROTO_TCP, abi::kTCP_KEEPIDLE, 7200, 1, 32767},
      {abi::kIPPROTO_TCP, abi::kTCP_KEEPINTVL, 75, 1, 32767},
      {abi::kIPPROTO_TCP, abi::kTCP_KEEPCNT, 9, 1, 127},
      {abi::kIPPROTO_TCP, abi::kTCP_SYNCNT, 6, 1, 127},
      {abi::kIPPROTO_TCP, abi::kTCP_LINGER2, 60, -kLargestOption, kLargestOption},
      {abi::kIPPROTO_TCP, abi::kTCP_DEFER_ACCEPT, 0, 0, kLargestOption},
      {abi::kIPPROTO_TCP, abi::kTCP_WINDOW_CLAMP, 0, 0, kLargestOption},
      {abi::kIPPROTO_TCP, abi::kTCP_QUICKACK, 1, 0, 1, true},
      {abi::kIPPROTO_TCP, abi::kTCP_THIN_LINEAR_TIMEOUTS, 0, 0, 1},
      {abi::kIPPROTO_TCP, abi::kTCP_USER_TIMEOUT, 0, 0, kLargestOption},
      {abi::kIPPROTO_TCP, abi::kTCP_TIMESTAMP, 0, -kLargestOption, kLargestOption},
      {abi::kIPPROTO_TCP, abi::kTCP_NOTSENT_LOWAT, 0, -1, kLargestOption},
      {abi::kIPPROTO_TCP, abi::kTCP_FASTOPEN, 0, 0, kLargestOption},
      {abi::kIPPROTO_TCP, abi::kTCP_INQ, 0, 0, 1},
  };
};
using TcpStoredOptions = StoredOptions<TcpOptionTable>;

struct TcpOptions {
  TcpStoredOptions stored;
  Setting<s32> segment;  // TCP_MAXSEG; 0: not set
  // TCP_CONGESTION: there is nothing to be congested, so it is a name only.
  Setting<u8> congestion;  // index into the names
};

Result<size_t> get_tcp_option(const TcpOptions& options, u8 state, bool v4, int name,
                              std::span<std::byte> value);
Result<void> set_tcp_option(TcpOptions& options, int name, std::span<const std::byte> value);

}  // namespace teacup::net
