#include "net/tcp_options.h"

namespace teacup::net {

namespace {

constexpr std::string_view kCongestionNames[] = {"cubic", "reno"};
constexpr size_t kCongestionName = 16;  // TCP_CA_NAME_MAX
// Of lo, whose packets have 65536 bytes.
constexpr s32 kSegmentV4 = 32741, kSegmentV6 = 32732, kDefaultSegment = 536;

// struct tcp_info's first part (linux/tcp.h); what follows are counters of segments.
struct TcpInfo {
  u8 state, ca_state, retransmits, probes, backoff, options, window_scales, flags;
  u32 rto, ato, snd_mss, rcv_mss;
  u32 unacked, sacked, lost, retrans, fackets;
  u32 last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
  u32 pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
  u32 rcv_rtt, rcv_space, total_retrans;
  u64 more[18];
};
static_assert(sizeof(TcpInfo) == 248);

TcpInfo describe(u8 state, s32 segment) {
  TcpInfo info{};
  info.state = state;
  info.options = 7;           // timestamps, SACK, window scaling
  info.window_scales = 0x77;  // 7 both ways
  info.rto = 201'000;         // us
  info.ato = 40'000;
  info.snd_mss = info.advmss = static_cast<u32>(segment);
  info.rcv_mss = kDefaultSegment;
  info.pmtu = 65535;
  info.rcv_ssthresh = 65483;
  info.rtt = 20;
  info.rttvar = 10;
  info.snd_ssthresh = 0x7fffffff;
  info.snd_cwnd = 10;
  info.reordering = 3;
  info.rcv_space = 65483;
  return info;
}

}  // namespace

Result<size_t> get_tcp_option(const TcpOptions& options, u8 state, bool v4, int name,
                              std::span<std::byte> value) {
  bool live = state != abi::kTCP_CLOSE && state != abi::kTCP_LISTEN;
  s32 segment = !live ? kDefaultSegment : v4 ? kSegmentV4 : kSegmentV6;
  if (s32 set = options.segment; set != 0 && set < segment) segment = set;
  switch (name) {
    case abi::kTCP_MAXSEG:
      return give_option(value, segment);
    case abi::kTCP_INFO:
      return std::min(value.size(), give_option(value, describe(state, segment)));
    case abi::kTCP_CONGESTION: {
      std::array<char, kCongestionName> text{};
      std::string_view known = kCongestionNames[options.congestion.get()];
      memcpy(text.data(), known.data(), known.size());
      return give_option(value, text);
    }
  }
  return options.stored.give(abi::kIPPROTO_TCP, name, value);
}

Result<void> set_tcp_option(TcpOptions& options, int name, std::span<const std::byte> value) {
  if (name == abi::kTCP_CONGESTION) {
    std::string_view wanted(reinterpret_cast<const char*>(value.data()), value.size());
    wanted = wanted.substr(0, wanted.find('\0'));
    for (size_t i = 0; i < std::size(kCongestionNames); i++) {
      if (kCongestionNames[i] != wanted) continue;
      options.congestion = static_cast<u8>(i);
      return {};
    }
    return Errno::NOENT;
  }
  if (name == abi::kTCP_MAXSEG) {
    s32 segment = TRY(take_option(value));
    if (segment != 0 && (segment < 88 || segment > 32767)) return Errno::INVAL;
    options.segment = segment;
    return {};
  }
  return options.stored.set(abi::kIPPROTO_TCP, name, value);
}

}  // namespace teacup::net
