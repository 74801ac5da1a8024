// Raw sockets and the echo sockets of icmp(7), which is what ping uses.
#include "tests/guest/check.h"
#include "tests/guest/ip_names.h"

#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>

namespace {

constexpr int kFilter = 1;  // ICMP_FILTER, of linux/icmp.h, which netinet/ip_icmp.h excludes

int raw(int family, int protocol) {
  int fd = socket(family, SOCK_RAW, protocol);
  if (fd < 0 && errno == EPERM) check::skip("no CAP_NET_RAW");
  return NEED_OK(fd);
}
int echo(int family) {
  int fd = socket(family, SOCK_DGRAM, family == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6});
  if (fd < 0 && errno == EACCES) check::skip("not in net.ipv4.ping_group_range");
  return NEED_OK(fd);
}
std::string request(uint8_t type, uint16_t identifier, uint16_t sequence, std::string_view data) {
  icmphdr header{};
  header.type = type;
  header.un.echo.id = htons(identifier);
  header.un.echo.sequence = htons(sequence);
  return std::string(reinterpret_cast<char*>(&header), sizeof header).append(data);
}
std::string receive(int fd) {
  pollfd p{fd, POLLIN, 0};
  if (poll(&p, 1, check::kPatience) != 1) return "nothing";
  char buffer[4096];
  ssize_t n = recv(fd, buffer, sizeof buffer, 0);
  return n < 0 ? check::errno_text(errno) : std::string(buffer, size_t(n));
}
bool quiet(int fd) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, 50) == 0;
}
template <typename Name>
ssize_t send_to(int fd, std::string_view data, const Name& name) {
  return sendto(fd, data.data(), data.size(), 0, as_name(name), sizeof name);
}
// The sum over a whole message is 0 if its checksum is right.
uint16_t sum_of(std::string_view bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); i += 2)
    sum += uint32_t(uint8_t(bytes[i])) << 8 | (i + 1 < bytes.size() ? uint8_t(bytes[i + 1]) : 0u);
  while (sum >> 16) sum = (sum >> 16) + (sum & 0xffff);
  return uint16_t(~sum);
}
icmphdr header_of(std::string_view message) {
  icmphdr header{};
  memcpy(&header, message.data(), std::min(message.size(), sizeof header));
  return header;
}

}  // namespace

TEST(an_echo_comes_back_under_the_sockets_identifier) {
  int fd = echo(AF_INET), other = echo(AF_INET);
  NEED_OK(bind_to(fd, v4(4242)));
  CHECK_EQ(port_of(fd), 4242);
  CHECK_EQ(send_to(fd, request(ICMP_ECHO, 1, 5, "data"), v4(0)), 12);
  std::string reply = receive(fd);
  CHECK_EQ(reply.size(), 12u);
  CHECK_EQ(int(header_of(reply).type), ICMP_ECHOREPLY);
  CHECK_EQ(ntohs(header_of(reply).un.echo.id), 4242);
  CHECK_EQ(ntohs(header_of(reply).un.echo.sequence), 5);
  CHECK_EQ(sum_of(reply), 0);
  CHECK(quiet(other));
  NEED_OK(connect_to(other, v4(0, "127.0.0.3")));
  CHECK(port_of(other) != 0);
  CHECK_EQ(send(other, request(ICMP_ECHO, 0, 1, "").data(), 8, 0), 8);
  CHECK_EQ(receive(other).size(), 8u);
}

TEST(an_identifier_is_its_last_owners) {
  int first = echo(AF_INET), last = echo(AF_INET);
  NEED_OK(bind_to(first, v4(4243)));
  NEED_OK(bind_to(last, v4(4243)));
  CHECK_ERR(bind_to(last, v4(4244)), EINVAL);
  CHECK_EQ(send_to(first, request(ICMP_ECHO, 1, 5, "data"), v4(0)), 12);
  CHECK_EQ(receive(last).size(), 12u);
  CHECK(quiet(first));
}

TEST(an_echo_socket_sends_nothing_else) {
  int fd = echo(AF_INET);
  CHECK_ERR(send_to(fd, "short", v4(0)), EINVAL);
  CHECK_ERR(send_to(fd, request(ICMP_ECHOREPLY, 1, 1, ""), v4(0)), EINVAL);
  CHECK_ERR(send(fd, request(ICMP_ECHO, 1, 1, "").data(), 8, 0), EDESTADDRREQ);
  CHECK_ERR(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMPV6), EPROTONOSUPPORT);
}

TEST(echoes_of_ipv6) {
  int fd = echo(AF_INET6);
  NEED_OK(bind_to(fd, v6(77)));
  CHECK_EQ(send_to(fd, request(ICMP6_ECHO_REQUEST, 1, 5, "abcd"), v6(0)), 12);
  std::string reply = receive(fd);
  CHECK_EQ(int(header_of(reply).type), ICMP6_ECHO_REPLY);
  CHECK_EQ(ntohs(header_of(reply).un.echo.id), 77);
  CHECK_EQ(reply.substr(8), "abcd");
}

// The loopback shows a raw socket both the question and the answer, with their headers.
TEST(a_raw_socket_sees_packets_whole) {
  int fd = raw(AF_INET, IPPROTO_ICMP);
  std::string message = request(ICMP_ECHO, 9, 1, "hi");
  uint16_t sum = htons(sum_of(message));
  memcpy(message.data() + 2, &sum, 2);
  CHECK_EQ(send_to(fd, message, v4(0)), 10);
  for (int type : {ICMP_ECHO, ICMP_ECHOREPLY}) {
    std::string packet = receive(fd);
    NEED(packet.size() == 30);
    CHECK_EQ(packet[0], 0x45);
    CHECK_EQ(packet[9], IPPROTO_ICMP);
    CHECK_EQ(sum_of(packet.substr(0, 20)), 0);
    CHECK_EQ(int(packet[20]), type);
    CHECK_EQ(sum_of(packet.substr(20)), 0);
  }
}

TEST(raw_sockets_filter_types) {
  int fd = raw(AF_INET, IPPROTO_ICMP);
  uint32_t mask = ~(1u << ICMP_ECHOREPLY);
  CHECK_OK(setsockopt(fd, SOL_RAW, kFilter, &mask, sizeof mask));
  uint32_t got = 0;
  socklen_t length = sizeof got;
  CHECK_OK(getsockopt(fd, SOL_RAW, kFilter, &got, &length));
  CHECK_EQ(got, mask);
  std::string message = request(ICMP_ECHO, 9, 1, "");
  uint16_t sum = htons(sum_of(message));
  memcpy(message.data() + 2, &sum, 2);
  CHECK_EQ(send_to(fd, message, v4(0)), 8);
  std::string packet = receive(fd);
  NEED(packet.size() == 28);
  CHECK_EQ(int(packet[20]), ICMP_ECHOREPLY);
  CHECK(quiet(fd));
}

TEST(protocols_of_ones_own) {
  int a = raw(AF_INET, 253), b = raw(AF_INET, 253), c = raw(AF_INET, 254);
  CHECK_EQ(send_to(a, "abc", v4(0)), 3);
  CHECK_EQ(receive(a).substr(20), "abc");
  CHECK_EQ(receive(b).substr(20), "abc");
  CHECK(quiet(c));
  NEED_OK(bind_to(b, v4(0, "127.0.0.2")));
  CHECK_EQ(send_to(a, "abc", v4(0)), 3);
  CHECK_EQ(receive(a).size(), 23u);
  CHECK(quiet(b));
  int d = raw(AF_INET6, 253);
  CHECK_EQ(send_to(d, "abc", v6(0)), 3);
  CHECK_EQ(receive(d), "abc");  // no header
}

TEST(headers_of_ones_own) {
  int receiver = raw(AF_INET, 253), sender = raw(AF_INET, IPPROTO_RAW);
  int on = 0;
  socklen_t length = sizeof on;
  CHECK_OK(getsockopt(sender, IPPROTO_IP, IP_HDRINCL, &on, &length));
  CHECK_EQ(on, 1);
  struct {
    ip header;
    char data[4];
  } packet{};
  packet.header.ip_v = 4;
  packet.header.ip_hl = 5;
  packet.header.ip_ttl = 7;
  packet.header.ip_p = 253;
  packet.header.ip_src.s_addr = inet_addr("127.0.0.9");
  packet.header.ip_dst.s_addr = inet_addr("127.0.0.1");
  memcpy(packet.data, "data", 4);
  sockaddr_in to = v4(0);
  CHECK_EQ(sendto(sender, &packet, sizeof packet, 0, as_name(to), sizeof to), 24);
  std::string got = receive(receiver);
  NEED(got.size() == 24);
  CHECK_EQ(int(got[8]), 7);
  CHECK_EQ(got.substr(12, 4), std::string("\x7f\0\0\x09", 4));
  CHECK_EQ(got.substr(20), "data");
}

TEST(raw_sockets_want_a_protocol) {
  raw(AF_INET, IPPROTO_ICMP);
  CHECK_ERR(socket(AF_INET, SOCK_RAW, 0), EPROTONOSUPPORT);
}
