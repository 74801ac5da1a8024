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

// What a connection has done so far; of a listener, its state and its queue.
struct TcpFigures {
  u8 state = abi::kTCP_CLOSE;
  s32 segment = 0;                               // bytes of data in one
  u64 sent = 0, acknowledged = 0, received = 0;  // bytes
  u32 waiting = 0, backlog = 0;                  // connections
};

// struct tcp_info (linux/tcp.h); where segments and time-outs would be counted, it has what a quick and
// undisturbed network would show, or nothing.
struct TcpInfo {
  u8 state, ca_state, retransmits, probes, backoff, options, window_scales, flags;
  u32 rto, ato, snd_mss, rcv_mss;
  u32 unacked, sacked, lost, retrans, fackets;
  u32 last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
  u32 pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
  u32 rcv_rtt, rcv_space, total_retrans;
  u64 pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
  u32 segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out;
  u64 delivery_rate, busy_time, rwnd_limited, sndbuf_limited;
  u32 delivered, delivered_ce;
  u64 bytes_sent, bytes_retrans;
  u32 dsack_dups, reord_seen, rcv_ooopack, snd_wnd;
  u64 more[2];
};
static_assert(sizeof(TcpInfo) == 248);
TcpInfo tcp_info(const TcpFigures& figures);
std::string_view congestion_name(u8 congestion);

// The bytes of data in a segment. `live`: there is a connection.
s32 segment_size(const TcpOptions& options, bool live, bool v4);
Result<size_t> get_tcp_option(const TcpOptions& options, const TcpFigures& figures, int name,
                              std::span<std::byte> value);
Result<void> set_tcp_option(TcpOptions& options, int name, std::span<const std::byte> value);

}  // namespace teacup::net
