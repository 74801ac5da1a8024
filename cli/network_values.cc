#include "cli/network_values.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
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

std::string without_brackets(const std::string& text) {
  const bool has_them = text.size() > 2 && text.front() == '[' && text.back() == ']';
  return has_them ? text.substr(1, text.size() - 2) : text;
}

// How many bits an address has; 0: it is none.
int address_bits(const std::string& text) {
  in6_addr into;
  if (inet_pton(AF_INET, text.c_str(), &into) == 1) return 32;
  return inet_pton(AF_INET6, text.c_str(), &into) == 1 ? 128 : 0;
}

bool is_address(const std::string& text) {
  return address_bits(without_brackets(text)) != 0;
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1";
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool is_name(const std::string& text) {
  return !text.empty() && text.size() <= 253 && text.front() != '.' && text.front() != '-' &&
         std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '.' || c == '_'; });
}

// "HOST:PORT" with brackets round an IPv6 address; without a port the whole is HOST.
void split_port(const std::string& text, std::string& host, std::string& port) {
  const size_t colon = text.rfind(':');
  const bool plain_v6 = address_bits(text.substr(0, text.find('/'))) == 128;
  const bool has_port = colon != std::string::npos && !plain_v6 && text.find(']', colon) == std::string::npos;
  host = without_brackets(has_port ? text.substr(0, colon) : text);
  port = has_port ? text.substr(colon + 1) : "";
}

}  // namespace

std::optional<CliError> parse_publish(const std::string& text, std::vector<host::MachinePort>& ports) {
  const auto wrong = [&](const std::string& what) {
    return CliError{"-p '" + text + "': " + what,
                    "Write -p [ADDR:]HOST:GUEST[/udp], as -p 8080:80, or -p GUEST for any free port."};
  };
  const size_t slash = text.find('/');
  const std::string protocol = slash == std::string::npos ? "tcp" : text.substr(slash + 1);
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

std::optional<CliError> parse_network(const std::string& text, host::MachineNetwork& network) {
  network.has_loopback = text != "none";
  network.allow_all = text == "host-proxy";
  if (text == "none" || text == "loopback" || text == "host-proxy") return std::nullopt;
  return CliError{"--network '" + text + "' is not known",
                  "Give loopback (the default), none, or host-proxy to let the machine connect to anything."};
}

std::optional<CliError> parse_destination(const std::string& text, host::MachineNetwork& network) {
  const auto wrong = [&](const std::string& what) {
    return CliError{"--allow-net '" + text + "': " + what,
                    "Write --allow-net HOST[:PORT]; HOST is a name, an address, or a range as 10.0.0.0/8."};
  };
  host::MachineDestination destination;
  std::string port;
  split_port(text, destination.host, port);
  if (text.find(':') != std::string::npos && !port.empty()) {
    const auto number = parse_port(port);
    if (!number || *number == 0) return wrong("'" + port + "' is not a port from 1 to 65535");
    destination.port = static_cast<std::uint16_t>(*number);
  }
  const size_t slash = destination.host.find('/');
  const std::string bare = without_brackets(destination.host.substr(0, slash));
  const int bits = address_bits(bare);
  if (bits == 0) {
    const bool is_pattern = destination.host.starts_with("*.");
    if (!is_name(is_pattern ? destination.host.substr(2) : destination.host))
      return wrong("'" + destination.host + "' is neither a name nor an address");
    destination.host = lower(destination.host);
    network.allowed.push_back(destination);
    return std::nullopt;
  }
  destination.prefix = bits;
  if (slash != std::string::npos) {
    const auto prefix = parse_port(destination.host.substr(slash + 1));
    if (!prefix || static_cast<int>(*prefix) > bits) return wrong("the range's length is not right");
    destination.prefix = static_cast<int>(*prefix);
  }
  if (is_loopback(bare)) {
    return CliError{"--allow-net '" + text + "': in the machine " + bare + " is the machine itself",
                    "To reach the host's own: --connect NAME:PORT=" + bare + ":PORT."};
  }
  destination.host = bare;
  network.allowed.push_back(destination);
  return std::nullopt;
}

std::optional<CliError> parse_host(const std::string& text, host::MachineNetwork& network) {
  const size_t equals = text.find('=');
  const std::string name = text.substr(0, equals);
  const std::string address = equals == std::string::npos ? "" : without_brackets(text.substr(equals + 1));
  if (!is_name(name) || address_bits(address) == 0) {
    return CliError{"--hosts '" + text + "' is not NAME=ADDR",
                    "Write --hosts db=127.0.0.1 for a name that stands for an address in the machine."};
  }
  network.hosts.push_back({lower(name), address});
  return std::nullopt;
}

std::optional<CliError> parse_service(const std::string& text, host::MachineNetwork& network) {
  const auto wrong = [&](const std::string& what) {
    return CliError{"--connect '" + text + "': " + what,
                    "Write --connect NAME:PORT=HOST:PORT or --connect NAME:PORT=unix:/PATH."};
  };
  host::MachineService service;
  service.text = text;
  const size_t equals = text.find('=');
  if (equals == std::string::npos) return wrong("it has no target");
  std::string port;
  split_port(text.substr(0, equals), service.name, port);
  const auto number = parse_port(port);
  if (!number || *number == 0) return wrong("'" + port + "' is not a port from 1 to 65535");
  service.port = static_cast<std::uint16_t>(*number);
  if (!is_name(service.name)) return wrong("'" + service.name + "' is not a name");
  service.name = lower(service.name);
  const std::string target = text.substr(equals + 1);
  if (target.starts_with("unix:")) {
    service.unix_path = target.substr(5);
    if (!service.unix_path.starts_with('/')) return wrong("the socket's path is not absolute");
    if (service.unix_path.size() > 107) return wrong("the socket's path is longer than 107 bytes");
    network.services.push_back(service);
    return std::nullopt;
  }
  std::string host_port;
  split_port(target, service.host, host_port);
  const auto to = parse_port(host_port);
  if (!to || *to == 0) return wrong("'" + target + "' is neither HOST:PORT nor unix:/PATH");
  service.host_port = static_cast<std::uint16_t>(*to);
  if (!is_address(service.host) && !is_name(service.host)) return wrong("'" + service.host + "' is no host");
  network.services.push_back(service);
  return std::nullopt;
}

}  // namespace teacup::cli
