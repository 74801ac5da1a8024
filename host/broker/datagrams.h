// UDP in and out of the machine: what its sockets send goes out by host sockets, one for each port of the
// machine that sends (as a router's address translation does), or by the host port that is published for it.
// Answers come back from those only whom it sent to. Datagrams to the machine's nameserver go to the
// resolver.
//
// To the machine a peer on the host's own loopback, whose address would be its own, is 198.18.0.1.
//
// Any thread; a mutex over all.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "host/broker/net_policy.h"
#include "host/broker/resolver.h"

namespace teacup::host {

class Datagrams {
 public:
  // `arrived` is called when there is something for the machine; `denied` tells of what was not let out.
  Datagrams(NetPolicy& policy, Resolver& resolver, std::function<void()> arrived,
            std::function<void(const abi::GatewayName&)> denied)
      : policy_(policy), resolver_(resolver), arrived_(std::move(arrived)), denied_(std::move(denied)) {}

  void start(int epoll_fd, u64 tag);
  // A published port's socket.
  void publish(int fd, u16 guest_port);
  // The socket with epoll data tag + `number` has something.
  void ready(u64 number);
  // The machine has sent.
  void take();

 private:
  using Name = std::tuple<std::array<u8, 16>, u16>;
  struct Peer {
    SocketAddress address;
    bool wants_errors = false;  // whoever wrote there last did
  };
  struct Port {
    int fd = -1;
    u64 number = 0;
    bool is_published = false;
    abi::GatewayName guest{};    // who it stands for
    std::map<Name, Peer> peers;  // by what the machine calls them
    u64 used = 0;                // when, by a counter
  };

  static Name key(const abi::GatewayName& name);
  void watch(Port& port);
  void send_out(const abi::DatagramHead& head, std::span<const u8> data);
  int send_to_host(Port& port, const abi::DatagramHead& head, const SocketAddress& to,
                   std::span<const u8> data);
  void take_errors(Port& port);
  Port* port_for(const abi::GatewayName& guest, int family);
  void drop_oldest();
  void deliver(const abi::GatewayName& from, const abi::GatewayName& to, u32 error, std::span<const u8> data);

  NetPolicy& policy_;
  Resolver& resolver_;
  std::function<void()> arrived_;
  std::function<void(const abi::GatewayName&)> denied_;
  int epoll_fd_ = -1;
  u64 tag_ = 0;
  std::mutex mutex_;
  std::map<u64, Port> ports_;  // by number
  std::vector<u8> buffer_;
  u64 next_number_ = 0;
  u64 clock_ = 0;
  u64 out_tail_ = 0;
  std::mutex in_mutex_;
  u64 in_head_ = 0;
};

}  // namespace teacup::host
