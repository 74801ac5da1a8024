#include "cli/network_values.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstdint>

namespace teacup::cli {

namespace {

constexpr unsigned kLastPort = 65535;

struct PortRange {
  unsigned first = 0, count = 1;
};

std::optional<unsigned> parse_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port > kLastPort) return std::nullopt;
  return port;
}

// "80" or "80-89".
std::optional<PortRange> parse_ports(std::string_view text) {
  const size_t dash = text.find('-');
  const auto first = parse_port(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : parse_port(text.substr(dash + 1));
  if (!first || !last || *last < *first) return std::nullopt;
  return PortRange{*first, *last - *first + 1};
}

bool is_address(std::string text) {
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') text = text.substr(1, text.size() - 2);
  in6_addr into;
  return inet_pton(AF_INET, text.c_str(), &into) == 1 || inet_pton(AF_INET6, text.c_str(), &into) == 1;
}

}  // namespace

std::optional<CliError> parse_publish(const std::string& text, std::vector<host::MachinePort>& ports) {
  const auto wrong = [&](const std::string& what) {
    return CliError{"-p '" + text + "': " + what,
                    "Write -p [ADDR:]HOST:GUEST[/udp], as -p 8080:80, or -p GUEST for any free port."};
  };
  const size_t slash = text.find('/');
  const std::string protocol = slash == std::string::npos ? "tcp" : text.substr(slash + 1);
  if (protocol == "udp") return wrong("UDP ports cannot be published yet");
  if (protocol != "tcp" && protocol != "udp") return wrong("'" + protocol + "' is neither tcp nor udp");
  std::string rest = text.substr(0, slash), address, host;
  const size_t last = rest.rfind(':');
  const std::string guest = last == std::string::npos ? rest : rest.substr(last + 1);
  if (last != std::string::npos) {
    rest.resize(last);
    const size_t before = rest.rfind(':');
    // The colon inside brackets is an address's.
    const bool has_address = before != std::string::npos && rest.find(']', before) == std::string::npos;
    host = has_address ? rest.substr(before + 1) : rest;
    if (has_address) address = rest.substr(0, before);
    if (has_address && !is_address(address)) return wrong("'" + address + "' is not an address of the host");
  }
  const auto guests = parse_ports(guest);
  if (!guests || guests->first == 0) return wrong("'" + guest + "' is not a port from 1 to 65535");
  PortRange hosts{0, guests->count};
  if (!host.empty()) {
    const auto parsed = parse_ports(host);
    if (!parsed) return wrong("'" + host + "' is not a port from 0 to 65535");
    hosts = *parsed;
  }
  if (hosts.count != guests->count) return wrong("the two ranges differ in length");
  for (unsigned i = 0; i < guests->count; i++) {
    const unsigned on_host = hosts.first == 0 ? 0 : hosts.first + i;
    ports.push_back({address, static_cast<std::uint16_t>(on_host),
                     static_cast<std::uint16_t>(guests->first + i), protocol == "udp", text});
  }
  return std::nullopt;
}

}  // namespace teacup::cli
