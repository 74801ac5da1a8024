// What programs ask about the network around them: ioctls, netlink dumps, getifaddrs, names.
#include "tests/guest/check.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <vector>

namespace {

ifreq ask(int fd, unsigned long command, const char* name = "lo") {
  ifreq request{};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  CHECK_OK(ioctl(fd, command, &request));
  return request;
}

int netlink() {
  return NEED_OK(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
}

template <typename Body>
void request(int fd, int type, int flags, const Body& body) {
  struct {
    nlmsghdr header;
    Body body;
  } message{};
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = static_cast<unsigned short>(type);
  message.header.nlmsg_flags = static_cast<unsigned short>(NLM_F_REQUEST | flags);
  message.header.nlmsg_seq = 7;
  message.body = body;
  sockaddr_nl to{};
  to.nl_family = AF_NETLINK;
  CHECK_EQ(sendto(fd, &message, sizeof message, 0, reinterpret_cast<sockaddr*>(&to), sizeof to),
           ssize_t(sizeof message));
}

}  // namespace

TEST(asked_by_ioctl) {
  int fd = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  CHECK_EQ(ask(fd, SIOCGIFINDEX).ifr_ifindex, 1);
  CHECK_EQ(ask(fd, SIOCGIFFLAGS).ifr_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING),
           IFF_UP | IFF_LOOPBACK | IFF_RUNNING);
  CHECK_EQ(ask(fd, SIOCGIFMTU).ifr_mtu, 65536);
  CHECK_EQ(ask(fd, SIOCGIFHWADDR).ifr_hwaddr.sa_family, ARPHRD_LOOPBACK);
  ifreq address = ask(fd, SIOCGIFADDR);
  CHECK_EQ(reinterpret_cast<sockaddr_in&>(address.ifr_addr).sin_addr.s_addr, htonl(INADDR_LOOPBACK));
  ifreq mask = ask(fd, SIOCGIFNETMASK);
  CHECK_EQ(reinterpret_cast<sockaddr_in&>(mask.ifr_netmask).sin_addr.s_addr, htonl(0xff000000));
  ifreq request{};
  strcpy(request.ifr_name, "none7");
  CHECK_ERR(ioctl(fd, SIOCGIFINDEX, &request), ENODEV);
  char buffer[4096];
  ifconf list{};
  list.ifc_len = sizeof buffer;
  list.ifc_buf = buffer;
  CHECK_OK(ioctl(fd, SIOCGIFCONF, &list));
  CHECK(list.ifc_len >= int(sizeof(ifreq)));
  CHECK_EQ(std::string(reinterpret_cast<ifreq*>(buffer)->ifr_name), "lo");
}

TEST(index_and_name) {
  CHECK_EQ(if_nametoindex("lo"), 1u);
  char name[IF_NAMESIZE] = {};
  CHECK(if_indextoname(1, name) != nullptr);
  CHECK_EQ(std::string(name), "lo");
  CHECK_EQ(if_nametoindex("none7"), 0u);
  struct if_nameindex* all = if_nameindex();
  NEED(all != nullptr);
  CHECK_EQ(std::string(all[0].if_name), "lo");
  if_freenameindex(all);
}

TEST(addresses_of_interfaces) {
  ifaddrs* list = nullptr;
  NEED_OK(getifaddrs(&list));
  bool packet = false, four = false, six = false;
  for (ifaddrs* one = list; one; one = one->ifa_next) {
    if (std::string(one->ifa_name) != "lo" || !one->ifa_addr) continue;
    CHECK((one->ifa_flags & IFF_LOOPBACK) != 0);
    if (one->ifa_addr->sa_family == AF_PACKET) packet = true;
    if (one->ifa_addr->sa_family == AF_INET) {
      four = true;
      CHECK_EQ(reinterpret_cast<sockaddr_in*>(one->ifa_addr)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
      CHECK_EQ(reinterpret_cast<sockaddr_in*>(one->ifa_netmask)->sin_addr.s_addr, htonl(0xff000000));
    }
    if (one->ifa_addr->sa_family == AF_INET6) six = true;
  }
  CHECK(packet && four && six);
  freeifaddrs(list);
}

TEST(netlink_names) {
  int fd = netlink();
  sockaddr_nl name{};
  socklen_t length = sizeof name;
  name.nl_family = AF_NETLINK;
  CHECK_OK(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof name));
  CHECK_OK(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length));
  CHECK_EQ(length, sizeof name);
  CHECK_EQ(name.nl_family, AF_NETLINK);
  CHECK(name.nl_pid != 0);
  CHECK_ERR(socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE), ESOCKTNOSUPPORT);
  CHECK_ERR(socket(AF_NETLINK, SOCK_RAW, 31), EPROTONOSUPPORT);
}

TEST(netlink_dump) {
  int fd = netlink();
  request(fd, RTM_GETLINK, NLM_F_DUMP, ifinfomsg{});
  alignas(8) char buffer[65536];
  bool found = false, done = false;
  while (!done) {
    ssize_t size = recv(fd, buffer, sizeof buffer, 0);
    NEED(size > 0);
    int left = int(size);
    for (nlmsghdr* message = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(message, unsigned(left));
         message = NLMSG_NEXT(message, left)) {
      CHECK_EQ(message->nlmsg_seq, 7u);
      if (message->nlmsg_type == NLMSG_DONE) done = true;
      if (message->nlmsg_type != RTM_NEWLINK) continue;
      CHECK((message->nlmsg_flags & NLM_F_MULTI) != 0);
      auto* link = static_cast<ifinfomsg*>(NLMSG_DATA(message));
      if (link->ifi_index == 1) found = (link->ifi_flags & IFF_LOOPBACK) != 0;
    }
  }
  CHECK(found);
  CHECK_ERR(recv(fd, buffer, sizeof buffer, MSG_DONTWAIT), EAGAIN);
}

TEST(netlink_errors) {
  int fd = netlink();
  ifinfomsg which{};
  which.ifi_index = 7777;
  request(fd, RTM_GETLINK, 0, which);
  alignas(8) char buffer[4096];
  ssize_t size = recv(fd, buffer, sizeof buffer, 0);
  CHECK(size >= ssize_t(NLMSG_LENGTH(sizeof(nlmsgerr))));
  auto* message = reinterpret_cast<nlmsghdr*>(buffer);
  CHECK_EQ(message->nlmsg_type, NLMSG_ERROR);
  CHECK_EQ(static_cast<nlmsgerr*>(NLMSG_DATA(message))->error, -ENODEV);
}

TEST(proc_shows_sockets) {
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof name;
  NEED_OK(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof name));
  NEED_OK(listen(fd, 5));
  NEED_OK(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length));
  struct stat info;
  NEED_OK(fstat(fd, &info));
  char wanted[64];
  snprintf(wanted, sizeof wanted, "0100007F:%04X 00000000:0000 0A", ntohs(name.sin_port));
  std::string text = check::read_file("/proc/net/tcp");
  size_t at = text.find(wanted);
  NEED(at != std::string::npos);
  std::string line = text.substr(at, text.find('\n', at) - at);
  CHECK(line.find(" " + std::to_string(info.st_ino) + " ") != std::string::npos);
  close(fd);
  CHECK(check::read_file("/proc/net/tcp").find(wanted) == std::string::npos);
  int udp = NEED_OK(socket(AF_INET6, SOCK_DGRAM, 0));
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_addr = in6addr_loopback;
  NEED_OK(bind(udp, reinterpret_cast<sockaddr*>(&six), sizeof six));
  length = sizeof six;
  NEED_OK(getsockname(udp, reinterpret_cast<sockaddr*>(&six), &length));
  snprintf(wanted, sizeof wanted, "00000000000000000000000001000000:%04X ", ntohs(six.sin6_port));
  CHECK(check::read_file("/proc/net/udp6").find(wanted) != std::string::npos);
  CHECK(check::read_file("/proc/net/if_inet6").find("00000000000000000000000000000001 01 80") !=
        std::string::npos);
  CHECK(check::read_file("/proc/net/dev").find("    lo:") != std::string::npos);
}

TEST(proc_shows_unix_sockets) {
  int fd = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0));
  struct {
    sa_family_t family = AF_UNIX;
    char path[108] = "shown.socket";
  } name;
  NEED_OK(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(sa_family_t) + strlen(name.path) + 1));
  NEED_OK(listen(fd, 5));
  struct stat info;
  NEED_OK(fstat(fd, &info));
  std::string text = check::read_file("/proc/net/unix");
  size_t at = text.find(std::to_string(info.st_ino) + " shown.socket\n");
  NEED(at != std::string::npos);
  std::string line = text.substr(text.rfind('\n', at) + 1, at - text.rfind('\n', at) - 1);
  CHECK(line.find("00010000 0001 01") != std::string::npos);
}
