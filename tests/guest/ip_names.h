// Names of sockets for the tests of TCP and UDP, and calls that take them.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

inline sockaddr_in v4(uint16_t port, const char* address = "127.0.0.1") {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(port);
  inet_pton(AF_INET, address, &name.sin_addr);
  return name;
}
inline sockaddr_in6 v6(uint16_t port, const char* address = "::1") {
  sockaddr_in6 name{};
  name.sin6_family = AF_INET6;
  name.sin6_port = htons(port);
  inet_pton(AF_INET6, address, &name.sin6_addr);
  return name;
}
template <typename Name>
const sockaddr* as_name(const Name& name) {
  return reinterpret_cast<const sockaddr*>(&name);
}
template <typename Name>
int bind_to(int fd, const Name& name) {
  return bind(fd, as_name(name), sizeof name);
}
template <typename Name>
int connect_to(int fd, const Name& name) {
  return connect(fd, as_name(name), sizeof name);
}
inline uint16_t port_of(int fd) {
  sockaddr_storage name;
  socklen_t length = sizeof name;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) < 0) return 0;
  return ntohs(reinterpret_cast<sockaddr_in*>(&name)->sin_port);
}
// Of a socket of IPv4, its own.
inline std::string address_of(int fd) {
  sockaddr_in name{};
  socklen_t length = sizeof name;
  char text[INET_ADDRSTRLEN] = "";
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) < 0) return "none";
  inet_ntop(AF_INET, &name.sin_addr, text, sizeof text);
  return text;
}
