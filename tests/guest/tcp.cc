// TCP over the machine's own addresses: names and ports, connections and their ends, options, readiness.
#include "tests/guest/check.h"
#include "tests/guest/ip_names.h"

#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <algorithm>
#include <vector>

namespace {

std::string text_of(const sockaddr_storage& name) {
  char buffer[64] = "?";
  if (name.ss_family == AF_INET)
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(name).sin_addr, buffer, sizeof buffer);
  if (name.ss_family == AF_INET6)
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(name).sin6_addr, buffer, sizeof buffer);
  return buffer;
}
std::string local_of(int fd) {
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) < 0) return "error";
  return text_of(name);
}
std::string peer_of(int fd) {
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&name), &length) < 0) return "error";
  return text_of(name);
}
int listener(int backlog = 16) {
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  NEED_OK(bind_to(fd, v4(0)));
  NEED_OK(listen(fd, backlog));
  return fd;
}
struct Pair {
  int client, server, listening;
  Pair() {
    listening = listener();
    client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
    NEED_OK(connect_to(client, v4(port_of(listening))));
    server = NEED_OK(accept(listening, nullptr, nullptr));
  }
};
short events_of(int fd, short wanted = POLLIN | POLLOUT | POLLPRI | POLLRDHUP) {
  pollfd poller{fd, wanted, 0};
  return poll(&poller, 1, 0) < 0 ? -1 : poller.revents;
}
void nonblocking(int fd) {
  NEED_OK(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK));
}
int number(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  return getsockopt(fd, level, name, &value, &length) < 0 ? -errno : value;
}
int set(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value);
}
std::string drain(int fd) {
  std::string out;
  char buffer[65536];
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) out.append(buffer, size_t(n));
  return out;
}

}  // namespace

TEST(connect_and_talk) {
  Pair pair;
  CHECK_EQ(local_of(pair.client), "127.0.0.1");
  CHECK_EQ(peer_of(pair.server), "127.0.0.1");
  CHECK_EQ(port_of(pair.server), port_of(pair.listening));
  CHECK_EQ(write(pair.client, "hello", 5), 5);
  char buffer[16] = {};
  CHECK_EQ(read(pair.server, buffer, sizeof buffer), 5);
  CHECK_EQ(std::string(buffer), "hello");
  CHECK_EQ(write(pair.server, "world!", 6), 6);
  CHECK_EQ(recv(pair.client, buffer, 3, MSG_PEEK), 3);
  CHECK_EQ(recv(pair.client, buffer, 5, 0), 5);
  CHECK_EQ(recv(pair.client, buffer, 5, MSG_DONTWAIT), 1);
  CHECK_ERR(recv(pair.client, buffer, 5, MSG_DONTWAIT), EAGAIN);
}

TEST(accept_gives_the_name) {
  int listening = listener();
  int client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  NEED_OK(connect_to(client, v4(port_of(listening))));
  sockaddr_in name{};
  socklen_t length = sizeof name;
  int server =
      NEED_OK(accept4(listening, reinterpret_cast<sockaddr*>(&name), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
  CHECK_EQ(length, sizeof name);
  CHECK_EQ(name.sin_family, AF_INET);
  CHECK_EQ(ntohs(name.sin_port), port_of(client));
  CHECK_EQ(fcntl(server, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  CHECK_EQ(fcntl(server, F_GETFD), FD_CLOEXEC);
}

TEST(socket_arguments) {
  CHECK_ERR(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
  CHECK_ERR(socket(AF_INET, SOCK_SEQPACKET, 0), ESOCKTNOSUPPORT);
  CHECK_ERR(socket(AF_INET, 77, 0), EINVAL);
  CHECK_ERR(socket(77, SOCK_STREAM, 0), EAFNOSUPPORT);
  int pair[2];
  CHECK_ERR(socketpair(AF_INET, SOCK_STREAM, 0, pair), EOPNOTSUPP);
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM, IPPROTO_TCP));
  CHECK_EQ(number(fd, SOL_SOCKET, SO_DOMAIN), AF_INET);
  CHECK_EQ(number(fd, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
  CHECK_EQ(number(fd, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
  CHECK_EQ(number(fd, SOL_SOCKET, SO_ACCEPTCONN), 0);
  struct stat info;
  CHECK_OK(fstat(fd, &info));
  CHECK(S_ISSOCK(info.st_mode));
}

TEST(fresh_socket) {
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  char byte;
  CHECK_EQ(events_of(fd), POLLOUT | POLLHUP);
  CHECK_ERR(recv(fd, &byte, 1, 0), ENOTCONN);
  CHECK_ERR(send(fd, &byte, 1, MSG_NOSIGNAL), EPIPE);
  CHECK_ERR(shutdown(fd, SHUT_RDWR), ENOTCONN);
  CHECK_ERR(shutdown(fd, 7), EINVAL);
  CHECK_ERR(accept(fd, nullptr, nullptr), EINVAL);
  CHECK_EQ(peer_of(fd), "error");
  CHECK_EQ(local_of(fd), "0.0.0.0");
  CHECK_EQ(port_of(fd), 0);
}

TEST(bind_rules) {
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in name = v4(0);
  CHECK_ERR(bind(fd, as_name(name), 4), EINVAL);
  sockaddr_in6 other = v6(0);
  CHECK_ERR(bind_to(fd, other), EAFNOSUPPORT);
  CHECK_ERR(bind_to(fd, v4(0, "192.0.2.1")), EADDRNOTAVAIL);
  CHECK_OK(bind_to(fd, name));
  uint16_t port = port_of(fd);
  CHECK(port >= 1024);
  CHECK_ERR(bind_to(fd, v4(0)), EINVAL);
  int second = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_ERR(bind_to(second, v4(port)), EADDRINUSE);
  CHECK_ERR(bind_to(second, v4(port, "0.0.0.0")), EADDRINUSE);
  CHECK_OK(bind_to(second, v4(port, "127.0.0.2")));
  int third = NEED_OK(socket(AF_INET6, SOCK_STREAM, 0));
  CHECK_ERR(bind_to(third, v6(port, "::")), EADDRINUSE);
  CHECK_OK(set(third, IPPROTO_IPV6, IPV6_V6ONLY, 1));
  CHECK_OK(bind_to(third, v6(port, "::")));
  CHECK_ERR(set(third, IPPROTO_IPV6, IPV6_V6ONLY, 0), EINVAL);
}

TEST(reuse_address) {
  int first = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  int second = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(set(first, SOL_SOCKET, SO_REUSEADDR, 1));
  CHECK_OK(bind_to(first, v4(0)));
  uint16_t port = port_of(first);
  CHECK_ERR(bind_to(second, v4(port)), EADDRINUSE);
  CHECK_OK(set(second, SOL_SOCKET, SO_REUSEADDR, 1));
  CHECK_OK(bind_to(second, v4(port)));
  CHECK_OK(listen(first, 1));
  CHECK_ERR(listen(second, 1), EADDRINUSE);
  int third = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(set(third, SOL_SOCKET, SO_REUSEADDR, 1));
  CHECK_ERR(bind_to(third, v4(port)), EADDRINUSE);
}

// Both are asked for SO_REUSEADDR as it is now.
TEST(reuse_address_at_the_time) {
  auto fresh = [](bool reuse) {
    int fd = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
    CHECK_OK(set(fd, SOL_SOCKET, SO_REUSEADDR, reuse));
    return fd;
  };
  int first = fresh(false), second = fresh(true);
  CHECK_OK(bind_to(first, v4(0)));
  uint16_t port = port_of(first);
  CHECK_ERR(bind_to(second, v4(port)), EADDRINUSE);
  CHECK_OK(set(first, SOL_SOCKET, SO_REUSEADDR, 1));
  CHECK_OK(bind_to(second, v4(port)));
  CHECK_ERR(bind_to(fresh(false), v4(port)), EADDRINUSE);
  CHECK_OK(bind_to(fresh(false), v4(port, "127.0.0.2")));
  CHECK_OK(set(first, SOL_SOCKET, SO_REUSEADDR, 0));
  int late = fresh(true);
  CHECK_ERR(bind_to(late, v4(port)), EADDRINUSE);
  CHECK_OK(set(first, SOL_SOCKET, SO_REUSEADDR, 1));
  CHECK_OK(bind_to(late, v4(port)));
}

TEST(port_of_an_ended_connection_is_free) {
  Pair pair;
  uint16_t port = port_of(pair.listening);
  close(pair.listening);
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_ERR(bind_to(fd, v4(port)), EADDRINUSE);
  linger reset{1, 0};
  CHECK_OK(setsockopt(pair.client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
  close(pair.client);
  // The server's end is open, but closed.
  CHECK_OK(bind_to(fd, v4(port)));
}

// What connecting makes of "any" counts, and stays if the address was asked for.
TEST(connecting_moves_a_name) {
  int fd = NEED_OK(socket(AF_INET6, SOCK_STREAM, 0));
  CHECK_OK(bind_to(fd, v6(0, "::")));
  uint16_t port = port_of(fd);
  int plain = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_ERR(bind_to(plain, v4(port)), EADDRINUSE);
  int listening = NEED_OK(socket(AF_INET6, SOCK_STREAM, 0));
  CHECK_OK(bind_to(listening, v6(0)));
  CHECK_OK(listen(listening, 1));
  CHECK_OK(connect_to(fd, v6(port_of(listening))));
  // It is at ::1 now. "Any of IPv4" is still taken to be in its way.
  int any = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_ERR(bind_to(any, v4(port, "0.0.0.0")), EADDRINUSE);
  CHECK_OK(bind_to(plain, v4(port)));

  int mapped = NEED_OK(socket(AF_INET6, SOCK_STREAM, 0));
  CHECK_OK(bind_to(mapped, v6(0, "::ffff:0.0.0.0")));
  port = port_of(mapped);
  int other = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_ERR(bind_to(other, v4(port, "127.0.0.2")), EADDRINUSE);
  close(listening);
  CHECK_ERR(connect_to(mapped, v6(1, "::ffff:127.0.0.1")), ECONNREFUSED);
  CHECK_EQ(local_of(mapped), "::ffff:127.0.0.1");
  CHECK_OK(bind_to(other, v4(port, "127.0.0.2")));
}

// What was a listener does not connect as one of those that it accepted.
TEST(accepted_connections_have_their_names) {
  int listening = NEED_OK(socket(AF_INET, SOCK_STREAM, 0)), client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(set(listening, SOL_SOCKET, SO_REUSEADDR, 1));
  NEED_OK(bind_to(listening, v4(0)));
  NEED_OK(listen(listening, 1));
  uint16_t port = port_of(listening);
  NEED_OK(connect_to(client, v4(port)));
  NEED_OK(accept(listening, nullptr, nullptr));
  CHECK_OK(shutdown(listening, SHUT_RDWR));
  CHECK_OK(bind_to(listening, v4(port)));
  CHECK_ERR(connect_to(listening, v4(port_of(client))), EADDRNOTAVAIL);
}

// An address that was asked for once is one that connections leave, though the next bind(2) asks for any.
TEST(refused_after_an_earlier_address) {
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM, 0)), nobody = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(bind_to(nobody, v4(0)));
  CHECK_OK(bind_to(fd, v4(0, "127.9.8.7")));
  CHECK_OK(listen(fd, 1));
  CHECK_OK(shutdown(fd, SHUT_RDWR));
  CHECK_OK(bind_to(fd, v4(0, "0.0.0.0")));
  CHECK_ERR(connect_to(fd, v4(port_of(nobody))), ECONNREFUSED);
  CHECK_EQ(address_of(fd), "127.0.0.1");
  int other = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(bind_to(other, v4(0, "0.0.0.0")));
  CHECK_ERR(connect_to(other, v4(port_of(nobody))), ECONNREFUSED);
  CHECK_EQ(address_of(other), "0.0.0.0");
}

TEST(accepting_who_has_gone) {
  int listening = listener();
  int client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  NEED_OK(connect_to(client, v4(port_of(listening))));
  uint16_t port = port_of(client);
  linger reset{1, 0};
  CHECK_OK(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
  close(client);
  sockaddr_in from{};
  socklen_t length = sizeof from;
  int fd = NEED_OK(accept(listening, reinterpret_cast<sockaddr*>(&from), &length));
  CHECK_EQ(length, sizeof from);
  CHECK_EQ(ntohs(from.sin_port), port);
  CHECK_ERR(getpeername(fd, reinterpret_cast<sockaddr*>(&from), &length), ENOTCONN);
}

// A call that has got something leaves an error for the next.
TEST(error_behind_data) {
  Pair pair;
  CHECK_EQ(write(pair.client, "abc", 3), 3);
  linger reset{1, 0};
  CHECK_OK(setsockopt(pair.client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
  close(pair.client);
  char buffer[8];
  CHECK_EQ(recv(pair.server, buffer, sizeof buffer, MSG_WAITALL), 3);
  CHECK_ERR(recv(pair.server, buffer, sizeof buffer, 0), ECONNRESET);
}

TEST(type_of_service_sets_priority) {
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(set(fd, SOL_SOCKET, SO_PRIORITY, 1));
  CHECK_OK(set(fd, IPPROTO_IP, IP_TOS, 0));  // nothing new
  CHECK_EQ(number(fd, SOL_SOCKET, SO_PRIORITY), 1);
  CHECK_OK(set(fd, IPPROTO_IP, IP_TOS, IPTOS_LOWDELAY));
  CHECK_EQ(number(fd, SOL_SOCKET, SO_PRIORITY), 6);
  CHECK_OK(set(fd, IPPROTO_IP, IP_TOS, IPTOS_THROUGHPUT));
  CHECK_EQ(number(fd, SOL_SOCKET, SO_PRIORITY), 2);
}

TEST(reuse_port_shares_connections) {
  int listeners[2];
  uint16_t port = 0;
  for (int& fd : listeners) {
    fd = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
    CHECK_OK(set(fd, SOL_SOCKET, SO_REUSEPORT, 1));
    CHECK_OK(bind_to(fd, v4(port)));
    CHECK_OK(listen(fd, 128));
    nonblocking(fd);
    port = port_of(fd);
  }
  int plain = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_ERR(bind_to(plain, v4(port)), EADDRINUSE);
  for (int i = 0; i < 64; i++) {
    int client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
    NEED_OK(connect_to(client, v4(port)));
  }
  int counts[2] = {};
  for (int i = 0; i < 2; i++) {
    while (accept(listeners[i], nullptr, nullptr) >= 0) counts[i]++;
  }
  CHECK_EQ(counts[0] + counts[1], 64);
  CHECK(counts[0] > 4 && counts[1] > 4);
}

TEST(port_is_kept_by_accepted) {
  Pair pair;
  uint16_t port = port_of(pair.listening);
  close(pair.listening);
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_ERR(bind_to(fd, v4(port)), EADDRINUSE);
  CHECK_ERR(connect_to(fd, v4(port)), ECONNREFUSED);
}

TEST(refused) {
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  int other = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(bind_to(other, v4(0)));
  uint16_t port = port_of(other);
  CHECK_ERR(connect_to(fd, v4(port)), ECONNREFUSED);
  CHECK_EQ(events_of(fd), POLLOUT | POLLHUP);
  CHECK_EQ(number(fd, SOL_SOCKET, SO_ERROR), 0);
  // The socket is good for another try.
  int listening = listener();
  CHECK_OK(connect_to(fd, v4(port_of(listening))));
}

TEST(refused_nonblocking) {
  int other = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(bind_to(other, v4(0)));
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  int epoll = NEED_OK(epoll_create1(0));
  epoll_event event{EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {}};
  CHECK_OK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
  CHECK_EQ(epoll_wait(epoll, &event, 1, 0), 1);
  CHECK_EQ(event.events, EPOLLOUT | EPOLLHUP);
  CHECK_ERR(connect_to(fd, v4(port_of(other))), EINPROGRESS);
  CHECK_EQ(epoll_wait(epoll, &event, 1, check::kPatience), 1);
  CHECK_EQ(event.events, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP);
  CHECK_EQ(number(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
  CHECK_EQ(number(fd, SOL_SOCKET, SO_ERROR), 0);
  CHECK_EQ(events_of(fd), POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
  CHECK_ERR(connect_to(fd, v4(port_of(other))), ECONNABORTED);
  CHECK_ERR(connect_to(fd, v4(port_of(other))), EINPROGRESS);
  CHECK_ERR(connect_to(fd, v4(port_of(other))), ECONNREFUSED);
}

TEST(connect_nonblocking) {
  int listening = listener();
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  sockaddr_in name = v4(port_of(listening));
  CHECK_ERR(connect_to(fd, name), EINPROGRESS);
  CHECK_EQ(events_of(fd), POLLOUT);
  CHECK_EQ(number(fd, SOL_SOCKET, SO_ERROR), 0);
  CHECK_OK(connect_to(fd, name));
  CHECK_ERR(connect_to(fd, name), EISCONN);
  CHECK_EQ(events_of(listening), POLLIN);
  CHECK_ERR(connect_to(listening, name), EISCONN);
}

TEST(connect_arguments) {
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in name = v4(9);
  CHECK_ERR(connect(fd, as_name(name), 8), EINVAL);
  CHECK_ERR(connect_to(fd, v6(9)), EAFNOSUPPORT);
  CHECK_ERR(connect(fd, nullptr, sizeof name), EFAULT);
  // Any address is the machine's own.
  int listening = listener();
  CHECK_OK(connect_to(fd, v4(port_of(listening), "0.0.0.0")));
  CHECK_EQ(peer_of(fd), "127.0.0.1");
}

TEST(backlog_makes_wait) {
  int listening = listener(1);
  int fds[3];
  for (int& fd : fds) fd = NEED_OK(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  for (int fd : fds) CHECK_ERR(connect_to(fd, v4(port_of(listening))), EINPROGRESS);
  CHECK_EQ(events_of(fds[0]), POLLOUT);
  CHECK_EQ(events_of(fds[1]), POLLOUT);
  CHECK_EQ(events_of(fds[2]), 0);
  CHECK_ERR(connect_to(fds[2], v4(port_of(listening))), EALREADY);
  CHECK_OK(accept(listening, nullptr, nullptr));
  pollfd poller{fds[2], POLLOUT, 0};
  CHECK_EQ(poll(&poller, 1, check::kPatience), 1);
  CHECK_OK(connect_to(fds[2], v4(port_of(listening))));
}

TEST(listener_closes) {
  int listening = listener();
  int client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  NEED_OK(connect_to(client, v4(port_of(listening))));
  close(listening);
  char byte;
  CHECK_ERR(recv(client, &byte, 1, 0), ECONNRESET);
  CHECK_EQ(recv(client, &byte, 1, 0), 0);
}

TEST(shutdown_of_listener) {
  int listening = listener();
  CHECK_EQ(number(listening, SOL_SOCKET, SO_ACCEPTCONN), 1);
  CHECK_OK(shutdown(listening, SHUT_WR));
  CHECK_EQ(number(listening, SOL_SOCKET, SO_ACCEPTCONN), 1);
  CHECK_OK(shutdown(listening, SHUT_RD));
  CHECK_EQ(number(listening, SOL_SOCKET, SO_ACCEPTCONN), 0);
  CHECK_ERR(accept(listening, nullptr, nullptr), EINVAL);
  CHECK_OK(listen(listening, 1));
  CHECK(port_of(listening) != 0);
}

TEST(listen_without_bind) {
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(listen(fd, 1));
  CHECK(port_of(fd) != 0);
  CHECK_EQ(local_of(fd), "0.0.0.0");
  int client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(connect_to(client, v4(port_of(fd), "127.1.2.3")));
  int server = NEED_OK(accept(fd, nullptr, nullptr));
  CHECK_EQ(local_of(server), "127.1.2.3");
  CHECK_EQ(peer_of(server), "127.0.0.1");
}

TEST(half_close) {
  Pair pair;
  CHECK_EQ(write(pair.client, "bye", 3), 3);
  CHECK_OK(shutdown(pair.client, SHUT_WR));
  CHECK_EQ(events_of(pair.client), POLLOUT);
  CHECK_EQ(events_of(pair.server), POLLIN | POLLOUT | POLLRDHUP);
  CHECK_EQ(drain(pair.server), "bye");
  CHECK_ERR(send(pair.client, "x", 1, MSG_NOSIGNAL), EPIPE);
  CHECK_EQ(write(pair.server, "still", 5), 5);
  CHECK_OK(shutdown(pair.server, SHUT_WR));
  CHECK_EQ(events_of(pair.server), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
  CHECK_EQ(drain(pair.client), "still");
  CHECK_EQ(events_of(pair.client), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
  CHECK_ERR(shutdown(pair.client, SHUT_WR), ENOTCONN);
  CHECK_EQ(peer_of(pair.client), "error");
}

TEST(shutdown_reading) {
  Pair pair;
  CHECK_OK(shutdown(pair.server, SHUT_RD));
  CHECK_EQ(events_of(pair.server), POLLIN | POLLOUT | POLLRDHUP);
  char byte;
  CHECK_EQ(read(pair.server, &byte, 1), 0);
  CHECK_EQ(events_of(pair.client), POLLOUT);
  CHECK_EQ(write(pair.client, "x", 1), 1);
  CHECK_EQ(read(pair.server, &byte, 1), 1);
  CHECK_EQ(read(pair.server, &byte, 1), 0);
}

TEST(close_with_unread_data_resets) {
  Pair pair;
  CHECK_EQ(write(pair.client, "unread", 6), 6);
  CHECK_EQ(write(pair.server, "read", 4), 4);
  close(pair.server);
  CHECK_EQ(events_of(pair.client), POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR);
  char buffer[16];
  CHECK_EQ(read(pair.client, buffer, sizeof buffer), 4);
  CHECK_ERR(read(pair.client, buffer, sizeof buffer), ECONNRESET);
  CHECK_EQ(read(pair.client, buffer, sizeof buffer), 0);
  CHECK_ERR(send(pair.client, "x", 1, MSG_NOSIGNAL), EPIPE);
}

TEST(writing_to_closed) {
  Pair pair;
  close(pair.server);
  CHECK_EQ(events_of(pair.client), POLLIN | POLLOUT | POLLRDHUP);
  CHECK_EQ(write(pair.client, "x", 1), 1);
  CHECK(check::eventually(
      [&] { return events_of(pair.client) == (POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR); }));
  char byte;
  CHECK_EQ(read(pair.client, &byte, 1), 0);
  CHECK_ERR(send(pair.client, "x", 1, MSG_NOSIGNAL), EPIPE);
  CHECK_EQ(number(pair.client, SOL_SOCKET, SO_ERROR), 0);
  CHECK_KILLED(check::in_child([&] { (void)!write(pair.client, "x", 1); }), SIGPIPE);
}

TEST(writing_more_than_a_buffer_to_closed) {
  Pair pair;
  nonblocking(pair.server);
  close(pair.client);
  std::vector<char> data(64 << 20, 'x');
  // Not all is taken: who goes on learns that nobody is there.
  ssize_t sent = NEED_OK(send(pair.server, data.data(), data.size(), MSG_NOSIGNAL));
  CHECK(sent > 0 && sent < static_cast<ssize_t>(data.size()));
  CHECK_ERR(send(pair.server, data.data(), data.size(), MSG_NOSIGNAL), EPIPE);
}

TEST(linger_zero_resets) {
  Pair pair;
  linger off{1, 0};
  CHECK_OK(setsockopt(pair.server, SOL_SOCKET, SO_LINGER, &off, sizeof off));
  close(pair.server);
  char byte;
  CHECK_ERR(read(pair.client, &byte, 1), ECONNRESET);
  CHECK_EQ(number(pair.client, SOL_SOCKET, SO_ERROR), 0);
}

TEST(disconnect) {
  Pair pair;
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  CHECK_OK(connect(pair.client, &none, sizeof none));
  char byte;
  CHECK_ERR(read(pair.server, &byte, 1), ECONNRESET);
  CHECK_EQ(peer_of(pair.client), "error");
  CHECK_OK(connect_to(pair.client, v4(port_of(pair.listening))));
}

TEST(out_of_band) {
  Pair pair;
  char buffer[16] = {};
  CHECK_ERR(recv(pair.server, buffer, 1, MSG_OOB), EINVAL);
  CHECK_EQ(send(pair.client, "abX", 3, MSG_OOB), 3);
  CHECK_EQ(send(pair.client, "cd", 2, 0), 2);
  CHECK_EQ(events_of(pair.server), POLLIN | POLLOUT | POLLPRI);
  int at_mark = -1;
  CHECK_OK(ioctl(pair.server, SIOCATMARK, &at_mark));
  CHECK_EQ(at_mark, 0);
  CHECK_EQ(read(pair.server, buffer, sizeof buffer), 2);
  CHECK_OK(ioctl(pair.server, SIOCATMARK, &at_mark));
  CHECK_EQ(at_mark, 1);
  CHECK_EQ(recv(pair.server, buffer, 1, MSG_OOB), 1);
  CHECK_EQ(buffer[0], 'X');
  CHECK_ERR(recv(pair.server, buffer, 1, MSG_OOB), EINVAL);
  CHECK_EQ(read(pair.server, buffer, sizeof buffer), 2);
  CHECK_EQ(std::string(buffer, 2), "cd");
  // In line it is a byte like others, but no read goes over it.
  CHECK_OK(set(pair.server, SOL_SOCKET, SO_OOBINLINE, 1));
  CHECK_EQ(send(pair.client, "eY", 2, MSG_OOB), 2);
  CHECK_EQ(read(pair.server, buffer, sizeof buffer), 1);
  CHECK_EQ(read(pair.server, buffer, sizeof buffer), 1);
  CHECK_EQ(buffer[0], 'Y');
}

// MSG_WAITALL ends at the urgent byte, which can be had then; the next call passes it over.
TEST(waiting_for_all_before_an_urgent_byte) {
  for (int wait : {0, int{MSG_DONTWAIT}}) {
    Pair pair;
    CHECK_EQ(send(pair.client, "abcX", 4, MSG_OOB), 4);
    CHECK_EQ(send(pair.client, "de", 2, 0), 2);
    char buffer[8];
    CHECK_EQ(recv(pair.server, buffer, sizeof buffer, MSG_WAITALL | wait), 3);
    CHECK_EQ(events_of(pair.server) & (POLLPRI | POLLIN), POLLPRI | POLLIN);
    CHECK_EQ(recv(pair.server, buffer, sizeof buffer, MSG_OOB), 1);
    CHECK_EQ(buffer[0], 'X');
    CHECK_EQ(recv(pair.server, buffer, 2, MSG_WAITALL | wait), 2);
    CHECK_EQ(buffer[0], 'd');
  }
}

// The earlier of two urgent bytes is one like others, but not if reading has come as far as to it.
TEST(two_urgent_bytes) {
  Pair pair;
  char buffer[8];
  CHECK_EQ(send(pair.client, "aX", 2, MSG_OOB), 2);
  CHECK_EQ(send(pair.client, "bY", 2, MSG_OOB), 2);
  CHECK_EQ(recv(pair.server, buffer, sizeof buffer, 0), 3);
  CHECK(memcmp(buffer, "aXb", 3) == 0);
  CHECK_EQ(send(pair.client, "cZ", 2, MSG_OOB), 2);
  CHECK_EQ(recv(pair.server, buffer, sizeof buffer, 0), 1);
  CHECK_EQ(buffer[0], 'c');
  NEED_OK(set(pair.server, SOL_SOCKET, SO_OOBINLINE, 1));
  CHECK_EQ(send(pair.client, "dV", 2, MSG_OOB), 2);
  CHECK_EQ(recv(pair.server, buffer, sizeof buffer, 0), 2);
  CHECK(memcmp(buffer, "Zd", 2) == 0);
}

TEST(back_pressure) {
  Pair pair;
  nonblocking(pair.client);
  std::vector<char> data(100000, 'x');
  size_t sent = 0;
  for (ssize_t n; (n = write(pair.client, data.data(), data.size())) > 0;) sent += size_t(n);
  CHECK_EQ(errno, EAGAIN);
  CHECK(sent > 100000 && sent < 20000000);
  CHECK_EQ(events_of(pair.client), 0);
  int epoll = NEED_OK(epoll_create1(0));
  epoll_event event{EPOLLOUT | EPOLLET, {}};
  CHECK_OK(epoll_ctl(epoll, EPOLL_CTL_ADD, pair.client, &event));
  CHECK_EQ(epoll_wait(epoll, &event, 1, 0), 0);
  size_t received = 0;
  while (received < sent) {
    ssize_t n = NEED_OK(read(pair.server, data.data(), data.size()));
    received += size_t(n);
  }
  CHECK_EQ(received, sent);
  CHECK_EQ(epoll_wait(epoll, &event, 1, check::kPatience), 1);
  CHECK_EQ(events_of(pair.client), POLLOUT);
}

TEST(stream_of_megabytes) {
  Pair pair;
  constexpr size_t kSize = 24 << 20;
  pid_t pid = fork();
  if (pid == 0) {
    std::vector<uint32_t> data(65536 / 4 + 3);
    size_t sent = 0;
    uint32_t next = 0;
    while (sent < kSize) {
      for (uint32_t& word : data) word = next++;
      const char* at = reinterpret_cast<char*>(data.data());
      size_t size = std::min(data.size() * 4, kSize - sent);
      if (write(pair.client, at, size) != ssize_t(size)) _exit(1);
      sent += size;
    }
    _exit(0);
  }
  close(pair.client);
  std::vector<char> buffer(50000);
  size_t received = 0;
  uint32_t expected = 0;
  bool good = true;
  std::string rest;
  for (ssize_t n; (n = read(pair.server, buffer.data(), buffer.size())) > 0;) {
    received += size_t(n);
    rest.append(buffer.data(), size_t(n));
    size_t at = 0;
    for (; at + 4 <= rest.size(); at += 4) {
      uint32_t word;
      memcpy(&word, rest.data() + at, 4);
      good = good && word == expected++;
    }
    rest.erase(0, at);
  }
  CHECK_EQ(received, kSize);
  CHECK(good);
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EXIT(status, 0);
}

TEST(blocking_accept_and_connect) {
  int listening = listener();
  pid_t pid = fork();
  if (pid == 0) {
    check::until_asleep(getppid());
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    _exit(connect_to(fd, v4(port_of(listening))) == 0 && write(fd, "ok", 2) == 2 ? 0 : 1);
  }
  int server = NEED_OK(accept(listening, nullptr, nullptr));
  CHECK_EQ(drain(server), "ok");
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EXIT(status, 0);
}

TEST(timeouts) {
  Pair pair;
  timeval time{0, 30000};
  CHECK_OK(setsockopt(pair.server, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
  char byte;
  int64_t start = check::now_ns();
  CHECK_ERR(read(pair.server, &byte, 1), EAGAIN);
  CHECK(check::now_ns() - start >= 25000000);
  CHECK_ERR(recv(pair.server, &byte, 1, 0), EAGAIN);
  CHECK_OK(setsockopt(pair.listening, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
  CHECK_ERR(accept(pair.listening, nullptr, nullptr), EAGAIN);
  timeval got{};
  socklen_t length = sizeof got;
  CHECK_OK(getsockopt(pair.server, SOL_SOCKET, SO_RCVTIMEO, &got, &length));
  CHECK(got.tv_sec == 0 && got.tv_usec >= 30000 && got.tv_usec < 40000);
  // A full backlog.
  int full = listener(0);
  int first = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(connect_to(first, v4(port_of(full))));
  int second = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(setsockopt(second, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time));
  CHECK_ERR(connect_to(second, v4(port_of(full))), EINPROGRESS);
}

TEST(wait_for_all_and_low_water) {
  Pair pair;
  pid_t pid = fork();
  if (pid == 0) {
    for (int i = 0; i < 5; i++) {
      if (write(pair.client, "ab", 2) != 2) _exit(1);
      check::sleep_ms(2);
    }
    _exit(0);
  }
  char buffer[16] = {};
  CHECK_EQ(recv(pair.server, buffer, 10, MSG_WAITALL), 10);
  CHECK_EQ(std::string(buffer, 10), "ababababab");
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_OK(set(pair.server, SOL_SOCKET, SO_RCVLOWAT, 4));
  CHECK_EQ(write(pair.client, "123", 3), 3);
  CHECK_EQ(events_of(pair.server, POLLIN), 0);
  CHECK_EQ(write(pair.client, "4", 1), 1);
  CHECK_EQ(events_of(pair.server, POLLIN), POLLIN);
  CHECK_EQ(recv(pair.server, buffer, 2, 0), 2);
}

TEST(truncating_discards) {
  Pair pair;
  CHECK_EQ(write(pair.client, "0123456789", 10), 10);
  char buffer[16] = "zzzz";
  CHECK_EQ(recv(pair.server, buffer, 4, MSG_TRUNC), 4);
  CHECK_EQ(std::string(buffer, 4), "zzzz");
  CHECK_EQ(recv(pair.server, buffer, 2, 0), 2);
  CHECK_EQ(std::string(buffer, 2), "45");
  // No more than was asked for.
  CHECK_EQ(recv(pair.server, buffer, 3, MSG_TRUNC | MSG_WAITALL), 3);
  CHECK_EQ(recv(pair.server, buffer, 1, 0), 1);
  CHECK_EQ(buffer[0], '9');
  CHECK_EQ(send(pair.client, "!", 1, MSG_OOB), 1);
  CHECK_EQ(events_of(pair.server, POLLPRI), POLLPRI);
  CHECK_EQ(recv(pair.server, buffer, 1, MSG_OOB | MSG_TRUNC), 1);
  CHECK_EQ(buffer[0], '9');
}

TEST(options_of_tcp) {
  int fd = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_EQ(number(fd, IPPROTO_TCP, TCP_NODELAY), 0);
  CHECK_OK(set(fd, IPPROTO_TCP, TCP_NODELAY, 5));
  CHECK_EQ(number(fd, IPPROTO_TCP, TCP_NODELAY), 1);
  CHECK_EQ(number(fd, IPPROTO_TCP, TCP_KEEPIDLE), 7200);
  CHECK_OK(set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 10));
  CHECK_EQ(number(fd, IPPROTO_TCP, TCP_KEEPIDLE), 10);
  CHECK_ERR(set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 0), EINVAL);
  CHECK_EQ(number(fd, IPPROTO_TCP, TCP_KEEPINTVL), 75);
  CHECK_EQ(number(fd, IPPROTO_TCP, TCP_KEEPCNT), 9);
  CHECK_OK(set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 1234));
  CHECK_EQ(number(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 1234);
  CHECK_OK(set(fd, IPPROTO_TCP, TCP_CORK, 1));
  CHECK_OK(set(fd, IPPROTO_TCP, TCP_QUICKACK, 1));
  CHECK_OK(set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1));
  CHECK_EQ(number(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
  CHECK_OK(set(fd, SOL_SOCKET, SO_KEEPALIVE, 1));
  CHECK_EQ(number(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
  CHECK_OK(set(fd, SOL_SOCKET, SO_RCVBUF, 10000));
  CHECK_EQ(number(fd, SOL_SOCKET, SO_RCVBUF), 20000);
  CHECK_OK(set(fd, SOL_SOCKET, SO_SNDBUF, 1));
  CHECK_EQ(number(fd, SOL_SOCKET, SO_SNDBUF), 4608);
  CHECK_OK(set(fd, IPPROTO_IP, IP_TOS, 16));
  CHECK_EQ(number(fd, IPPROTO_IP, IP_TOS), 16);
  CHECK_EQ(number(fd, IPPROTO_IP, IP_TTL), 64);
  CHECK_EQ(number(fd, IPPROTO_TCP, 9999), -ENOPROTOOPT);
  CHECK_ERR(set(fd, IPPROTO_TCP, 9999, 1), ENOPROTOOPT);
  CHECK_EQ(number(fd, SOL_SOCKET, 9999), -ENOPROTOOPT);
  unsigned char byte = 8;
  CHECK_ERR(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &byte, 1), EINVAL);
}

TEST(options_are_inherited) {
  int listening = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(set(listening, SOL_SOCKET, SO_KEEPALIVE, 1));
  CHECK_OK(set(listening, IPPROTO_TCP, TCP_NODELAY, 1));
  CHECK_OK(set(listening, IPPROTO_IP, IP_TOS, IPTOS_LOWDELAY));
  CHECK_OK(set(listening, SOL_SOCKET, SO_PRIORITY, 2));
  CHECK_OK(listen(listening, 1));
  int client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(connect_to(client, v4(port_of(listening))));
  int server = NEED_OK(accept(listening, nullptr, nullptr));
  CHECK_EQ(number(server, SOL_SOCKET, SO_KEEPALIVE), 1);
  CHECK_EQ(number(server, IPPROTO_TCP, TCP_NODELAY), 1);
  CHECK_EQ(number(server, IPPROTO_IP, IP_TOS), IPTOS_LOWDELAY);
  CHECK_EQ(number(server, SOL_SOCKET, SO_PRIORITY), 0);
  CHECK_EQ(fcntl(server, F_GETFL) & O_NONBLOCK, 0);
}

TEST(information) {
  Pair pair;
  tcp_info info{};
  socklen_t length = sizeof info;
  CHECK_OK(getsockopt(pair.client, IPPROTO_TCP, TCP_INFO, &info, &length));
  CHECK(length >= 104);
  CHECK_EQ(info.tcpi_state, TCP_ESTABLISHED);
  CHECK_OK(shutdown(pair.client, SHUT_WR));
  length = sizeof info;
  CHECK_OK(getsockopt(pair.server, IPPROTO_TCP, TCP_INFO, &info, &length));
  CHECK_EQ(info.tcpi_state, TCP_CLOSE_WAIT);
  length = sizeof info;
  CHECK_OK(getsockopt(pair.client, IPPROTO_TCP, TCP_INFO, &info, &length));
  CHECK(info.tcpi_state == TCP_FIN_WAIT1 || info.tcpi_state == TCP_FIN_WAIT2);
  length = sizeof info;
  CHECK_OK(getsockopt(pair.listening, IPPROTO_TCP, TCP_INFO, &info, &length));
  CHECK_EQ(info.tcpi_state, TCP_LISTEN);
  CHECK_EQ(number(pair.client, IPPROTO_TCP, TCP_MAXSEG), 32741);
}

TEST(counts_of_bytes) {
  Pair pair;
  int count = -1;
  CHECK_OK(ioctl(pair.server, FIONREAD, &count));
  CHECK_EQ(count, 0);
  CHECK_EQ(write(pair.client, "12345", 5), 5);
  CHECK_OK(ioctl(pair.server, FIONREAD, &count));
  CHECK_EQ(count, 5);
  CHECK_OK(ioctl(pair.client, TIOCOUTQ, &count));
  CHECK_EQ(count, 0);
  CHECK_ERR(ioctl(pair.listening, FIONREAD, &count), EINVAL);
}

TEST(version_six) {
  int listening = NEED_OK(socket(AF_INET6, SOCK_STREAM, 0));
  CHECK_EQ(number(listening, IPPROTO_IPV6, IPV6_V6ONLY), 0);
  CHECK_OK(bind_to(listening, v6(0, "::")));
  CHECK_OK(listen(listening, 4));
  uint16_t port = port_of(listening);
  int client = NEED_OK(socket(AF_INET6, SOCK_STREAM, 0));
  CHECK_OK(connect_to(client, v6(port)));
  int server = NEED_OK(accept(listening, nullptr, nullptr));
  CHECK_EQ(local_of(server), "::1");
  CHECK_EQ(peer_of(server), "::1");
  // Dual: an IPv4 client is seen by its mapped address.
  int other = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(connect_to(other, v4(port)));
  int second = NEED_OK(accept(listening, nullptr, nullptr));
  CHECK_EQ(peer_of(second), "::ffff:127.0.0.1");
  CHECK_EQ(local_of(second), "::ffff:127.0.0.1");
  int third = NEED_OK(socket(AF_INET6, SOCK_STREAM, 0));
  CHECK_OK(connect_to(third, v6(port, "::ffff:127.0.0.1")));
  CHECK_EQ(local_of(third), "::ffff:127.0.0.1");
  CHECK_EQ(write(third, "x", 1), 1);
}

TEST(version_six_only) {
  int listening = NEED_OK(socket(AF_INET6, SOCK_STREAM, 0));
  CHECK_OK(set(listening, IPPROTO_IPV6, IPV6_V6ONLY, 1));
  CHECK_OK(bind_to(listening, v6(0, "::")));
  CHECK_OK(listen(listening, 4));
  uint16_t port = port_of(listening);
  int client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_ERR(connect_to(client, v4(port)), ECONNREFUSED);
  int only = NEED_OK(socket(AF_INET6, SOCK_STREAM, 0));
  CHECK_OK(set(only, IPPROTO_IPV6, IPV6_V6ONLY, 1));
  CHECK_ERR(connect_to(only, v6(port, "::ffff:127.0.0.1")), ENETUNREACH);
  CHECK_ERR(bind_to(only, v6(0, "::ffff:127.0.0.1")), EINVAL);
  CHECK_OK(connect_to(only, v6(port)));
}

TEST(closest_listener_wins) {
  int any = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  int one = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  for (int fd : {any, one}) CHECK_OK(set(fd, SOL_SOCKET, SO_REUSEPORT, 1));
  CHECK_OK(bind_to(any, v4(0, "0.0.0.0")));
  uint16_t port = port_of(any);
  CHECK_OK(bind_to(one, v4(port, "127.0.0.7")));
  CHECK_OK(listen(any, 4));
  CHECK_OK(listen(one, 4));
  nonblocking(any);
  nonblocking(one);
  int client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  CHECK_OK(connect_to(client, v4(port, "127.0.0.7")));
  CHECK_ERR(accept(any, nullptr, nullptr), EAGAIN);
  CHECK_OK(accept(one, nullptr, nullptr));
}

TEST(epoll_tells_of_the_end) {
  Pair pair;
  int epoll = NEED_OK(epoll_create1(0));
  epoll_event event{EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {}};
  CHECK_OK(epoll_ctl(epoll, EPOLL_CTL_ADD, pair.server, &event));
  CHECK_EQ(epoll_wait(epoll, &event, 1, 0), 1);
  CHECK_EQ(event.events, EPOLLOUT);
  CHECK_EQ(epoll_wait(epoll, &event, 1, 0), 0);
  CHECK_EQ(write(pair.client, "x", 1), 1);
  CHECK_EQ(epoll_wait(epoll, &event, 1, check::kPatience), 1);
  CHECK_EQ(event.events, EPOLLIN | EPOLLOUT);
  // Another byte is another event, though the first was not read.
  CHECK_EQ(write(pair.client, "y", 1), 1);
  CHECK_EQ(epoll_wait(epoll, &event, 1, check::kPatience), 1);
  char buffer[8];
  CHECK_EQ(read(pair.server, buffer, sizeof buffer), 2);
  CHECK_EQ(epoll_wait(epoll, &event, 1, 0), 0);
  CHECK_OK(shutdown(pair.client, SHUT_WR));
  CHECK_EQ(epoll_wait(epoll, &event, 1, check::kPatience), 1);
  CHECK_EQ(event.events, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
  CHECK_OK(shutdown(pair.server, SHUT_WR));
  CHECK_EQ(epoll_wait(epoll, &event, 1, check::kPatience), 1);
  CHECK_EQ(event.events, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
}

TEST(poll_wakes_on_data_and_close) {
  Pair pair;
  pid_t pid = fork();
  if (pid == 0) {
    check::until_asleep(getppid());
    _exit(write(pair.client, "x", 1) == 1 ? 0 : 1);
  }
  close(pair.client);
  pollfd poller{pair.server, POLLIN, 0};
  CHECK_EQ(poll(&poller, 1, check::kPatience), 1);
  CHECK_EQ(poller.revents, POLLIN);
  CHECK_EQ(drain(pair.server), "x");
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EXIT(status, 0);
}

TEST(vectors_and_sendfile) {
  Pair pair;
  char a[] = "one ", b[] = "two ";
  iovec pieces[] = {{a, 4}, {b, 4}};
  CHECK_EQ(writev(pair.client, pieces, 2), 8);
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  CHECK_EQ(sendmsg(pair.client, &message, 0), 8);
  CHECK(check::write_file("file", "three"));
  int file = NEED_OK(open("file", O_RDONLY));
  CHECK_EQ(sendfile(pair.client, file, nullptr, 100), 5);
  close(pair.client);
  char buffer[4];
  iovec into[] = {{buffer, 2}, {buffer + 2, 2}};
  message = {};
  message.msg_iov = into;
  message.msg_iovlen = 2;
  sockaddr_in name;
  message.msg_name = &name;
  message.msg_namelen = sizeof name;
  CHECK_EQ(recvmsg(pair.server, &message, 0), 4);
  CHECK_EQ(message.msg_namelen, 0);
  CHECK_EQ(message.msg_flags, 0);
  CHECK_EQ(drain(pair.server), "two one two three");
}

TEST(descriptors_run_out) {
  int listening = listener();
  int client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
  NEED_OK(connect_to(client, v4(port_of(listening))));
  while (dup(0) >= 0) {
  }
  CHECK_EQ(errno, EMFILE);
  CHECK_ERR(accept(listening, nullptr, nullptr), EMFILE);
  CHECK_EQ(events_of(listening), POLLIN);
  close(0);
  CHECK_EQ(accept(listening, nullptr, nullptr), 0);
}

TEST(many_connections) {
  int listening = listener(64);
  for (int i = 0; i < 300; i++) {
    int client = NEED_OK(socket(AF_INET, SOCK_STREAM, 0));
    NEED_OK(connect_to(client, v4(port_of(listening))));
    int server = NEED_OK(accept(listening, nullptr, nullptr));
    NEED(write(client, "ping", 4) == 4);
    char buffer[4];
    NEED(read(server, buffer, 4) == 4);
    close(i % 2 ? client : server);
    NEED(read(i % 2 ? server : client, buffer, 4) == 0);
    close(i % 2 ? server : client);
  }
}

TEST(interrupted) {
  Pair pair;
  struct sigaction action {};
  action.sa_handler = [](int) {};
  CHECK_OK(sigaction(SIGALRM, &action, nullptr));
  itimerval timer{{0, 5000}, {0, 5000}};
  CHECK_OK(setitimer(ITIMER_REAL, &timer, nullptr));
  char byte;
  CHECK_ERR(read(pair.server, &byte, 1), EINTR);
  CHECK_ERR(accept(pair.listening, nullptr, nullptr), EINTR);
}
