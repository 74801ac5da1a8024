#include "net/tcp_options.h"

namespace teacup::net {

namespace {

constexpr std::string_view kCongestionNames[] = {"cubic", "reno"};
constexpr size_t kCongestionName = 16;  // TCP_CA_NAME_MAX
// Of lo, whose packets have 65536 bytes.
constexpr s32 kSegmentV4 = 32741, kSegmentV6 = 32732, kDefaultSegment = 536;

}  // namespace

TcpInfo tcp_info(const TcpFigures& figures) {
  TcpInfo info{};
  info.state = figures.state;
  info.snd_cwnd = 10;
  info.reordering = 3;
  if (figures.state == abi::kTCP_LISTEN) {
    info.unacked = figures.waiting;
    info.sacked = figures.backlog;
    return info;
  }
  info.options = 7;           // timestamps, SACK, window scaling
  info.window_scales = 0x77;  // 7 both ways
  info.rto = 201'000;         // us
  info.ato = 40'000;
  info.snd_mss = info.advmss = static_cast<u32>(figures.segment);
  info.rcv_mss = kDefaultSegment;
  info.pmtu = 65535;
  info.rcv_ssthresh = 65483;
  info.rtt = info.min_rtt = 20;
  info.rttvar = 10;
  info.snd_ssthresh = 0x7fffffff;
  info.rcv_space = 65483;
  info.bytes_sent = figures.sent;
  info.bytes_acked = figures.acknowledged;
  info.bytes_received = figures.received;
  return info;
}

std::string_view congestion_name(u8 congestion) {
  return kCongestionNames[congestion];
}

s32 segment_size(const TcpOptions& options, bool live, bool v4) {
  s32 segment = !live ? kDefaultSegment : v4 ? kSegmentV4 : kSegmentV6;
  s32 set = options.segment;
  return set != 0 && set < segment ? set : segment;
}

Result<size_t> get_tcp_option(const TcpOptions& options, const TcpFigures& figures, int name,
                              std::span<std::byte> value) {
  switch (name) {
    case abi::kTCP_MAXSEG:
      return give_option(value, figures.segment);
    case abi::kTCP_INFO:
      return std::min(value.size(), give_option(value, tcp_info(figures)));
    case abi::kTCP_CONGESTION: {
      std::array<char, kCongestionName> text{};
      std::string_view known = congestion_name(options.congestion);
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
