// The options of SOL_SOCKET (socket(7)): values that are set and asked for, and used by whoever they concern.
#pragma once

#include <atomic>

#include "kernel/abi/net.h"
#include "kernel/base/types.h"

namespace teacup::net {

inline constexpr u64 kDefaultBuffer = 212992;     // net.core.wmem_default
inline constexpr u64 kSmallestSendBuffer = 4608;  // SOCK_MIN_SNDBUF
inline constexpr u64 kSmallestReceiveBuffer = 2304;
inline constexpr u64 kLargestBuffer = 2 * 212992;  // twice net.core.wmem_max

// A value that any task may read while another sets it.
template <typename T>
class Setting {
 public:
  constexpr Setting(T value = T{}) : value_(value) {}
  Setting(const Setting& other) : value_(T(other)) {}
  Setting& operator=(const Setting& other) { return *this = T(other); }
  Setting& operator=(T value) {
    value_.store(value, std::memory_order_relaxed);
    return *this;
  }
  T get() const { return value_.load(std::memory_order_relaxed); }
  operator T() const { return get(); }

 private:
  std::atomic<T> value_;
};

struct SocketOptions {
  Setting<bool> reuse_address, reuse_port, keep_alive, broadcast, out_of_band_inline, pass_credentials;
  Setting<bool> debug, dont_route, no_check, zero_copy, overflow_count, busy_poll;
  // SO_TIMESTAMP: 0, or the type of the control message.
  Setting<s32> timestamp;
  Setting<s32> priority, mark, incoming_cpu{-1};
  Setting<s32> peek_offset{-1};
  Setting<s32> receive_low_water{1};
  Setting<bool> linger;
  Setting<s32> linger_seconds;
  Setting<u64> receive_timeout, send_timeout;  // ns; 0: none
  Setting<u64> send_buffer{kDefaultBuffer}, receive_buffer{kDefaultBuffer};
  // Set by the program: no longer tuned by the kernel.
  Setting<bool> send_buffer_fixed, receive_buffer_fixed;
  Setting<s32> bound_interface;  // SO_BINDTODEVICE; 0: none
};

}  // namespace teacup::net
