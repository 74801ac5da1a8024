// /proc/net: the machine's sockets and its one interface (proc_net(5)), for whoever does not ask by netlink.
#include "kernel/pseudo/proc_net.h"

#include <algorithm>

#include "net/ports.h"
#include "net/raw_table.h"
#include "net/unix.h"

namespace teacup::pseudo {

namespace {

constexpr u32 kFile = abi::kS_IFREG | 0444;

template <const char* text>
Result<void> show_constant(TextBuffer& out, const Subject&) {
  out.add(text);
  return {};
}

constexpr char kDevices[] =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls "
    "carrier compressed\n"
    "    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0 "
    "      0          0\n";
constexpr char kRoutes[] =
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
constexpr char kAddresses6[] = "00000000000000000000000000000001 01 80 10 80       lo\n";
constexpr char kNeighbours[] =
    "IP address       HW type     Flags       HW address            Mask     Device\n";
constexpr char kPackets[] = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n";
constexpr char kNetlinks[] =
    "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n";
constexpr char kTcpHead[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
constexpr char kTcp6Head[] =
    "  sl  local_address                         remote_address                        st tx_queue rx_queue "
    "tr "
    "tm->when retrnsmt   uid  timeout inode\n";
constexpr char kUdpHead[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref "
    "pointer drops\n";
constexpr char kUdp6Head[] =
    "  sl  local_address                         remote_address                        st tx_queue rx_queue "
    "tr "
    "tm->when retrnsmt   uid  timeout inode ref pointer drops\n";

// Words of four bytes in network order, shown as the processor reads them.
void show_name(TextBuffer& out, const net::IpName& name, bool v6) {
  const u8* bytes = v6 ? name.address.bytes : name.address.v4_bytes();
  for (u32 word = 0; word < (v6 ? 4u : 1u); word++) {
    for (u32 i = 4; i-- > 0;) out.hex(bytes[4 * word + i] >> 4).hex(bytes[4 * word + i] & 15);
  }
  out.add(':').hex(name.port, 4);
}

// Hexadecimal digits are capitals in these files.
class Capitals {
 public:
  explicit Capitals(TextBuffer& out) : out_(out) {}
  void add(std::string_view text) {
    for (char c : text) out_.add(c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c);
  }

 private:
  TextBuffer& out_;
};

void show_internet(TextBuffer& out, net::PortTable& ports, bool v6, bool streams) {
  u32 line = 0;
  ports.visit_owners([&](const net::Claim& claim, const net::PortInfo& info) {
    if ((claim.family == abi::kAF_INET6) != v6) return;
    char storage[160];
    TextBuffer names(storage);
    net::IpName nobody{net::IpAddress::any(claim.family), 0, 0};
    show_name(names, claim.name, v6);
    names.add(' ');
    show_name(names, claim.has_remote ? claim.remote : nobody, v6);
    names.add(' ').hex(info.state, 2).add(' ').hex(info.outgoing, 8).add(':').hex(info.waiting, 8);
    out.udec(line++, streams ? 4 : 5).add(": ");
    Capitals(out).add(names.text());
    out.add(" 00:00000000 00000000 ").udec(info.uid, 5).add("        0 ").udec(info.inode);
    out.add(streams ? " 1 0000000000000000 20 4 30 10 -1\n" : " 2 0000000000000000 0\n");
  });
}

template <bool v6>
Result<void> show_tcp(TextBuffer& out, const Subject&) {
  out.add(v6 ? kTcp6Head : kTcpHead);
  show_internet(out, net::tcp_ports(), v6, true);
  return {};
}
template <bool v6>
Result<void> show_udp(TextBuffer& out, const Subject&) {
  out.add(v6 ? kUdp6Head : kUdpHead);
  show_internet(out, net::udp_ports(), v6, false);
  return {};
}
template <bool v6>
Result<void> show_udplite(TextBuffer& out, const Subject&) {
  out.add(v6 ? kUdp6Head : kUdpHead);
  show_internet(out, net::udplite_ports(), v6, false);
  return {};
}

// Raw sockets, or echo sockets; a protocol or an identifier stands for the port.
template <bool v6, bool echoes>
Result<void> show_raw(TextBuffer& out, const Subject&) {
  out.add(v6 ? kUdp6Head : kUdpHead);
  net::raw_table().visit([&](const net::RawUser& user) {
    if ((user.family == abi::kAF_INET6) != v6 || user.echoes != echoes) return;
    u16 port = echoes ? user.identifier : static_cast<u16>(user.protocol);
    char storage[160];
    TextBuffer names(storage);
    show_name(names, {user.local, port, 0}, v6);
    names.add(' ');
    show_name(names, {user.remote, 0, 0}, v6);
    names.add(" 07 00000000:").hex(user.endpoint->queued(), 8);
    out.udec(port, 5).add(": ");
    Capitals(out).add(names.text());
    out.add(" 00:00000000 00000000 ").udec(user.uid, 5).add("        0 ").udec(user.inode);
    out.add(" 2 0000000000000000 0\n");
  });
  return {};
}

// The multicast groups of lo, each with how many sockets are in it; the latest ones first, as it happens on
// Linux, and those that every interface is in last.
struct Groups {
  static constexpr size_t kMost = 64;
  net::IpAddress addresses[kMost];
  u32 users[kMost];
  size_t count = 0;

  void add(const net::IpAddress& group) {
    size_t at = static_cast<size_t>(std::find(addresses, addresses + count, group) - addresses);
    if (at == kMost) return;
    if (at == count) {
      addresses[count] = group;
      users[count++] = 0;
    }
    users[at]++;
  }
};

void find_groups(Groups& groups, bool v6) {
  net::udp_ports().visit_groups([&](const net::IpAddress& group) {
    if (group.is_v4() != v6) groups.add(group);
  });
}

Result<void> show_igmp(TextBuffer& out, const Subject&) {
  Groups groups;
  find_groups(groups, false);
  constexpr u8 kAllHosts[4] = {224, 0, 0, 1};
  groups.add(net::IpAddress::v4(kAllHosts));
  out.add("Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n");
  out.add("1\tlo        : ").udec(groups.count, 5).add("      V3\n");
  for (size_t i = 0; i < groups.count; i++) {
    out.add("\t\t\t\t");
    for (int byte = 15; byte >= 12; byte--) {
      char storage[4];
      TextBuffer text(storage);
      text.hex(groups.addresses[i].bytes[byte], 2);
      Capitals(out).add(text.text());
    }
    out.add(' ').udec(groups.users[i], 5).add(" 0:00000000\t\t0\n");
  }
  return {};
}

Result<void> show_igmp6(TextBuffer& out, const Subject&) {
  Groups groups;
  find_groups(groups, true);
  auto show = [&](std::string_view group, u32 users, std::string_view flags) {
    out.add("1    lo              ").add(group).add(' ').udec(users, 5).add(' ').add(flags).add(" 0\n");
  };
  for (size_t i = 0; i < groups.count; i++) {
    char storage[40];
    TextBuffer text(storage);
    for (u8 byte : groups.addresses[i].bytes) text.hex(byte, 2);
    show(text.text(), groups.users[i], "00000004");
  }
  show("ff020000000000000000000000000001", 1, "0000000C");
  show("ff010000000000000000000000000001", 1, "00000008");
  return {};
}

Result<void> show_unix(TextBuffer& out, const Subject&) {
  out.add("Num       RefCount Protocol Flags    Type St Inode Path\n");
  net::visit_unix_sockets([&](const net::UnixInfo& info) {
    out.add("0000000000000000: 00000002 00000000 ").add(info.listening ? "00010000 " : "00000000 ");
    out.hex(static_cast<u32>(info.type), 4).add(info.connected ? " 03 " : " 01 ").udec(info.inode, 5);
    std::string_view name(info.name, info.name_length);
    // A path ends at its NUL; an abstract name begins with one, and may hold more.
    if (!name.empty() && name[0] != '\0') name = name.substr(0, name.find('\0'));
    if (!name.empty()) out.add(' ');
    for (char c : name) out.add(c == '\0' ? '@' : c);
    out.add('\n');
  });
  return {};
}

}  // namespace

constinit const Node kNetNodes[] = {{"arp", kFile, &show_constant<kNeighbours>},
                                    {"dev", kFile, &show_constant<kDevices>},
                                    {"icmp", kFile, &show_raw<false, true>},
                                    {"icmp6", kFile, &show_raw<true, true>},
                                    {"if_inet6", kFile, &show_constant<kAddresses6>},
                                    {"igmp", kFile, &show_igmp},
                                    {"igmp6", kFile, &show_igmp6},
                                    {"netlink", kFile, &show_constant<kNetlinks>},
                                    {"packet", kFile, &show_constant<kPackets>},
                                    {"raw", kFile, &show_raw<false, false>},
                                    {"raw6", kFile, &show_raw<true, false>},
                                    {"route", kFile, &show_constant<kRoutes>},
                                    {"snmp", kFile, &show_snmp},
                                    {"sockstat", kFile, &show_sockstat},
                                    {"sockstat6", kFile, &show_sockstat6},
                                    {"tcp", kFile, &show_tcp<false>},
                                    {"tcp6", kFile, &show_tcp<true>},
                                    {"udp", kFile, &show_udp<false>},
                                    {"udp6", kFile, &show_udp<true>},
                                    {"udplite", kFile, &show_udplite<false>},
                                    {"udplite6", kFile, &show_udplite<true>},
                                    {"unix", kFile, &show_unix},
                                    {nullptr, 0}};

}  // namespace teacup::pseudo
