// Where the machine's connections may go, and what its names stand for: --allow-net, --network host-proxy,
// --hosts, --connect. An address is allowed by a rule that covers it, or because the resolver gave it out for
// an allowed name.
//
// Any thread.
#pragma once

#include <array>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "host/broker/socket_address.h"
#include "host/launch/machine_options.h"

namespace teacup::host {

// What a destination comes to.
struct Destination {
  enum class Kind { kDenied, kAddress, kUnix, kResolver };
  Kind kind = Kind::kDenied;
  int error = 0;  // kDenied: ENETUNREACH, or ECONNREFUSED where only the port is not allowed
  SocketAddress address;
  std::string unix_path;
};

class NetPolicy {
 public:
  explicit NetPolicy(const MachineNetwork& options) : options_(options) {}
  // Gives the names of --connect their addresses; looks up their targets. Throws LaunchError.
  void prepare();

  Destination judge(const abi::GatewayName& to, bool is_udp);
  // What the machine knows of a name without asking anyone: --hosts, --connect. Addresses in digits.
  std::vector<std::string> known(const std::string& name) const;
  // May the host be asked for it?
  bool allows_name(const std::string& name) const;
  // The host has answered: what it said is allowed as the name is.
  void learn(const std::string& name, const SocketAddress& address);
  // Lines for the machine's /etc/hosts.
  std::string hosts_text() const;
  bool leads_out() const {
    return options_.allow_all || !options_.allowed.empty() || !options_.hosts.empty() ||
           !options_.services.empty();
  }

 private:
  using Bytes = std::array<u8, 16>;
  struct Rule {
    Bytes address{};
    int prefix = 0;  // of 128
    u16 port = 0;    // 0: all
  };
  struct Service {
    Bytes address{};  // in the machine
    u16 port = 0;
    Destination target;
  };
  static Bytes bytes_of(const abi::GatewayName& name);
  static bool covers(const Rule& rule, const Bytes& address);
  bool matches(const MachineDestination& allowed, const std::string& name) const;

  const MachineNetwork& options_;
  std::map<std::string, std::string> service_addresses_;  // of --connect's names
  std::vector<Service> services_;
  mutable std::mutex mutex_;
  std::vector<Rule> rules_;
  std::set<std::pair<Bytes, u16>> learnt_;
};

}  // namespace teacup::host
