// The broker's end of the gateway (kernel/abi/gateway.h): the host sockets of the machine's connections.
//
// Two threads: one waits for the host's sockets (epoll), one for news from the machine. Either does what
// there is to do with a connection, under the connection's mutex, so that a byte is never handed from thread
// to thread. Sockets do not block, and rings are bounded: a peer that does not read holds up its own
// connection.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "host/broker/datagrams.h"
#include "host/broker/host_connection.h"
#include "host/broker/net_policy.h"
#include "host/broker/published_ports.h"
#include "host/broker/resolver.h"
#include "host/launch/machine_options.h"

namespace teacup::host {

class Gateway {
 public:
  explicit Gateway(const MachineNetwork& options);

  // abi::GatewayFlags: what the options want; 0: no gateway.
  u32 flags() const;
  // Before the template starts: takes the published ports, looks up what is to be connected. Throws
  // LaunchError.
  void open();
  // `say`: tells of what was not let out, one line at a time; null: nobody wants to know. Any thread calls
  // it.
  void start(std::function<void(const std::string&)> say);
  // Lines for the machine's /etc/hosts; after open().
  std::string hosts_text() const { return policy_.hosts_text(); }
  // RingOp::kGateway: somebody in the machine begins to listen; answered when the host does too.
  s64 listening_changed();
  // The machine has ended: what it sent is sent.
  void finish();

 private:
  void host_loop();
  void machine_loop();
  void take_news(u32 index, bool& news);
  void begin_out(u32 index, bool& news);
  int connect_to(const Destination& to, bool& connecting);
  void denied(const abi::GatewayName& to, bool is_udp);
  void accept_all(std::size_t port, bool& news);
  void settle(u32 index, HostConnection::Outcome outcome, bool& news);
  void wake_machine();

  const MachineNetwork& options_;
  NetPolicy policy_;
  Resolver resolver_;
  Datagrams datagrams_;
  PublishedPorts published_;
  std::function<void(const std::string&)> say_;
  int epoll_fd_ = -1;
  int spare_fd_ = -1;  // given up to accept and refuse when there are no descriptors
  std::unique_ptr<HostConnection[]> connections_;
  std::mutex free_mutex_;
  std::vector<u32> free_;  // slots that are the broker's to begin
  std::thread host_thread_, machine_thread_;
};

}  // namespace teacup::host
