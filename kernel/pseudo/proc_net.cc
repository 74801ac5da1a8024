// /proc/net: the machine's sockets and its interfaces (proc_net(5)), for whoever does not ask by netlink.
#include "kernel/pseudo/proc_net.h"

#include <algorithm>

#include "net/ports.h"
#include "net/raw_table.h"
#include "net/rtnetlink.h"
#include "net/unix.h"

namespace teacup::pseudo {

namespace {

constexpr u32 kFile = abi::kS_IFREG | 0444;

template <const char* text>
Result<void> show_constant(TextBuffer& out, const Subject&) {
  out.add(text);
  return {};
}

constexpr char kDevicesHead[] =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls "
    "carrier compressed\n";
constexpr char kRoutes[] =
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
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

// A word of four bytes in network order, as the processor reads it.
void show_word(TextBuffer& out, const u8* bytes) {
  for (u32 i = 4; i-- > 0;) {
    for (u32 digit : {bytes[i] >> 4, bytes[i] & 15})
      out.add(static_cast<char>(digit < 10 ? '0' + digit : 'A' + digit - 10));
  }
}

void show_padded(TextBuffer& out, std::string_view text, size_t width) {
  for (size_t i = text.size(); i < width; i++) out.add(' ');
  out.add(text);
}

// Nothing is counted, for there are no packets.
Result<void> show_devices(TextBuffer& out, const Subject&) {
  out.add(kDevicesHead);
  for (const net::Interface& interface : net::interfaces()) {
    show_padded(out, interface.name, 6);
    out.add(
        ":       0       0    0    0    0     0          0         0        0       0    0    0    0     0");
    out.add("       0          0\n");
  }
  return {};
}

// Those of the table "main", as route(8) shows them.
Result<void> show_routes(TextBuffer& out, const Subject&) {
  constexpr u32 kLine = 127, kRouteUp = 1, kByGateway = 2;
  out.add(kRoutes);
  net::RouteTable table;
  for (const net::Route& route : net::routes(table)) {
    if (route.family != abi::kAF_INET || route.table != abi::kRT_TABLE_MAIN) continue;
    size_t start = out.text().size();
    constexpr u8 kNone[4] = {};
    u8 mask[4];
    net::Interface net{};
    net.v4_bits = route.bits;
    net.v4_mask(mask);
    out.add(net::find_interface(route.interface)->name).add('\t');
    show_word(out, route.to.v4_bytes());
    out.add('\t');
    show_word(out, route.by_neighbour ? net::neighbour(abi::kAF_INET).v4_bytes() : kNone);
    out.add('\t').hex(kRouteUp | (route.by_neighbour ? kByGateway : 0), 4).add("\t0\t0\t0\t");
    show_word(out, mask);
    out.add("\t0\t0\t0");
    while (out.text().size() < start + kLine) out.add(' ');
    out.add('\n');
  }
  return {};
}

Result<void> show_addresses6(TextBuffer& out, const Subject&) {
  for (const net::Interface& interface : net::interfaces()) {
    if (!interface.is_up()) continue;
    for (u8 byte : interface.v6) out.hex(byte, 2);
    out.add(' ').hex(static_cast<u64>(interface.index), 2).add(' ').hex(interface.v6_bits, 2);
    out.add(interface.is_loopback() ? " 10 80 " : " 00 80 ");
    show_padded(out, interface.name, 8);
    out.add('\n');
  }
  return {};
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

// The multicast groups of an interface, each with how many sockets are in it; the latest ones first, as it
// happens on Linux, and those that every interface is in last.
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

void find_groups(Groups& groups, const net::Interface& of, bool v6) {
  net::udp_ports().visit_groups([&](const net::Group& group) {
    if (group.interface == of.index && group.address.is_v4() != v6) groups.add(group.address);
  });
}

Result<void> show_igmp(TextBuffer& out, const Subject&) {
  out.add("Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n");
  for (const net::Interface& interface : net::interfaces()) {
    Groups groups;
    find_groups(groups, interface, false);
    groups.add(net::IpAddress::v4(224, 0, 0, 1));
    out.udec(static_cast<u64>(interface.index)).add('\t').add(interface.name);
    for (size_t i = interface.name.size(); i < 10; i++) out.add(' ');
    out.add(": ").udec(groups.count, 5).add("      V3\n");
    for (size_t i = 0; i < groups.count; i++) {
      out.add("\t\t\t\t");
      show_word(out, groups.addresses[i].v4_bytes());
      out.add(' ').udec(groups.users[i], 5).add(" 0:00000000\t\t0\n");
    }
  }
  return {};
}

Result<void> show_igmp6(TextBuffer& out, const Subject&) {
  for (const net::Interface& interface : net::interfaces()) {
    Groups groups;
    find_groups(groups, interface, true);
    auto show = [&](std::string_view group, u32 users, std::string_view flags) {
      out.udec(static_cast<u64>(interface.index)).add("    ").add(interface.name);
      for (size_t i = interface.name.size(); i < 16; i++) out.add(' ');
      out.add(group).add(' ').udec(users, 5).add(' ').add(flags).add(" 0\n");
    };
    for (size_t i = 0; i < groups.count; i++) {
      char storage[40];
      TextBuffer text(storage);
      for (u8 byte : groups.addresses[i].bytes) text.hex(byte, 2);
      show(text.text(), groups.users[i], "00000004");
    }
    show("ff020000000000000000000000000001", 1, "0000000C");
    show("ff010000000000000000000000000001", 1, "00000008");
  }
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
                                    {"dev", kFile, &show_devices},
                                    {"icmp", kFile, &show_raw<false, true>},
                                    {"icmp6", kFile, &show_raw<true, true>},
                                    {"if_inet6", kFile, &show_addresses6},
                                    {"igmp", kFile, &show_igmp},
                                    {"igmp6", kFile, &show_igmp6},
                                    {"netlink", kFile, &show_constant<kNetlinks>},
                                    {"packet", kFile, &show_constant<kPackets>},
                                    {"raw", kFile, &show_raw<false, false>},
                                    {"raw6", kFile, &show_raw<true, false>},
                                    {"route", kFile, &show_routes},
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
