// The broker's end of the gateway (kernel/abi/gateway.h): the host sockets of the machine's connections.
//
// Two threads: one waits for the host's sockets (epoll), one for news from the machine (a futex; nothing
// waits for both). Either does what there is to do with a connection, under the connection's mutex, so that a
// byte is never handed from thread to thread. Sockets do not block, and rings are bounded: a peer that does
// not read holds up its own connection.
//
// A request that comes in takes, natively, two wake-ups: the server's and the client's. Here the broker
// stands between, and a wake-up costs more than all else (3 us on one core, 50 across cores). So the first
// thread, having brought something, wakes the very task that waits for it (MachineNews), or finds it awake;
// and stays awake itself for as long as an answer takes, when that has proved worth it: then it is two again,
// and at most four. It waits awake only for what it has asked for, and learns when that is in vain, as a task
// of the machine does (kernel/sync/wait.cc): on a crowded machine it soon stops.
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "host/broker/datagrams.h"
#include "host/broker/host_connection.h"
#include "host/broker/machine_news.h"
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
  void serve_host(const epoll_event& event, MachineNews& news);
  u32 take_board(MachineNews& news);
  u64 choose_wait();
  void await_answers(u32 expected);
  void take_news(u32 index, MachineNews& news);
  void begin_out(u32 index, MachineNews& news);
  int connect_to(const Destination& to, bool& connecting);
  void denied(const abi::GatewayName& to, bool is_udp);
  void accept_all(std::size_t port, MachineNews& news);
  void settle(u32 index, HostConnection::Outcome outcome, MachineNews& news);

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
  // The first thread's: how often it waits awake, for long or for a moment. As kernel/sync/wait.cc has it.
  s32 usable_cpus_ = 1;
  u32 waits_ = 0, long_interval_ = 1, short_interval_ = 1;
  std::thread host_thread_, machine_thread_;
};

}  // namespace teacup::host
