#include "host/broker/published_ports.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/broker/socket_address.h"
#include "host/launch/error.h"

namespace teacup::host {

namespace {

void set_flag(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof value);
}

// All addresses of the host, in one socket where it has IPv6.
SocketAddress wildcard(int family, u16 port) {
  return *SocketAddress::parse(family == AF_INET6 ? "::" : "0.0.0.0", port);
}

// Keeps the port that `fd` is bound to, without listening. A port that the host chose is given up with the
// listening, and is taken again by its number.
bool park(int fd, const SocketAddress& address) {
  if (::listen(fd, 0) != 0) return false;
  set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 0);
  shutdown(fd, SHUT_RD);
  return bind(fd, address.raw(), address.length) == 0 || errno == EINVAL;  // bound as it was
}

[[noreturn]] void refuse(const MachinePort& wanted, int error, int fd) {
  if (fd >= 0) close(fd);
  std::string text = "cannot publish port " + std::to_string(wanted.guest) + ": " + errno_text(error);
  std::string where =
      (wanted.address.empty() ? "the host's port " : wanted.address + " port ") + std::to_string(wanted.host);
  if (error == EADDRINUSE) text = where + " is taken; give another: -p PORT:" + std::to_string(wanted.guest);
  if (error == EACCES) text = where + " is for root; give one above 1023";
  if (error == EADDRNOTAVAIL) text = wanted.address + " is not an address of this host";
  throw LaunchError("-p " + wanted.text + ": " + text);
}

}  // namespace

void PublishedPorts::open(std::span<const MachinePort> wanted) {
  for (const MachinePort& port : wanted) open_one(port);
}

void PublishedPorts::open_one(const MachinePort& wanted) {
  if (ports_.size() == abi::kMaxPublished)
    throw LaunchError("more ports are published than teacup can (1024)");
  int type = (wanted.is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
  SocketAddress address = wildcard(AF_INET6, wanted.host);
  if (!wanted.address.empty()) address = *SocketAddress::parse(wanted.address, wanted.host);
  int fd = socket(address.family(), type, 0);
  if (fd < 0 && wanted.address.empty()) {
    address = wildcard(AF_INET, wanted.host);
    fd = socket(AF_INET, type, 0);
  }
  if (fd < 0) refuse(wanted, errno, fd);
  if (address.family() == AF_INET6) set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, wanted.address.empty() ? 0 : 1);
  if (!wanted.is_udp) set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (bind(fd, address.raw(), address.length) != 0) refuse(wanted, errno, fd);
  address.set_port(SocketAddress::local_of(fd).port());
  if (!wanted.is_udp && !park(fd, address)) refuse(wanted, errno, fd);
  if (wanted.host == 0) {
    fprintf(stderr, "teacup run: port %u%s of the machine is %s\n", wanted.guest, wanted.is_udp ? "/udp" : "",
            address.text().c_str());
  }
  abi::PublishedPort& shared = abi::gateway().published[ports_.size()];
  shared.guest_port = wanted.guest;
  shared.is_udp = wanted.is_udp ? 1 : 0;
  ports_.push_back({fd, wanted.guest, wanted.is_udp});
  abi::gateway().published_count = static_cast<u32>(ports_.size());
}

void PublishedPorts::follow(int epoll_fd, u64 tag) {
  std::lock_guard guard(mutex_);
  for (std::size_t i = 0; i < ports_.size(); i++) {
    Port& port = ports_[i];
    bool listening = abi::gateway().published[i].listening.load(std::memory_order_seq_cst) != 0;
    if (port.is_udp || listening == port.listening) continue;
    if (listening) {
      set_flag(port.fd, SOL_SOCKET, SO_REUSEADDR, 1);
      if (::listen(port.fd, SOMAXCONN) != 0) continue;
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u64 = tag + i;
      epoll_ctl(epoll_fd, EPOLL_CTL_ADD, port.fd, &event);
    } else {
      epoll_ctl(epoll_fd, EPOLL_CTL_DEL, port.fd, nullptr);
      set_flag(port.fd, SOL_SOCKET, SO_REUSEADDR, 0);
      shutdown(port.fd, SHUT_RD);
    }
    port.listening = listening;
  }
}

}  // namespace teacup::host
