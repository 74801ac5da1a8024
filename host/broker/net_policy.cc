#include "host/broker/net_policy.h"

#include <errno.h>
#include <netdb.h>

#include <algorithm>
#include <cstring>

#include "host/launch/error.h"

namespace teacup::host {

namespace {

// --connect's names live in the range that is set apart for tests of network devices (RFC 2544): nobody's on
// the host's network.
constexpr unsigned kServicesPerByte = 254;
constexpr std::size_t kMostLearnt = 65536;

std::string service_address(std::size_t number) {
  return "198.18." + std::to_string(1 + number / kServicesPerByte) + "." +
         std::to_string(1 + number % kServicesPerByte);
}

SocketAddress look_up(const MachineService& service) {
  if (auto address = SocketAddress::parse(service.host, service.host_port)) return *address;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int error = getaddrinfo(service.host.c_str(), nullptr, &hints, &found);
  if (error != 0)
    throw LaunchError("--connect " + service.text + ": " + service.host + ": " + gai_strerror(error));
  SocketAddress address;
  address.length = found->ai_addrlen;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  address.set_port(service.host_port);
  return address;
}

// What means the machine itself, or nobody, there: a machine that asks for it all the same does not get the
// host's.
bool is_local(const abi::GatewayName& name) {
  SocketAddress address = SocketAddress::from_name(name);
  if (address.family() == AF_INET)
    return name.address[12] == 0 || name.address[12] == 127 || name.address[12] >= 224;
  bool high_zeros = std::all_of(name.address, name.address + 12, [](u8 byte) { return byte == 0; });
  return high_zeros || name.address[0] == 0xff;  // ::, ::1, and IPv4 in the old form
}

}  // namespace

NetPolicy::Bytes NetPolicy::bytes_of(const abi::GatewayName& name) {
  Bytes bytes;
  std::copy(name.address, name.address + 16, bytes.begin());
  return bytes;
}

void NetPolicy::prepare() {
  for (const MachineDestination& allowed : options_.allowed) {
    if (allowed.prefix < 0) continue;
    SocketAddress address = *SocketAddress::parse(allowed.host, 0);
    int shift = address.family() == AF_INET ? 96 : 0;
    rules_.push_back({bytes_of(address.name()), allowed.prefix + shift, allowed.port});
  }
  for (const MachineService& service : options_.services) {
    auto [at, is_new] =
        service_addresses_.try_emplace(service.name, service_address(service_addresses_.size()));
    // An address as the name stands for itself.
    if (is_new && SocketAddress::parse(service.name, 0)) at->second = service.name;
    Service made;
    made.address = bytes_of(SocketAddress::parse(at->second, 0)->name());
    made.port = service.port;
    made.target.kind = service.unix_path.empty() ? Destination::Kind::kAddress : Destination::Kind::kUnix;
    made.target.unix_path = service.unix_path;
    if (service.unix_path.empty()) made.target.address = look_up(service);
    services_.push_back(made);
  }
}

bool NetPolicy::covers(const Rule& rule, const Bytes& address) {
  std::size_t whole = static_cast<std::size_t>(rule.prefix / 8);
  if (!std::equal(address.begin(), address.begin() + static_cast<std::ptrdiff_t>(whole),
                  rule.address.begin()))
    return false;
  int rest = rule.prefix % 8;
  return rest == 0 || (address[whole] ^ rule.address[whole]) >> (8 - rest) == 0;
}

Destination NetPolicy::judge(const abi::GatewayName& to, bool is_udp) {
  Destination result;
  result.error = ENETUNREACH;
  result.address = SocketAddress::from_name(to);
  Bytes address = bytes_of(to);
  if (to.port == abi::kResolverPort &&
      std::equal(abi::kResolverAddress, abi::kResolverAddress + 4, to.address + 12)) {
    result.kind = Destination::Kind::kResolver;
    return result;
  }
  for (const Service& service : services_) {
    if (service.address != address) continue;
    result.error = ECONNREFUSED;
    if (service.port != to.port || (is_udp && service.target.kind == Destination::Kind::kUnix)) continue;
    return service.target;
  }
  if (result.error == ECONNREFUSED || is_local(to)) return result;
  std::lock_guard guard(mutex_);
  bool allowed = options_.allow_all || learnt_.contains({address, 0}) || learnt_.contains({address, to.port});
  for (const Rule& rule : rules_) {
    if (!covers(rule, address)) continue;
    result.error = ECONNREFUSED;
    allowed |= rule.port == 0 || rule.port == to.port;
  }
  if (allowed) result.kind = Destination::Kind::kAddress;
  auto next = learnt_.lower_bound({address, 0});
  if (next != learnt_.end() && next->first == address) result.error = ECONNREFUSED;
  return result;
}

// --- Names.

std::vector<std::string> NetPolicy::known(const std::string& name) const {
  std::vector<std::string> addresses;
  for (const MachineHost& host : options_.hosts) {
    if (host.name == name) addresses.push_back(host.address);
  }
  if (auto found = service_addresses_.find(name); found != service_addresses_.end())
    addresses.push_back(found->second);
  return addresses;
}

bool NetPolicy::matches(const MachineDestination& allowed, const std::string& name) const {
  if (allowed.prefix >= 0) return false;
  if (allowed.host.starts_with("*.")) return name.ends_with(allowed.host.substr(1));
  return allowed.host == name;
}

bool NetPolicy::allows_name(const std::string& name) const {
  return options_.allow_all || std::any_of(options_.allowed.begin(), options_.allowed.end(),
                                           [&](const auto& allowed) { return matches(allowed, name); });
}

void NetPolicy::learn(const std::string& name, const SocketAddress& address) {
  std::lock_guard guard(mutex_);
  if (learnt_.size() >= kMostLearnt) return;
  for (const MachineDestination& allowed : options_.allowed) {
    if (matches(allowed, name)) learnt_.insert({bytes_of(address.name()), allowed.port});
  }
}

std::string NetPolicy::hosts_text() const {
  std::string text;
  for (const MachineHost& host : options_.hosts) text += host.address + "\t" + host.name + "\n";
  for (const auto& [name, address] : service_addresses_) {
    if (name != address) text += address + "\t" + name + "\n";
  }
  return text;
}

}  // namespace teacup::host
