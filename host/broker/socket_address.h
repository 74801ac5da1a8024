// Addresses of host sockets, and how the gateway writes them down.
#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>

#include "kernel/abi/gateway.h"

namespace teacup::host {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  // `ip`: digits only, IPv6 with or without brackets; nullopt: it is no address.
  static std::optional<SocketAddress> parse(const std::string& ip, u16 port);
  static SocketAddress from_name(const abi::GatewayName& name);
  static SocketAddress local_of(int fd);

  int family() const { return storage.ss_family; }
  u16 port() const;
  void set_port(u16 port);
  abi::GatewayName name() const;
  std::string text() const;  // 1.2.3.4:80, [::1]:80
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* raw() { return reinterpret_cast<sockaddr*>(&storage); }
};

}  // namespace teacup::host
