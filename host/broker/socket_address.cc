#include "host/broker/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace teacup::host {

namespace {

sockaddr_in& v4(sockaddr_storage& storage) {
  return reinterpret_cast<sockaddr_in&>(storage);
}
sockaddr_in6& v6(sockaddr_storage& storage) {
  return reinterpret_cast<sockaddr_in6&>(storage);
}
const sockaddr_in& v4(const sockaddr_storage& storage) {
  return reinterpret_cast<const sockaddr_in&>(storage);
}
const sockaddr_in6& v6(const sockaddr_storage& storage) {
  return reinterpret_cast<const sockaddr_in6&>(storage);
}

constexpr u8 kMappedPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace

std::optional<SocketAddress> SocketAddress::parse(const std::string& ip, u16 port) {
  std::string bare = ip;
  if (bare.size() > 2 && bare.front() == '[' && bare.back() == ']') bare = bare.substr(1, bare.size() - 2);
  SocketAddress address;
  if (inet_pton(AF_INET, bare.c_str(), &v4(address.storage).sin_addr) == 1) {
    address.storage.ss_family = AF_INET;
    address.length = sizeof(sockaddr_in);
  } else if (inet_pton(AF_INET6, bare.c_str(), &v6(address.storage).sin6_addr) == 1) {
    address.storage.ss_family = AF_INET6;
    address.length = sizeof(sockaddr_in6);
  } else {
    return std::nullopt;
  }
  address.set_port(port);
  return address;
}

SocketAddress SocketAddress::from_name(const abi::GatewayName& name) {
  SocketAddress address;
  if (std::equal(kMappedPrefix, kMappedPrefix + 12, name.address)) {
    address.storage.ss_family = AF_INET;
    address.length = sizeof(sockaddr_in);
    std::memcpy(&v4(address.storage).sin_addr, name.address + 12, 4);
  } else {
    address.storage.ss_family = AF_INET6;
    address.length = sizeof(sockaddr_in6);
    std::memcpy(&v6(address.storage).sin6_addr, name.address, 16);
    v6(address.storage).sin6_scope_id = name.scope;
  }
  address.set_port(name.port);
  return address;
}

SocketAddress SocketAddress::local_of(int fd) {
  SocketAddress address;
  address.length = sizeof address.storage;
  if (getsockname(fd, address.raw(), &address.length) != 0) return {};
  return address;
}

u16 SocketAddress::port() const {
  if (family() == AF_INET) return ntohs(v4(storage).sin_port);
  return family() == AF_INET6 ? ntohs(v6(storage).sin6_port) : u16{0};
}

void SocketAddress::set_port(u16 port) {
  if (family() == AF_INET) v4(storage).sin_port = htons(port);
  if (family() == AF_INET6) v6(storage).sin6_port = htons(port);
}

abi::GatewayName SocketAddress::name() const {
  abi::GatewayName name{};
  if (family() == AF_INET) {
    std::copy(kMappedPrefix, kMappedPrefix + 12, name.address);
    std::memcpy(name.address + 12, &v4(storage).sin_addr, 4);
  } else if (family() == AF_INET6) {
    std::memcpy(name.address, &v6(storage).sin6_addr, 16);
    name.scope = v6(storage).sin6_scope_id;
  }
  name.port = port();
  return name;
}

std::string SocketAddress::text() const {
  char digits[INET6_ADDRSTRLEN] = "?";
  if (family() == AF_INET) inet_ntop(AF_INET, &v4(storage).sin_addr, digits, sizeof digits);
  if (family() != AF_INET6) return std::string(digits) + ":" + std::to_string(port());
  inet_ntop(AF_INET6, &v6(storage).sin6_addr, digits, sizeof digits);
  return "[" + std::string(digits) + "]:" + std::to_string(port());
}

}  // namespace teacup::host
