// -p: host ports that stand for ports of the machine.
//
// A port is taken when teacup starts, so that a busy one is an error then, but the host listens there only
// while somebody in the machine does: else a connection is refused, as it would be without teacup in between.
// A bound socket that listened once and does not now keeps its port from others as long as SO_REUSEADDR is
// off; it must be on to listen again, for connections of earlier may still be in TIME_WAIT.
#pragma once

#include <mutex>
#include <span>
#include <vector>

#include "host/launch/machine_options.h"
#include "kernel/abi/gateway.h"

namespace teacup::host {

class PublishedPorts {
 public:
  // Takes the ports and writes them into the arena. Throws LaunchError: what was busy.
  void open(std::span<const MachinePort> wanted);
  // Listens where somebody in the machine does, on sockets of the epoll `epoll_fd` with `tag` + their index
  // as data. Any thread.
  void follow(int epoll_fd, u64 tag);

  std::size_t count() const { return ports_.size(); }
  int fd(std::size_t index) const { return ports_[index].fd; }
  bool is_udp(std::size_t index) const { return ports_[index].is_udp; }
  u16 guest_port(std::size_t index) const { return ports_[index].guest_port; }

 private:
  struct Port {
    int fd = -1;
    u16 guest_port = 0;
    bool is_udp = false;
    bool listening = false;
  };
  void open_one(const MachinePort& wanted);

  std::mutex mutex_;
  std::vector<Port> ports_;
};

}  // namespace teacup::host
