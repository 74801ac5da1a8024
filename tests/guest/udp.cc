// UDP over the machine's own addresses: names, datagrams, errors, groups.
#include "tests/guest/check.h"
#include "tests/guest/ip_names.h"

#include <linux/errqueue.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <vector>

namespace {

template <typename Name>
ssize_t send_to(int fd, std::string_view data, const Name& name, int flags = 0) {
  return sendto(fd, data.data(), data.size(), flags, as_name(name), sizeof name);
}
std::string local_of(int fd) {
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) < 0) return "error";
  char buffer[64] = "?";
  if (name.ss_family == AF_INET)
    inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in&>(name).sin_addr, buffer, 64);
  if (name.ss_family == AF_INET6)
    inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6&>(name).sin6_addr, buffer, 64);
  return buffer;
}
int udp(const char* address = "127.0.0.1", uint16_t port = 0) {
  int fd = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  NEED_OK(bind_to(fd, v4(port, address)));
  return fd;
}
std::string receive(int fd, int flags = MSG_DONTWAIT) {
  char buffer[2000];
  ssize_t n = recv(fd, buffer, sizeof buffer, flags);
  return n < 0 ? check::errno_text(errno) : std::string(buffer, size_t(n));
}
short events_of(int fd) {
  pollfd poller{fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};
  return poll(&poller, 1, 0) < 0 ? -1 : poller.revents;
}
int set(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value);
}
int number(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  return getsockopt(fd, level, name, &value, &length) < 0 ? -errno : value;
}

}  // namespace

TEST(there_and_back) {
  int a = udp(), b = udp();
  CHECK_EQ(events_of(a), POLLOUT);
  CHECK_EQ(send_to(a, "hello", v4(port_of(b))), 5);
  CHECK_EQ(events_of(b), POLLIN | POLLOUT);
  char buffer[16];
  sockaddr_in from{};
  socklen_t length = sizeof from;
  CHECK_EQ(recvfrom(b, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &length), 5);
  CHECK_EQ(length, sizeof from);
  CHECK_EQ(ntohs(from.sin_port), port_of(a));
  CHECK_EQ(from.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
  CHECK_EQ(send_to(b, "", from), 0);
  CHECK_EQ(recv(a, buffer, sizeof buffer, 0), 0);
  CHECK_EQ(receive(a), "EAGAIN");
}

TEST(datagrams_are_whole) {
  int a = udp(), b = udp();
  sockaddr_in name = v4(port_of(b));
  CHECK_EQ(send_to(a, "0123456789", name), 10);
  CHECK_EQ(send_to(a, "next", name), 4);
  int count = 0;
  CHECK_OK(ioctl(b, FIONREAD, &count));
  CHECK_EQ(count, 10);
  char buffer[4];
  CHECK_EQ(recv(b, buffer, 4, MSG_PEEK | MSG_TRUNC), 10);
  iovec piece{buffer, 4};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  CHECK_EQ(recvmsg(b, &message, 0), 4);
  CHECK_EQ(message.msg_flags, MSG_TRUNC);
  CHECK_EQ(receive(b), "next");
  CHECK_EQ(number(b, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
  CHECK_EQ(number(b, SOL_SOCKET, SO_PROTOCOL), IPPROTO_UDP);
}

TEST(sending_errors) {
  int fd = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  CHECK_ERR(send(fd, "x", 1, 0), EDESTADDRREQ);
  CHECK_ERR(send_to(fd, "x", v4(0)), EINVAL);
  CHECK_ERR(send_to(fd, "x", v6(9)), EAFNOSUPPORT);
  CHECK_ERR(send_to(fd, "x", v4(9), MSG_OOB), EOPNOTSUPP);
  CHECK_ERR(send_to(fd, "x", v4(9, "127.255.255.255")), EACCES);
  std::string large(65508, 'x');
  CHECK_ERR(send_to(fd, large, v4(9)), EMSGSIZE);
  large.resize(65507);
  CHECK_EQ(send_to(fd, large, v4(9)), 65507);
  CHECK_ERR(listen(fd, 1), EOPNOTSUPP);
  CHECK_ERR(accept(fd, nullptr, nullptr), EOPNOTSUPP);
  CHECK_ERR(shutdown(fd, SHUT_RD), ENOTCONN);
  CHECK(port_of(fd) != 0);
  CHECK_EQ(local_of(fd), "0.0.0.0");
}

TEST(connected) {
  int server = udp(), other = udp();
  int fd = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  CHECK_OK(connect_to(fd, v4(port_of(server))));
  CHECK_EQ(local_of(fd), "127.0.0.1");
  CHECK_EQ(send(fd, "x", 1, 0), 1);
  CHECK_EQ(receive(server), "x");
  // Others are not heard.
  CHECK_EQ(send_to(other, "no", v4(port_of(fd))), 2);
  CHECK_EQ(receive(fd), "EAGAIN");
  CHECK_EQ(send_to(server, "yes", v4(port_of(fd))), 3);
  CHECK_EQ(receive(fd), "yes");
  CHECK_EQ(send_to(fd, "elsewhere", v4(port_of(other))), 9);
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  CHECK_OK(connect(fd, &none, sizeof none));
  CHECK_ERR(send(fd, "x", 1, 0), EDESTADDRREQ);
  CHECK_EQ(local_of(fd), "0.0.0.0");
}

TEST(nobody_there) {
  int gone = udp();
  sockaddr_in name = v4(port_of(gone));
  int fd = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  CHECK_EQ(send_to(fd, "x", name), 1);
  CHECK_EQ(events_of(fd), POLLOUT);
  CHECK_OK(connect_to(fd, name));
  close(gone);
  CHECK_EQ(send(fd, "x", 1, 0), 1);
  CHECK(check::eventually([&] { return events_of(fd) == (POLLOUT | POLLERR); }));
  CHECK_ERR(send(fd, "x", 1, 0), ECONNREFUSED);
  CHECK_EQ(send(fd, "x", 1, 0), 1);
  CHECK_EQ(receive(fd, 0), "ECONNREFUSED");
  CHECK_EQ(send(fd, "x", 1, 0), 1);
  CHECK_EQ(number(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
  CHECK_EQ(number(fd, SOL_SOCKET, SO_ERROR), 0);
}

TEST(ports_are_shared_by_agreement) {
  int a = udp();
  uint16_t port = port_of(a);
  int b = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  CHECK_ERR(bind_to(b, v4(port)), EADDRINUSE);
  CHECK_OK(set(b, SOL_SOCKET, SO_REUSEADDR, 1));
  CHECK_ERR(bind_to(b, v4(port)), EADDRINUSE);
  CHECK_OK(set(a, SOL_SOCKET, SO_REUSEADDR, 1));
  int shared[2];
  uint16_t with = 0;
  for (int& fd : shared) {
    fd = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
    CHECK_OK(set(fd, SOL_SOCKET, SO_REUSEPORT, 1));
    CHECK_OK(bind_to(fd, v4(with)));
    with = port_of(fd);
  }
  int got[2] = {};
  for (int i = 0; i < 64; i++) {
    int sender = udp();
    CHECK_EQ(send_to(sender, "x", v4(with)), 1);
    close(sender);
  }
  for (int i = 0; i < 2; i++) {
    while (receive(shared[i]) == "x") got[i]++;
  }
  CHECK_EQ(got[0] + got[1], 64);
  CHECK(got[0] > 4 && got[1] > 4);
}

TEST(closest_name_wins) {
  int any = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0)), one = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  for (int fd : {any, one}) CHECK_OK(set(fd, SOL_SOCKET, SO_REUSEADDR, 1));
  CHECK_OK(bind_to(any, v4(0, "0.0.0.0")));
  CHECK_OK(bind_to(one, v4(port_of(any), "127.0.0.9")));
  int sender = udp();
  CHECK_EQ(send_to(sender, "one", v4(port_of(any), "127.0.0.9")), 3);
  CHECK_EQ(send_to(sender, "any", v4(port_of(any))), 3);
  CHECK_EQ(receive(one), "one");
  CHECK_EQ(receive(any), "any");
}

// "Any of IPv4" of a socket of IPv6 is an address that was asked for: what connecting made of it stays.
TEST(mapped_any_stays_connected_address) {
  int fd = NEED_OK(socket(AF_INET6, SOCK_DGRAM, 0));
  CHECK_OK(bind_to(fd, v6(0, "::ffff:0.0.0.0")));
  CHECK_OK(connect_to(fd, v6(9, "::ffff:127.0.0.1")));
  sockaddr nobody{};
  CHECK_OK(connect(fd, &nobody, sizeof nobody));
  sockaddr_in6 name{};
  socklen_t length = sizeof name;
  CHECK_OK(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length));
  char text[64];
  inet_ntop(AF_INET6, &name.sin6_addr, text, sizeof text);
  CHECK_EQ(std::string(text), "::ffff:127.0.0.1");
  CHECK_EQ(port_of(fd), 0);
}

// An address that an earlier connection has left is gone when a name is asked for in vain.
TEST(failed_bind_clears_the_address) {
  int taken = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0)), fd = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  CHECK_OK(bind_to(taken, v4(0)));
  CHECK_OK(bind_to(fd, v4(0)));
  CHECK_OK(connect_to(fd, v4(port_of(taken))));
  sockaddr nobody{};
  CHECK_OK(connect(fd, &nobody, sizeof nobody));
  sockaddr_in name{};
  socklen_t length = sizeof name;
  CHECK_OK(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length));
  CHECK_EQ(ntohl(name.sin_addr.s_addr), INADDR_LOOPBACK);
  CHECK_EQ(name.sin_port, 0);
  CHECK_ERR(bind_to(fd, v4(port_of(taken))), EADDRINUSE);
  CHECK_OK(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length));
  CHECK_EQ(ntohl(name.sin_addr.s_addr), INADDR_ANY);
}

// An address that was asked for once is one that connections leave, though the next bind(2) asks for any.
TEST(disconnected_after_an_earlier_address) {
  int peer = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0)), fd = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr nobody{};
  CHECK_OK(bind_to(peer, v4(0)));
  CHECK_OK(bind_to(fd, v4(0, "127.0.0.2")));
  for (const char* left : {"127.0.0.2", "127.0.0.1"}) {
    CHECK_OK(connect_to(fd, v4(port_of(peer))));
    CHECK_OK(connect(fd, &nobody, sizeof nobody));
    CHECK_EQ(address_of(fd), left);
    CHECK_OK(bind_to(fd, v4(0, "0.0.0.0")));
  }
}

TEST(full_buffer_drops) {
  int a = udp(), b = udp();
  CHECK_OK(set(b, SOL_SOCKET, SO_RCVBUF, 4000));
  for (int i = 0; i < 100; i++) CHECK_EQ(send_to(a, "x", v4(port_of(b))), 1);
  int got = 0;
  while (receive(b) == "x") got++;
  CHECK(got > 2 && got < 40);
}

TEST(shut_down) {
  int server = udp();
  int fd = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  CHECK_OK(connect_to(fd, v4(port_of(server))));
  CHECK_OK(shutdown(fd, SHUT_RD));
  CHECK_EQ(events_of(fd), POLLIN | POLLOUT | POLLRDHUP);
  CHECK_EQ(receive(fd, 0), "");
  CHECK_OK(shutdown(fd, SHUT_WR));
  CHECK_EQ(events_of(fd), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
  CHECK_ERR(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
}

TEST(version_six) {
  int dual = NEED_OK(socket(AF_INET6, SOCK_DGRAM, 0));
  CHECK_OK(bind_to(dual, v6(0, "::")));
  int four = udp();
  CHECK_EQ(send_to(four, "four", v4(port_of(dual))), 4);
  char buffer[16];
  sockaddr_in6 from{};
  socklen_t length = sizeof from;
  CHECK_EQ(recvfrom(dual, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &length), 4);
  CHECK(IN6_IS_ADDR_V4MAPPED(&from.sin6_addr));
  CHECK_EQ(send_to(dual, "back", from), 4);
  CHECK_EQ(receive(four), "back");
  int six = NEED_OK(socket(AF_INET6, SOCK_DGRAM, 0));
  CHECK_EQ(send_to(six, "six", v6(port_of(dual))), 3);
  length = sizeof from;
  CHECK_EQ(recvfrom(dual, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &length), 3);
  CHECK(IN6_IS_ADDR_LOOPBACK(&from.sin6_addr));
  CHECK_EQ(send_to(six, "mixed", v4(port_of(four))), 5);
  CHECK_EQ(receive(four), "mixed");
}

TEST(control_messages) {
  int a = udp(), b = udp("0.0.0.0");
  CHECK_OK(set(b, IPPROTO_IP, IP_PKTINFO, 1));
  CHECK_OK(set(b, IPPROTO_IP, IP_RECVTTL, 1));
  CHECK_OK(set(b, SOL_SOCKET, SO_TIMESTAMP, 1));
  CHECK_EQ(send_to(a, "x", v4(port_of(b), "127.0.0.3")), 1);
  alignas(8) char control[256];
  char byte;
  iovec piece{&byte, 1};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  CHECK_EQ(recvmsg(b, &message, 0), 1);
  int seen = 0;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      memcpy(&info, CMSG_DATA(part), sizeof info);
      CHECK_EQ(info.ipi_addr.s_addr, inet_addr("127.0.0.3"));
      CHECK_EQ(info.ipi_ifindex, 1);
      seen |= 1;
    }
    if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_TTL) {
      int hops;
      memcpy(&hops, CMSG_DATA(part), sizeof hops);
      CHECK_EQ(hops, 64);
      seen |= 2;
    }
    if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMP) {
      timeval time;
      memcpy(&time, CMSG_DATA(part), sizeof time);
      CHECK(time.tv_sec > 1600000000);
      seen |= 4;
    }
  }
  CHECK_EQ(seen, 7);
}

TEST(multicast) {
  int members[2];
  uint16_t port = 0;
  for (int& fd : members) {
    fd = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
    CHECK_OK(set(fd, SOL_SOCKET, SO_REUSEADDR, 1));
    CHECK_OK(bind_to(fd, v4(port, "0.0.0.0")));
    port = port_of(fd);
    ip_mreq group{};
    inet_pton(AF_INET, "239.1.2.3", &group.imr_multiaddr);
    group.imr_interface.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_OK(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group));
    CHECK_ERR(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group), EADDRINUSE);
  }
  int sender = udp();
  in_addr interface { htonl(INADDR_LOOPBACK) };
  CHECK_OK(setsockopt(sender, IPPROTO_IP, IP_MULTICAST_IF, &interface, sizeof interface));
  CHECK_EQ(send_to(sender, "all", v4(port, "239.1.2.3")), 3);
  for (int fd : members) CHECK_EQ(receive(fd), "all");
  CHECK_EQ(number(sender, IPPROTO_IP, IP_MULTICAST_TTL), 1);
  CHECK(check::read_file("/proc/net/igmp").find("\t\t\t\t030201EF     2 0:00000000\t\t0\n") !=
        std::string::npos);
  CHECK(check::read_file("/proc/net/igmp").find("\t\t\t\t010000E0     1 0:00000000\t\t0\n") !=
        std::string::npos);
  CHECK_OK(set(sender, IPPROTO_IP, IP_MULTICAST_LOOP, 0));
}

TEST(waiting_and_timeouts) {
  int a = udp(), b = udp();
  timeval time{0, 20000};
  CHECK_OK(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
  CHECK_EQ(receive(a, 0), "EAGAIN");
  pid_t pid = fork();
  if (pid == 0) {
    check::until_asleep(getppid());
    _exit(send_to(a, "late", v4(port_of(b))) == 4 ? 0 : 1);
  }
  CHECK_EQ(receive(b, 0), "late");
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EXIT(status, 0);
}

TEST(many_messages_in_a_call) {
  int a = udp(), b = udp();
  sockaddr_in name = v4(port_of(b));
  mmsghdr messages[3]{};
  iovec pieces[3];
  char texts[3][4] = {"one", "two", "six"};
  for (int i = 0; i < 3; i++) {
    pieces[i] = {texts[i], 3};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_name = &name;
    messages[i].msg_hdr.msg_namelen = sizeof name;
  }
  CHECK_EQ(sendmmsg(a, messages, 3, 0), 3);
  CHECK_EQ(messages[2].msg_len, 3u);
  sockaddr_in from[3];
  for (int i = 0; i < 3; i++) messages[i].msg_hdr.msg_name = &from[i];
  CHECK_EQ(recvmmsg(b, messages, 3, MSG_WAITFORONE, nullptr), 3);
  CHECK_EQ(std::string(texts[1], 3), "two");
  CHECK_EQ(ntohs(from[2].sin_port), port_of(a));
}

// ip(7), MSG_ERRQUEUE: who was not there, and what it was that did not arrive.
TEST(refused_datagrams_are_kept) {
  int gone = udp();
  uint16_t port = port_of(gone);
  close(gone);
  int fd = udp();
  NEED_OK(set(fd, IPPROTO_IP, IP_RECVERR, 1));
  CHECK_EQ(send_to(fd, "lost", v4(port)), 4);
  CHECK_EQ(events_of(fd), POLLOUT | POLLERR);
  char data[16], control[128];
  sockaddr_in name{};
  iovec piece{data, sizeof data};
  msghdr message{};
  message.msg_name = &name;
  message.msg_namelen = sizeof name;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  CHECK_EQ(recvmsg(fd, &message, MSG_ERRQUEUE), 4);
  CHECK_EQ(std::string(data, 4), "lost");
  CHECK_EQ(message.msg_flags & MSG_ERRQUEUE, MSG_ERRQUEUE);
  CHECK_EQ(ntohs(name.sin_port), port);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  NEED(header != nullptr);
  CHECK_EQ(header->cmsg_level, IPPROTO_IP);
  CHECK_EQ(header->cmsg_type, IP_RECVERR);
  struct {
    sock_extended_err error;
    sockaddr_in offender;
  } said;
  CHECK_EQ(header->cmsg_len, CMSG_LEN(sizeof said));
  memcpy(&said, CMSG_DATA(header), sizeof said);
  CHECK_EQ(said.error.ee_errno, unsigned(ECONNREFUSED));
  CHECK_EQ(int(said.error.ee_origin), SO_EE_ORIGIN_ICMP);
  CHECK_EQ(int(said.error.ee_type), 3);
  CHECK_EQ(int(said.error.ee_code), 3);
  CHECK_EQ(said.offender.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
  CHECK_EQ(events_of(fd), POLLOUT);
  CHECK_EQ(number(fd, SOL_SOCKET, SO_ERROR), 0);
  CHECK_ERR(recvmsg(fd, &message, MSG_ERRQUEUE), EAGAIN);
}
