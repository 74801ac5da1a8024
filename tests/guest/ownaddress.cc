// The machine's own address besides lo's: who is reached by it and what programs are told of it. Natively it
// is the first interface's that has one.
#include "tests/guest/check.h"
#include "tests/guest/ip_names.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/ip_icmp.h>
#include <netpacket/packet.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace {

struct Own {
  std::string interface, address, address6;
  in_addr mask{}, broadcast{};
  int index = 0;
};

std::string text_of(const sockaddr* name) {
  char buffer[64] = "?";
  if (name->sa_family == AF_INET)
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(name)->sin_addr, buffer, sizeof buffer);
  if (name->sa_family == AF_INET6)
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(name)->sin6_addr, buffer, sizeof buffer);
  return buffer;
}

// Skips the case if there is none.
Own own() {
  Own found;
  ifaddrs* list = nullptr;
  NEED_OK(getifaddrs(&list));
  constexpr unsigned kWanted = IFF_UP | IFF_RUNNING | IFF_BROADCAST | IFF_MULTICAST;
  for (ifaddrs* one = list; one; one = one->ifa_next) {
    if (!one->ifa_addr || (one->ifa_flags & kWanted) != kWanted) continue;
    if (one->ifa_addr->sa_family == AF_INET && found.interface.empty()) {
      found.interface = one->ifa_name;
      found.address = text_of(one->ifa_addr);
      found.mask = reinterpret_cast<sockaddr_in*>(one->ifa_netmask)->sin_addr;
      found.broadcast = reinterpret_cast<sockaddr_in*>(one->ifa_broadaddr)->sin_addr;
    }
    bool global = one->ifa_addr->sa_family == AF_INET6 &&
                  !IN6_IS_ADDR_LINKLOCAL(&reinterpret_cast<sockaddr_in6*>(one->ifa_addr)->sin6_addr);
    if (global && found.interface == one->ifa_name) found.address6 = text_of(one->ifa_addr);
  }
  freeifaddrs(list);
  if (found.interface.empty()) check::skip("no address but lo's");
  found.index = int(if_nametoindex(found.interface.c_str()));
  return found;
}

std::string local_of(int fd) {
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  NEED_OK(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length));
  return text_of(reinterpret_cast<sockaddr*>(&name));
}
std::string peer_of(int fd) {
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  NEED_OK(getpeername(fd, reinterpret_cast<sockaddr*>(&name), &length));
  return text_of(reinterpret_cast<sockaddr*>(&name));
}
int bind_to_device(int fd, const std::string& name) {
  return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name.data(), socklen_t(name.size()));
}
int listening(const std::string& address, uint16_t port = 0) {
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  int on = 1;
  NEED_OK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
  NEED_OK(bind_to(fd, v4(port, address.c_str())));
  NEED_OK(listen(fd, 5));
  return fd;
}
int udp(const std::string& address) {
  int fd = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  NEED_OK(bind_to(fd, v4(0, address.c_str())));
  return fd;
}
template <typename Name>
ssize_t send_to(int fd, std::string_view data, const Name& name) {
  return sendto(fd, data.data(), data.size(), 0, as_name(name), sizeof name);
}

struct Arrived {
  std::string data, from;
  in_pktinfo info{};
};
// What comes within `wait` ms.
Arrived receive(int fd, int wait = check::kPatience) {
  timeval time{wait / 1000, wait % 1000 * 1000};
  NEED_OK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
  alignas(8) char control[256];
  char data[256];
  sockaddr_in from{};
  iovec piece{data, sizeof data};
  msghdr message{};
  message.msg_name = &from;
  message.msg_namelen = sizeof from;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size = recvmsg(fd, &message, 0);
  if (size < 0) return {check::errno_text(errno), {}, {}};
  Arrived arrived{std::string(data, size_t(size)), text_of(reinterpret_cast<sockaddr*>(&from)), {}};
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO)
      memcpy(&arrived.info, CMSG_DATA(part), sizeof arrived.info);
  }
  return arrived;
}
void want_info(int fd) {
  int on = 1;
  NEED_OK(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on));
}
template <typename Name>
int connected_to(const Name& name, int family) {
  int fd = NEED_OK(socket(family, SOCK_STREAM, 0));
  NEED_OK(connect(fd, as_name(name), sizeof name));
  return fd;
}

}  // namespace

TEST(asked_by_ioctl) {
  Own me = own();
  int fd = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  auto ask = [&](unsigned long command) {
    ifreq request{};
    strncpy(request.ifr_name, me.interface.c_str(), IFNAMSIZ - 1);
    CHECK_OK(ioctl(fd, command, &request));
    return request;
  };
  CHECK_EQ(ask(SIOCGIFINDEX).ifr_ifindex, me.index);
  CHECK(me.index > 1);
  CHECK_EQ(ask(SIOCGIFFLAGS).ifr_flags & (IFF_UP | IFF_RUNNING | IFF_LOOPBACK | IFF_BROADCAST),
           IFF_UP | IFF_RUNNING | IFF_BROADCAST);
  ifreq asked = ask(SIOCGIFADDR);
  CHECK_EQ(text_of(&asked.ifr_addr), me.address);
  asked = ask(SIOCGIFNETMASK);
  CHECK_EQ(reinterpret_cast<sockaddr_in&>(asked.ifr_addr).sin_addr.s_addr, me.mask.s_addr);
  asked = ask(SIOCGIFBRDADDR);
  CHECK_EQ(reinterpret_cast<sockaddr_in&>(asked.ifr_addr).sin_addr.s_addr, me.broadcast.s_addr);
  in_addr address{inet_addr(me.address.c_str())};
  CHECK_EQ(address.s_addr | ~me.mask.s_addr, me.broadcast.s_addr);
  ifreq hardware = ask(SIOCGIFHWADDR);
  CHECK_EQ(hardware.ifr_hwaddr.sa_family, ARPHRD_ETHER);
  CHECK_EQ(hardware.ifr_hwaddr.sa_data[0] & 1, 0);  // of one station
  CHECK(ask(SIOCGIFMTU).ifr_mtu > 1000 && ask(SIOCGIFMTU).ifr_mtu < 65536);
  char name[IF_NAMESIZE] = {};
  CHECK(if_indextoname(unsigned(me.index), name) != nullptr);
  CHECK_EQ(std::string(name), me.interface);
  ifreq all[64];
  ifconf list{};
  list.ifc_len = sizeof all;
  list.ifc_req = all;
  CHECK_OK(ioctl(fd, SIOCGIFCONF, &list));
  bool lo = false, other = false;
  for (int i = 0; i < list.ifc_len / int(sizeof(ifreq)); i++) {
    if (std::string(all[i].ifr_name) == "lo") lo = true;
    if (all[i].ifr_name == me.interface && text_of(&all[i].ifr_addr) == me.address) other = true;
  }
  CHECK(lo && other);
  list.ifc_len = 0;
  list.ifc_req = nullptr;
  CHECK_OK(ioctl(fd, SIOCGIFCONF, &list));
  CHECK(list.ifc_len >= 2 * int(sizeof(ifreq)));
  list.ifc_len = sizeof(ifreq) + 1;  // room for one
  list.ifc_req = all;
  CHECK_OK(ioctl(fd, SIOCGIFCONF, &list));
  CHECK_EQ(list.ifc_len, int(sizeof(ifreq)));
}

TEST(shown_in_proc) {
  Own me = own();
  CHECK(check::read_file("/proc/net/dev").find(me.interface + ":") != std::string::npos);
  CHECK(check::read_file("/proc/net/igmp").find("\t" + me.interface) != std::string::npos);
  char line[128];
  in_addr address{inet_addr(me.address.c_str())};
  snprintf(line, sizeof line, "%s\t%08X\t00000000\t0001\t0\t0\t", me.interface.c_str(),
           address.s_addr & me.mask.s_addr);
  CHECK(check::read_file("/proc/net/route").find(line) != std::string::npos);
}

TEST(shown_in_sys) {
  Own me = own();
  std::string folder = "/sys/class/net/" + me.interface;
  if (check::read_file((folder + "/ifindex").c_str()) != std::to_string(me.index) + "\n")
    check::skip("/sys is of another network");
  ifaddrs* list = nullptr;
  NEED_OK(getifaddrs(&list));
  bool packet = false;
  for (ifaddrs* one = list; one; one = one->ifa_next) {
    if (!one->ifa_addr || one->ifa_name != me.interface || one->ifa_addr->sa_family != AF_PACKET) continue;
    packet = true;
    auto* hardware = reinterpret_cast<sockaddr_ll*>(one->ifa_addr);
    CHECK_EQ(hardware->sll_halen, 6);
    CHECK_EQ(hardware->sll_hatype, ARPHRD_ETHER);
    char text[32];
    const unsigned char* at = hardware->sll_addr;
    snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x\n", at[0], at[1], at[2], at[3], at[4], at[5]);
    CHECK_EQ(check::read_file((folder + "/address").c_str()), std::string(text));
    CHECK_EQ(check::read_file((folder + "/type").c_str()), "1\n");
    CHECK_EQ(check::read_file((folder + "/operstate").c_str()), "up\n");
    CHECK(!check::read_file((folder + "/statistics/rx_bytes").c_str()).empty());
  }
  freeifaddrs(list);
  CHECK(packet);
  CHECK_EQ(check::read_file("/sys/class/net/lo/ifindex"), "1\n");
  CHECK_EQ(check::read_file("/sys/class/net/lo/address"), "00:00:00:00:00:00\n");
}

TEST(streams) {
  Own me = own();
  for (const std::string& at : {me.address, std::string("0.0.0.0")}) {
    int server = listening(at);
    int client = connected_to(v4(port_of(server), me.address.c_str()), AF_INET);
    int accepted = NEED_OK(accept(server, nullptr, nullptr));
    CHECK_EQ(local_of(client), me.address);
    CHECK_EQ(peer_of(client), me.address);
    CHECK_EQ(local_of(accepted), me.address);
    CHECK_EQ(peer_of(accepted), me.address);
    CHECK_EQ(write(client, "x", 1), 1);
    char byte = 0;
    CHECK_EQ(read(accepted, &byte, 1), 1);
  }
  // One that listens on its own address is not reached by lo's, and the other way round. Nobody else gets the
  // ports, for they are held.
  uint16_t ports[2];
  for (uint16_t& port : ports) {
    int holder = NEED_OK(socket(AF_INET, SOCK_STREAM, 0)), on = 1;
    NEED_OK(setsockopt(holder, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    NEED_OK(bind_to(holder, v4(0, "0.0.0.0")));
    port = port_of(holder);
  }
  int server = listening(me.address, ports[0]), other = listening("127.0.0.1", ports[1]);
  int client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_ERR(connect_to(client, v4(port_of(server))), ECONNREFUSED);
  client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_ERR(connect_to(client, v4(port_of(other), me.address.c_str())), ECONNREFUSED);
  // From lo's address to the own one, and back.
  client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  NEED_OK(bind_to(client, v4(0, "127.0.0.9")));
  CHECK_OK(connect_to(client, v4(port_of(server), me.address.c_str())));
  CHECK_EQ(peer_of(NEED_OK(accept(server, nullptr, nullptr))), "127.0.0.9");
  client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  NEED_OK(bind_to(client, v4(0, me.address.c_str())));
  CHECK_OK(connect_to(client, v4(port_of(other))));
  CHECK_EQ(peer_of(NEED_OK(accept(other, nullptr, nullptr))), me.address);
  // The same port on both addresses.
  int third = listening("127.0.0.1", port_of(server));
  CHECK_EQ(port_of(third), port_of(server));
}

TEST(streams_of_ipv6) {
  Own me = own();
  if (me.address6.empty()) check::skip("no address of IPv6");
  int server = NEED_OK(socket(AF_INET6, SOCK_STREAM, 0));
  sockaddr_in6 name{};
  name.sin6_family = AF_INET6;
  NEED_OK(bind_to(server, name));
  NEED_OK(listen(server, 5));
  name.sin6_port = htons(port_of(server));
  NEED_OK(inet_pton(AF_INET6, me.address6.c_str(), &name.sin6_addr));
  int client = connected_to(name, AF_INET6);
  CHECK_EQ(local_of(client), me.address6);
  CHECK_EQ(peer_of(NEED_OK(accept(server, nullptr, nullptr))), me.address6);
  // A dual socket is reached by IPv4's address too.
  client = connected_to(v4(port_of(server), me.address.c_str()), AF_INET);
  CHECK_EQ(peer_of(NEED_OK(accept(server, nullptr, nullptr))), "::ffff:" + me.address);
}

TEST(datagrams) {
  Own me = own();
  int receiver = udp("0.0.0.0"), sender = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  want_info(receiver);
  CHECK_EQ(send_to(sender, "x", v4(port_of(receiver), me.address.c_str())), 1);
  Arrived arrived = receive(receiver);
  CHECK_EQ(arrived.data, "x");
  CHECK_EQ(arrived.from, me.address);
  CHECK_EQ(arrived.info.ipi_ifindex, me.index);
  CHECK_EQ(arrived.info.ipi_addr.s_addr, inet_addr(me.address.c_str()));
  CHECK_EQ(arrived.info.ipi_spec_dst.s_addr, inet_addr(me.address.c_str()));
  CHECK_EQ(send_to(sender, "y", v4(port_of(receiver))), 1);
  arrived = receive(receiver);
  CHECK_EQ(arrived.from, "127.0.0.1");
  CHECK_EQ(arrived.info.ipi_ifindex, 1);
  // Nobody there: the port is another address's.
  uint16_t port = port_of(udp("127.0.0.1"));
  sender = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  NEED_OK(connect_to(sender, v4(port, me.address.c_str())));
  CHECK_EQ(local_of(sender), me.address);
  CHECK_EQ(send(sender, "x", 1, 0), 1);
  CHECK_ERR(recv(sender, &port, 1, 0), ECONNREFUSED);
}

TEST(bound_to_a_device) {
  Own me = own();
  int fd = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  char name[IFNAMSIZ] = {};
  socklen_t length = sizeof name;
  CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length));
  CHECK_EQ(length, 0u);
  CHECK_ERR(bind_to_device(fd, "none7"), ENODEV);
  if (bind_to_device(fd, me.interface) != 0 && errno == EPERM) check::skip("no CAP_NET_RAW");
  length = sizeof name;
  CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length));
  CHECK_EQ(std::string(name), me.interface);
  CHECK_EQ(length, me.interface.size() + 1);
  int index = 0;
  length = sizeof index;
  CHECK_OK(getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &index, &length));
  CHECK_EQ(index, me.index);
  // It hears what comes to that interface's address, and nothing of lo.
  NEED_OK(bind_to(fd, v4(0, "0.0.0.0")));
  int sender = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  CHECK_EQ(send_to(sender, "lo", v4(port_of(fd))), 2);
  CHECK_EQ(send_to(sender, "own", v4(port_of(fd), me.address.c_str())), 3);
  CHECK_EQ(receive(fd).data, "own");
  CHECK_EQ(receive(fd, 20).data, "EAGAIN");
  // Two devices, one port.
  int streams[2] = {NEED_OK(socket(AF_INET, SOCK_STREAM, 0)), NEED_OK(socket(AF_INET, SOCK_STREAM, 0))};
  CHECK_OK(bind_to_device(streams[0], "lo"));
  CHECK_OK(bind_to_device(streams[1], me.interface));
  NEED_OK(bind_to(streams[0], v4(0, "0.0.0.0")));
  uint16_t port = port_of(streams[0]);
  CHECK_OK(bind_to(streams[1], v4(port, "0.0.0.0")));
  for (int stream : streams) NEED_OK(listen(stream, 5));
  connected_to(v4(port), AF_INET);
  connected_to(v4(port, me.address.c_str()), AF_INET);
  CHECK_EQ(peer_of(NEED_OK(accept(streams[0], nullptr, nullptr))), "127.0.0.1");
  CHECK_EQ(peer_of(NEED_OK(accept(streams[1], nullptr, nullptr))), me.address);
  int third = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_ERR(bind_to(third, v4(port, "0.0.0.0")), EADDRINUSE);
}

// With a time to live of 0, what is sent to a group stays here.
TEST(groups_by_interface) {
  Own me = own();
  uint16_t port = 0;
  int members[2];
  const std::string of[2] = {"127.0.0.1", me.address};
  for (int i = 0; i < 2; i++) {
    members[i] = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
    int on = 1, off = 0;
    NEED_OK(setsockopt(members[i], SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    NEED_OK(setsockopt(members[i], IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof off));
    NEED_OK(bind_to(members[i], v4(port, "0.0.0.0")));
    port = port_of(members[i]);
    want_info(members[i]);
    ip_mreqn group{};
    inet_pton(AF_INET, "239.1.2.77", &group.imr_multiaddr);
    if (i == 0) group.imr_ifindex = 1;
    if (i == 1) inet_pton(AF_INET, me.address.c_str(), &group.imr_address);
    NEED_OK(setsockopt(members[i], IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group));
  }
  int sender = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  int hops = 0;
  NEED_OK(setsockopt(sender, IPPROTO_IP, IP_MULTICAST_TTL, &hops, sizeof hops));
  for (int i = 0; i < 2; i++) {
    in_addr address{inet_addr(of[i].c_str())};
    NEED_OK(setsockopt(sender, IPPROTO_IP, IP_MULTICAST_IF, &address, sizeof address));
    CHECK_EQ(send_to(sender, "x", v4(port, "239.1.2.77")), 1);
    Arrived arrived = receive(members[i]);
    CHECK_EQ(arrived.data, "x");
    CHECK_EQ(arrived.from, of[i]);
    CHECK_EQ(arrived.info.ipi_ifindex, i == 0 ? 1 : me.index);
    CHECK_EQ(arrived.info.ipi_addr.s_addr, inet_addr("239.1.2.77"));
    CHECK_EQ(arrived.info.ipi_spec_dst.s_addr, inet_addr(of[i].c_str()));
    CHECK_EQ(receive(members[1 - i], 20).data, "EAGAIN");
  }
  ip_mreqn wrong{};
  inet_pton(AF_INET, "239.1.2.78", &wrong.imr_multiaddr);
  wrong.imr_ifindex = 7777;
  CHECK_ERR(setsockopt(sender, IPPROTO_IP, IP_ADD_MEMBERSHIP, &wrong, sizeof wrong), ENODEV);
  // One socket, the same group on both.
  ip_mreqn group{};
  inet_pton(AF_INET, "239.1.2.77", &group.imr_multiaddr);
  group.imr_ifindex = me.index;
  CHECK_OK(setsockopt(members[0], IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group));
  CHECK_ERR(setsockopt(members[0], IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group), EADDRINUSE);
  CHECK_OK(setsockopt(members[0], IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof group));
  CHECK_ERR(setsockopt(members[0], IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof group), EADDRNOTAVAIL);
}

TEST(echo_of_the_own_address) {
  Own me = own();
  int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
  if (fd < 0) check::skip("no echo sockets");
  icmphdr request{};
  request.type = ICMP_ECHO;
  sockaddr_in to = v4(0, me.address.c_str());
  CHECK_EQ(sendto(fd, &request, sizeof request, 0, as_name(to), sizeof to), ssize_t(sizeof request));
  CHECK_EQ(receive(fd).from, me.address);
}
