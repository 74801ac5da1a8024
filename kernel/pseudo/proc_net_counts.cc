// /proc/net/sockstat, sockstat6 and snmp: how many sockets there are. What would count packets is 0, for
// there are none.
#include "kernel/pseudo/proc_net.h"
#include "net/ports.h"
#include "net/raw_table.h"
#include "net/unix.h"

namespace teacup::pseudo {

namespace {

struct Counts {
  u64 v4 = 0, v6 = 0, established = 0;
  u64 both() const { return v4 + v6; }
};

Counts count(net::PortTable& ports) {
  Counts counts;
  ports.visit_owners([&](const net::Claim& claim, const net::PortInfo& info) {
    (claim.family == abi::kAF_INET6 ? counts.v6 : counts.v4)++;
    if (info.state == abi::kTCP_ESTABLISHED || info.state == abi::kTCP_CLOSE_WAIT) counts.established++;
  });
  return counts;
}

Counts count_raw() {
  Counts counts;
  net::raw_table().visit([&](const net::RawUser& user) {
    if (!user.echoes) (user.family == abi::kAF_INET6 ? counts.v6 : counts.v4)++;
  });
  return counts;
}

u64 count_unix() {
  u64 sockets = 0;
  net::visit_unix_sockets([&](const net::UnixInfo&) { sockets++; });
  return sockets;
}

}  // namespace

Result<void> show_sockstat(TextBuffer& out, const Subject&) {
  Counts tcp = count(net::tcp_ports()), udp = count(net::udp_ports()), lite = count(net::udplite_ports());
  Counts raw = count_raw();
  u64 all = tcp.both() + udp.both() + lite.both() + raw.both() + count_unix();
  out.add("sockets: used ").udec(all).add("\nTCP: inuse ").udec(tcp.v4).add(" orphan 0 tw 0 alloc ");
  out.udec(tcp.both()).add(" mem 0\nUDP: inuse ").udec(udp.v4).add(" mem 0\nUDPLITE: inuse ").udec(lite.v4);
  out.add("\nRAW: inuse ").udec(raw.v4).add("\nFRAG: inuse 0 memory 0\n");
  return {};
}

Result<void> show_sockstat6(TextBuffer& out, const Subject&) {
  out.add("TCP6: inuse ").udec(count(net::tcp_ports()).v6).add("\nUDP6: inuse ");
  out.udec(count(net::udp_ports()).v6).add("\nUDPLITE6: inuse ").udec(count(net::udplite_ports()).v6);
  out.add("\nRAW6: inuse ").udec(count_raw().v6).add("\nFRAG6: inuse 0 memory 0\n");
  return {};
}

Result<void> show_snmp(TextBuffer& out, const Subject&) {
  constexpr const char* kUdpFields =
      "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti "
      "MemErrors\n";
  out.add(
      "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos "
      "InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs "
      "ReasmFails FragOKs FragFails FragCreates OutTransmits\n"
      "Ip: 2 64 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
      "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets "
      "CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n"
      "Tcp: 1 200 120000 -1 0 0 0 0 ");
  out.udec(count(net::tcp_ports()).established).add(" 0 0 0 0 0 0\n");
  out.add("Udp: ").add(kUdpFields).add("Udp: 0 0 0 0 0 0 0 0 0\n");
  out.add("UdpLite: ").add(kUdpFields).add("UdpLite: 0 0 0 0 0 0 0 0 0\n");
  return {};
}

}  // namespace teacup::pseudo
