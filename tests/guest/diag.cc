// sock_diag(7): sockets told of over netlink, as ss asks for them; and routes, as ip asks.
#include "tests/guest/check.h"
#include "tests/guest/ip_names.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <linux/unix_diag.h>
#include <sys/un.h>

#include <cstddef>
#include <vector>

namespace {

constexpr int kListening = 10, kEstablished = 1;  // TCP_LISTEN, TCP_ESTABLISHED

struct Message {
  nlmsghdr header;
  std::string body;
};

template <typename Body>
std::vector<Message> ask(int protocol, int type, int flags, const Body& body) {
  int fd = NEED_OK(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  struct {
    nlmsghdr header;
    Body body;
  } request{};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof body);
  request.header.nlmsg_type = static_cast<unsigned short>(type);
  request.header.nlmsg_flags = static_cast<unsigned short>(NLM_F_REQUEST | flags);
  request.header.nlmsg_seq = 9;
  request.body = body;
  NEED_OK(send(fd, &request, request.header.nlmsg_len, 0));
  std::vector<Message> messages;
  for (bool more = true; more;) {
    alignas(8) static char buffer[32768];
    ssize_t size = NEED_OK(recv(fd, buffer, sizeof buffer, 0));
    for (auto* at = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(at, size); at = NLMSG_NEXT(at, size)) {
      CHECK_EQ(at->nlmsg_seq, 9u);
      auto* data = static_cast<char*>(NLMSG_DATA(at));
      if (at->nlmsg_type != NLMSG_DONE) messages.push_back({*at, {data, NLMSG_PAYLOAD(at, 0)}});
      more = (at->nlmsg_flags & NLM_F_MULTI) != 0 && at->nlmsg_type != NLMSG_DONE;
    }
  }
  close(fd);
  return messages;
}

template <typename Head>
Head head_of(const Message& message) {
  Head head{};
  memcpy(&head, message.body.data(), std::min(sizeof head, message.body.size()));
  return head;
}
// The data of an attribute behind a message's head; "none" if it has none such.
std::string attribute(const Message& message, size_t head, int type) {
  auto* at = reinterpret_cast<const rtattr*>(message.body.data() + NLMSG_ALIGN(head));
  int left = int(message.body.size() - NLMSG_ALIGN(head));
  for (; RTA_OK(at, left); at = RTA_NEXT(at, left)) {
    if (at->rta_type == type) return {static_cast<const char*>(RTA_DATA(at)), RTA_PAYLOAD(at)};
  }
  return "none";
}

// `wanted`: INET_DIAG_* of the attributes that are asked for.
std::vector<Message> internet(int family, int protocol, unsigned states,
                              std::initializer_list<int> wanted = {}) {
  inet_diag_req_v2 request{};
  for (int one : wanted) request.idiag_ext = static_cast<uint8_t>(request.idiag_ext | 1 << (one - 1));
  request.sdiag_family = static_cast<uint8_t>(family);
  request.sdiag_protocol = static_cast<uint8_t>(protocol);
  request.idiag_states = states;
  return ask(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, request);
}
uint64_t inode_of(int fd) {
  struct stat info;
  NEED_OK(fstat(fd, &info));
  return info.st_ino;
}
const Message* with_inode(const std::vector<Message>& messages, int fd) {
  for (const Message& message : messages) {
    if (head_of<inet_diag_msg>(message).idiag_inode == inode_of(fd)) return &message;
  }
  return nullptr;
}

}  // namespace

TEST(tcp_sockets) {
  int listener = NEED_OK(socket(AF_INET, SOCK_STREAM, 0)), client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  NEED_OK(bind_to(listener, v4(0)));
  NEED_OK(listen(listener, 7));
  NEED_OK(connect_to(client, v4(port_of(listener))));
  auto listening = internet(AF_INET, IPPROTO_TCP, 1u << kListening);
  const Message* found = with_inode(listening, listener);
  NEED(found != nullptr);
  auto head = head_of<inet_diag_msg>(*found);
  CHECK_EQ(int(head.idiag_state), kListening);
  CHECK_EQ(ntohs(head.id.idiag_sport), port_of(listener));
  CHECK_EQ(head.id.idiag_src[0], htonl(INADDR_LOOPBACK));
  CHECK_EQ(head.idiag_rqueue, 1u);  // waits to be accepted
  CHECK_EQ(head.idiag_wqueue, 7u);
  CHECK(with_inode(listening, client) == nullptr);
  int server = NEED_OK(accept(listener, nullptr, nullptr));
  CHECK_EQ(write(client, "hello", 5), 5);
  auto connected = internet(AF_INET, IPPROTO_TCP, 1u << kEstablished);
  found = with_inode(connected, server);
  NEED(found != nullptr);
  head = head_of<inet_diag_msg>(*found);
  CHECK_EQ(ntohs(head.id.idiag_dport), port_of(client));
  CHECK_EQ(head.idiag_rqueue, 5u);
  CHECK(with_inode(connected, client) != nullptr);
  CHECK(with_inode(connected, listener) == nullptr);
}

TEST(the_inner_state_of_connections) {
  int listener = NEED_OK(socket(AF_INET, SOCK_STREAM, 0)), client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  NEED_OK(bind_to(listener, v4(0)));
  NEED_OK(listen(listener, 7));
  int type_of_service = 0x10;
  NEED_OK(setsockopt(client, IPPROTO_IP, IP_TOS, &type_of_service, sizeof type_of_service));
  NEED_OK(setsockopt(client, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
  NEED_OK(connect_to(client, v4(port_of(listener))));
  int server = NEED_OK(accept(listener, nullptr, nullptr));
  char data[3000] = {};
  CHECK_EQ(write(client, data, 1000), 1000);
  CHECK_EQ(recv(server, data, 400, MSG_WAITALL), 400);
  CHECK_OK(shutdown(client, SHUT_WR));
  auto messages =
      internet(AF_INET, IPPROTO_TCP, ~0u,
               {INET_DIAG_MEMINFO, INET_DIAG_INFO, INET_DIAG_CONG, INET_DIAG_TOS, INET_DIAG_SKMEMINFO});
  const Message *sender = with_inode(messages, client), *receiver = with_inode(messages, server),
                *waiting = with_inode(messages, listener);
  NEED(sender != nullptr && receiver != nullptr && waiting != nullptr);
  auto attribute_of = [](const Message* of, int type) { return attribute(*of, sizeof(inet_diag_msg), type); };
  auto info_of = [&](const Message* of) {
    tcp_info info{};
    std::string bytes = attribute_of(of, INET_DIAG_INFO);
    CHECK(bytes.size() >= offsetof(tcp_info, tcpi_rcv_ooopack));
    memcpy(&info, bytes.data(), std::min(sizeof info, bytes.size()));
    return info;
  };
  CHECK_EQ(int(info_of(waiting).tcpi_state), kListening);
  CHECK_EQ(info_of(waiting).tcpi_sacked, 7u);  // how many may wait
  CHECK_EQ(info_of(waiting).tcpi_unacked, 0u);
  CHECK_EQ(info_of(sender).tcpi_bytes_sent, 1000u);
  CHECK_EQ(info_of(receiver).tcpi_bytes_received >= 1000u, true);  // the end counts as one
  CHECK(info_of(receiver).tcpi_bytes_received <= 1001u);
  CHECK(info_of(sender).tcpi_snd_mss > 0 && info_of(sender).tcpi_snd_cwnd > 0);
  // What getsockopt(2) says is the same.
  tcp_info asked{};
  socklen_t length = sizeof asked;
  NEED_OK(getsockopt(client, IPPROTO_TCP, TCP_INFO, &asked, &length));
  CHECK_EQ(asked.tcpi_bytes_sent, 1000u);
  CHECK_EQ(attribute_of(sender, INET_DIAG_CONG), std::string("reno", 5));
  char name[16] = {};
  length = sizeof name;
  NEED_OK(getsockopt(listener, IPPROTO_TCP, TCP_CONGESTION, name, &length));
  CHECK_EQ(attribute_of(waiting, INET_DIAG_CONG), std::string(name, strlen(name) + 1));
  CHECK_EQ(attribute_of(sender, INET_DIAG_TOS), std::string(1, '\x10'));
  // SHUT_WR's bit is 2, SHUT_RD's 1; who has got the end is shut for reading.
  CHECK_EQ(attribute_of(sender, INET_DIAG_SHUTDOWN), std::string(1, '\2'));
  CHECK_EQ(attribute_of(receiver, INET_DIAG_SHUTDOWN), std::string(1, '\1'));
  uint32_t memory[SK_MEMINFO_VARS] = {};
  std::string bytes = attribute_of(receiver, INET_DIAG_SKMEMINFO);
  CHECK(bytes.size() >= sizeof(uint32_t) * (SK_MEMINFO_SNDBUF + 1));
  memcpy(memory, bytes.data(), std::min(sizeof memory, bytes.size()));
  int size = 0;
  length = sizeof size;
  NEED_OK(getsockopt(server, SOL_SOCKET, SO_RCVBUF, &size, &length));
  CHECK_EQ(memory[SK_MEMINFO_RCVBUF], uint32_t(size));
  NEED_OK(getsockopt(server, SOL_SOCKET, SO_SNDBUF, &size, &length));
  CHECK_EQ(memory[SK_MEMINFO_SNDBUF], uint32_t(size));
  CHECK(memory[SK_MEMINFO_RMEM_ALLOC] >= 600);
  CHECK_EQ(attribute_of(receiver, INET_DIAG_MEMINFO).size(), sizeof(inet_diag_meminfo));
  // Nobody asked.
  messages = internet(AF_INET, IPPROTO_TCP, 1u << kListening);
  waiting = with_inode(messages, listener);
  NEED(waiting != nullptr);
  CHECK_EQ(attribute_of(waiting, INET_DIAG_INFO), "none");
  CHECK_EQ(attribute_of(waiting, INET_DIAG_CONG), "none");
}

// A kernel need not be able to tell of them (CONFIG_INET_RAW_DIAG).
TEST(raw_sockets) {
  int raw = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  if (raw < 0) check::skip("no CAP_NET_RAW");
  NEED_OK(bind_to(raw, v4(0, "127.0.0.3")));
  auto messages = internet(AF_INET, IPPROTO_RAW, ~0u);
  const Message* found = with_inode(messages, raw);
  if (found == nullptr) check::skip("raw sockets are not told of");
  auto head = head_of<inet_diag_msg>(*found);
  CHECK_EQ(int(head.idiag_state), 7);
  CHECK_EQ(ntohs(head.id.idiag_sport), IPPROTO_ICMP);
  CHECK_EQ(head.id.idiag_src[0], inet_addr("127.0.0.3"));
}

TEST(sockets_of_ipv6_and_udp) {
  int only = NEED_OK(socket(AF_INET6, SOCK_STREAM, 0)), both = NEED_OK(socket(AF_INET6, SOCK_STREAM, 0)),
      on = 1;
  NEED_OK(setsockopt(only, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on));
  for (int fd : {only, both}) {
    NEED_OK(bind_to(fd, v6(0, "::")));
    NEED_OK(listen(fd, 1));
  }
  auto messages = internet(AF_INET6, IPPROTO_TCP, ~0u);
  const Message *first = with_inode(messages, only), *second = with_inode(messages, both);
  NEED(first != nullptr && second != nullptr);
  CHECK_EQ(attribute(*first, sizeof(inet_diag_msg), INET_DIAG_SKV6ONLY), std::string(1, '\1'));
  CHECK_EQ(attribute(*second, sizeof(inet_diag_msg), INET_DIAG_SKV6ONLY), std::string(1, '\0'));
  int udp = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
  NEED_OK(bind_to(udp, v4(0)));
  messages = internet(AF_INET, IPPROTO_UDP, ~0u);
  const Message* found = with_inode(messages, udp);
  NEED(found != nullptr);
  CHECK_EQ(ntohs(head_of<inet_diag_msg>(*found).id.idiag_sport), port_of(udp));
}

TEST(one_socket_by_its_names) {
  int listener = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  NEED_OK(bind_to(listener, v4(0)));
  NEED_OK(listen(listener, 7));
  inet_diag_req_v2 request{};
  request.sdiag_family = AF_INET;
  request.sdiag_protocol = IPPROTO_TCP;
  request.id.idiag_sport = htons(port_of(listener));
  request.id.idiag_src[0] = htonl(INADDR_LOOPBACK);
  request.id.idiag_cookie[0] = request.id.idiag_cookie[1] = ~0u;
  auto messages = ask(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, 0, request);
  NEED(messages.size() == 1);
  CHECK_EQ(head_of<inet_diag_msg>(messages[0]).idiag_inode, inode_of(listener));
  close(listener);
  messages = ask(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, 0, request);
  NEED(messages.size() == 1);
  CHECK_EQ(messages[0].header.nlmsg_type, NLMSG_ERROR);
  CHECK_EQ(head_of<nlmsgerr>(messages[0]).error, -ENOENT);
}

TEST(unix_sockets) {
  int listener = NEED_OK(socket(AF_UNIX, SOCK_STREAM, 0)), pair[2];
  sockaddr_un name{AF_UNIX, "s"};
  NEED_OK(bind(listener, as_name(name), sizeof(sa_family_t) + 2));
  NEED_OK(listen(listener, 3));
  NEED_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  NEED_OK(shutdown(pair[0], SHUT_WR));
  unix_diag_req request{};
  request.sdiag_family = AF_UNIX;
  request.udiag_states = ~0u;
  request.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN | UDIAG_SHOW_MEMINFO;
  auto messages = ask(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, request);
  int seen = 0;
  for (const Message& message : messages) {
    auto head = head_of<unix_diag_msg>(message);
    if (head.udiag_ino == inode_of(listener)) {
      seen++;
      CHECK_EQ(int(head.udiag_state), kListening);
      CHECK_EQ(attribute(message, sizeof head, UNIX_DIAG_NAME).substr(0, 1), "s");
      uint32_t lengths[2] = {};
      std::string queues = attribute(message, sizeof head, UNIX_DIAG_RQLEN);
      memcpy(lengths, queues.data(), std::min(sizeof lengths, queues.size()));
      CHECK_EQ(lengths[1], 3u);
    }
    if (head.udiag_ino == inode_of(pair[0])) {
      seen++;
      CHECK_EQ(int(head.udiag_state), kEstablished);
      uint32_t peer = 0;
      memcpy(&peer, attribute(message, sizeof head, UNIX_DIAG_PEER).data(), sizeof peer);
      CHECK_EQ(peer, inode_of(pair[1]));
      CHECK_EQ(attribute(message, sizeof head, UNIX_DIAG_SHUTDOWN), std::string(1, '\2'));
      uint32_t memory[SK_MEMINFO_VARS] = {};
      std::string bytes = attribute(message, sizeof head, UNIX_DIAG_MEMINFO);
      memcpy(memory, bytes.data(), std::min(sizeof memory, bytes.size()));
      int size = 0;
      socklen_t length = sizeof size;
      NEED_OK(getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, &length));
      CHECK_EQ(memory[SK_MEMINFO_SNDBUF], uint32_t(size));
    }
  }
  CHECK_EQ(seen, 2);
}

TEST(thousands_of_sockets) {
  std::vector<int> all;
  for (int i = 0; i < 900; i++) {
    int fd = NEED_OK(socket(AF_INET, SOCK_DGRAM, 0));
    NEED_OK(bind_to(fd, v4(0)));
    all.push_back(fd);
  }
  CHECK(internet(AF_INET, IPPROTO_UDP, ~0u).size() >= all.size());
}

// A protocol whose number needs more than a byte is told by an attribute, and not taken for the one of its
// last byte.
TEST(protocols_without_such_sockets) {
  int listener = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  NEED_OK(bind_to(listener, v4(0)));
  NEED_OK(listen(listener, 7));
  struct {
    inet_diag_req_v2 head;
    rtattr attribute;
    uint32_t protocol;
  } request{};
  request.head.sdiag_family = AF_INET;
  request.head.sdiag_protocol = 262 & 255;  // IPPROTO_MPTCP
  request.head.idiag_states = ~0u;
  request.attribute.rta_len = RTA_LENGTH(sizeof request.protocol);
  request.attribute.rta_type = INET_DIAG_REQ_PROTOCOL;
  request.protocol = 262;
  auto messages = ask(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, request);
  CHECK(with_inode(messages, listener) == nullptr);
  request.protocol = IPPROTO_TCP;
  messages = ask(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, request);
  CHECK(with_inode(messages, listener) != nullptr);
}

TEST(families_without_such_sockets) {
  inet_diag_req_v2 request{};
  request.sdiag_family = AF_APPLETALK;
  auto messages = ask(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, 0, request);
  NEED(messages.size() == 1);
  CHECK_EQ(messages[0].header.nlmsg_type, NLMSG_ERROR);
  CHECK_EQ(head_of<nlmsgerr>(messages[0]).error, -ENOENT);
}

TEST(the_route_to_an_address) {
  struct {
    rtmsg head;
    rtattr attribute;
    in_addr to;
  } request{};
  request.head.rtm_family = AF_INET;
  request.head.rtm_dst_len = 32;
  request.attribute.rta_len = RTA_LENGTH(sizeof request.to);
  request.attribute.rta_type = RTA_DST;
  request.to.s_addr = htonl(INADDR_LOOPBACK);
  auto messages = ask(NETLINK_ROUTE, RTM_GETROUTE, 0, request);
  NEED(messages.size() == 1);
  CHECK_EQ(messages[0].header.nlmsg_type, RTM_NEWROUTE);
  CHECK_EQ(int(head_of<rtmsg>(messages[0]).rtm_type), RTN_LOCAL);
  CHECK_EQ(attribute(messages[0], sizeof(rtmsg), RTA_PREFSRC), std::string("\x7f\0\0\1", 4));
}
