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

#include "host/broker/host_connection.h"
#include "host/broker/published_ports.h"
#include "host/launch/machine_options.h"

namespace teacup::host {

class Gateway {
 public:
  explicit Gateway(const MachineNetwork& options) : options_(options) {}

  // abi::GatewayFlags: what the options want; 0: no gateway.
  u32 flags() const;
  // Before the template starts: takes the published ports. Throws LaunchError.
  void open();
  void start();
  // RingOp::kGateway: somebody in the machine begins to listen; answered when the host does too.
  s64 listening_changed();
  // The machine has ended: what it sent is sent.
  void finish();

 private:
  void host_loop();
  void machine_loop();
  void take_news(u32 index, bool& news);
  void accept_all(std::size_t port, bool& news);
  void settle(u32 index, HostConnection::Outcome outcome, bool& news);
  void wake_machine();

  const MachineNetwork& options_;
  PublishedPorts published_;
  int epoll_fd_ = -1;
  int spare_fd_ = -1;  // given up to accept and refuse when there are no descriptors
  std::unique_ptr<HostConnection[]> connections_;
  std::mutex free_mutex_;
  std::vector<u32> free_;  // slots that are the broker's to begin
  std::thread host_thread_, machine_thread_;
};

}  // namespace teacup::host
