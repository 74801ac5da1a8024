// sock_diag(7): sockets told of over netlink, as ss asks for them; and routes, as ip asks.
#include "tests/guest/check.h"
#include "tests/guest/ip_names.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/un.h>

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

std::vector<Message> internet(int family, int protocol, unsigned states) {
  inet_diag_req_v2 request{};
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
  unix_diag_req request{};
  request.sdiag_family = AF_UNIX;
  request.udiag_states = ~0u;
  request.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN;
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
