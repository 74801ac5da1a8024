#include "host/broker/datagrams.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "kernel/abi/boot.h"

namespace teacup::host {

namespace {

constexpr std::size_t kMostPorts = 256;   // that send; the one not used for longest makes room
constexpr std::size_t kMostPeers = 4096;  // of a port
constexpr int kMostAtOnce = 64;           // datagrams of one socket, before others have their turn
constexpr std::size_t kLargestDatagram = 65536;
constexpr u64 kMask = abi::kGatewayRingSize - 1;
constexpr std::size_t kShortAnswer = 512;  // of a nameserver, by UDP

void copy_out(u64 position, void* to, u64 size) {
  u64 first = std::min(size, abi::kGatewayRingSize - (position & kMask));
  std::memcpy(to, abi::datagram_out_ring() + (position & kMask), first);
  std::memcpy(static_cast<u8*>(to) + first, abi::datagram_out_ring(), size - first);
}

void copy_in(u64 position, const void* from, u64 size) {
  u64 first = std::min(size, abi::kGatewayRingSize - (position & kMask));
  std::memcpy(abi::datagram_in_ring() + (position & kMask), from, first);
  std::memcpy(abi::datagram_in_ring(), static_cast<const u8*>(from) + first, size - first);
}

// What the machine calls a peer: not by an address that is its own, nor by one of a family that the server
// does not have.
abi::GatewayName name_of_peer(const SocketAddress& peer) {
  abi::GatewayName name = peer.name();
  bool is_v4 = SocketAddress::from_name(name).family() == AF_INET;
  bool is_own = std::equal(abi::kOwnAddress, std::end(abi::kOwnAddress), name.address + 12);
  if (is_v4 && name.address[12] != 127 && !is_own) return name;
  return SocketAddress::parse("198.18.0.1", peer.port())->name();
}

}  // namespace

Datagrams::Name Datagrams::key(const abi::GatewayName& name) {
  std::array<u8, 16> address;
  std::copy(name.address, name.address + 16, address.begin());
  return {address, name.port};
}

void Datagrams::start(int epoll_fd, u64 tag) {
  std::lock_guard guard(mutex_);
  epoll_fd_ = epoll_fd;
  tag_ = tag;
  for (auto& [number, port] : ports_) watch(port);
}

void Datagrams::watch(Port& port) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag_ + port.number;
  epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, port.fd, &event);
}

void Datagrams::publish(int fd, u16 guest_port) {
  std::lock_guard guard(mutex_);
  u64 number = next_number_++;
  Port& port = ports_[number];
  port.fd = fd;
  port.number = number;
  port.is_published = true;
  port.guest = SocketAddress::parse("127.0.0.1", guest_port)->name();
}

// --- From the host.

void Datagrams::ready(u64 number) {
  std::lock_guard guard(mutex_);
  auto found = ports_.find(number);
  if (found == ports_.end()) return;
  Port& port = found->second;
  buffer_.resize(kLargestDatagram);
  if (!port.is_published) take_errors(port);
  for (int i = 0; i < kMostAtOnce; i++) {
    SocketAddress peer;
    peer.length = sizeof peer.storage;
    ssize_t size = recvfrom(port.fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT, peer.raw(), &peer.length);
    if (size < 0 && errno == EAGAIN) return;
    if (size < 0) continue;  // interrupted, or an error of something sent before, which comes by itself
    abi::GatewayName name = port.is_published ? name_of_peer(peer) : peer.name();
    if (port.is_published) {
      if (port.peers.size() >= kMostPeers) port.peers.erase(port.peers.begin());
      port.peers[key(name)] = {peer, false};
    } else {
      // Only whoever was written to may answer.
      auto known = std::find_if(port.peers.begin(), port.peers.end(), [&](const auto& entry) {
        abi::GatewayName written = entry.second.address.name();
        return key(written) == key(peer.name());
      });
      if (known == port.peers.end()) continue;
      std::copy(std::get<0>(known->first).begin(), std::get<0>(known->first).end(), name.address);
      name.port = std::get<1>(known->first);
    }
    deliver(name, port.guest, 0, {buffer_.data(), static_cast<std::size_t>(size)});
  }
}

// Into the ring; dropped if the machine does not keep up.
void Datagrams::deliver(const abi::GatewayName& from, const abi::GatewayName& to, u32 error,
                        std::span<const u8> data) {
  {
    std::lock_guard guard(in_mutex_);
    abi::DatagramHead head{static_cast<u32>(data.size()), error, from, to};
    abi::RingPositions& ring = abi::gateway().datagrams_in;
    u64 used = in_head_ - ring.tail.load(std::memory_order_seq_cst);
    if (used > abi::kGatewayRingSize || used + head.whole() > abi::kGatewayRingSize) return;
    copy_in(in_head_, &head, sizeof head);
    copy_in(in_head_ + sizeof head, data.data(), data.size());
    in_head_ += head.whole();
    ring.head.store(in_head_, std::memory_order_seq_cst);
  }
  abi::gateway().to_guest.post(abi::kNewsDatagrams);
  arrived_();
}

// --- From the machine.

void Datagrams::take() {
  abi::RingPositions& ring = abi::gateway().datagrams_out;
  std::vector<u8> data;
  for (;;) {
    u64 waiting = ring.head.load(std::memory_order_seq_cst) - out_tail_;
    if (waiting == 0) return;
    abi::DatagramHead head;
    copy_out(out_tail_, &head, sizeof head);
    // Nonsense: all is dropped.
    bool is_good =
        waiting <= abi::kGatewayRingSize && head.size <= abi::kLargestDatagram && head.whole() <= waiting;
    if (is_good) {
      data.resize(head.size);
      copy_out(out_tail_ + sizeof head, data.data(), head.size);
    }
    out_tail_ += is_good ? head.whole() : waiting;
    ring.tail.store(out_tail_, std::memory_order_seq_cst);
    if (is_good) send_out(head, data);
  }
}

void Datagrams::send_out(const abi::DatagramHead& head, std::span<const u8> data) {
  std::unique_lock guard(mutex_);
  for (auto& [number, port] : ports_) {
    if (!port.is_published || port.guest.port != head.from.port) continue;
    auto peer = port.peers.find(key(head.to));
    if (peer == port.peers.end()) continue;
    const SocketAddress& to = peer->second.address;
    sendto(port.fd, data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL, to.raw(), to.length);
    return;
  }
  Destination to = policy_.judge(head.to, true);
  if (to.kind == Destination::Kind::kResolver) {
    guard.unlock();
    resolver_.ask(data, kShortAnswer,
                  [this, head](const DnsMessage& answer) { deliver(head.to, head.from, 0, answer); });
    return;
  }
  int error = to.error;
  if (to.kind == Destination::Kind::kAddress) {
    Port* port = port_for(head.from, to.address.family());
    if (port == nullptr) return;
    error = send_to_host(*port, head, to.address, data);
  } else {
    denied_(head.to);
  }
  guard.unlock();
  if (error != 0 && head.error != 0) deliver(head.to, head.from, static_cast<u32>(error), data);
}

// The error of this datagram alone. A socket that is asked for its errors (IP_RECVERR) also says at the next
// call what became of an earlier one, and does nothing else then; that comes by take_errors() as well.
int Datagrams::send_to_host(Port& port, const abi::DatagramHead& head, const SocketAddress& to,
                            std::span<const u8> data) {
  take_errors(port);  // before it is said anew who wants them
  if (port.peers.size() >= kMostPeers) port.peers.clear();
  port.peers[key(head.to)] = {to, head.error != 0};
  int error = 0;
  for (int tries = 0; tries < 2; tries++) {
    ssize_t sent =
        sendto(port.fd, data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL, to.raw(), to.length);
    error = sent < 0 && errno != EAGAIN ? errno : 0;
    if (error == 0) break;
  }
  return error;
}

// What the network said of datagrams that were sent: each comes back with where it went.
void Datagrams::take_errors(Port& port) {
  buffer_.resize(kLargestDatagram);
  for (int i = 0; i < kMostAtOnce; i++) {
    SocketAddress to;
    alignas(cmsghdr) std::array<u8, 256> control;
    iovec piece{buffer_.data(), buffer_.size()};
    msghdr message{};
    message.msg_name = to.raw();
    message.msg_namelen = sizeof to.storage;
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t size = recvmsg(port.fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (size < 0) return;
    to.length = message.msg_namelen;
    u32 error = 0;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
      bool tells = (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR) ||
                   (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR);
      sock_extended_err told;
      if (!tells) continue;
      std::memcpy(&told, CMSG_DATA(part), sizeof told);
      if (told.ee_origin != SO_EE_ORIGIN_LOCAL) error = told.ee_errno;
    }
    auto known = std::find_if(port.peers.begin(), port.peers.end(), [&](const auto& entry) {
      return key(entry.second.address.name()) == key(to.name());
    });
    if (error == 0 || known == port.peers.end() || !known->second.wants_errors) continue;
    abi::GatewayName name{};
    std::copy(std::get<0>(known->first).begin(), std::get<0>(known->first).end(), name.address);
    name.port = std::get<1>(known->first);
    deliver(name, port.guest, error, {buffer_.data(), static_cast<std::size_t>(size)});
  }
}

Datagrams::Port* Datagrams::port_for(const abi::GatewayName& guest, int family) {
  for (auto& [number, port] : ports_) {
    if (port.is_published || key(port.guest) != key(guest)) continue;
    if (SocketAddress::local_of(port.fd).family() != family) continue;
    port.used = ++clock_;
    return &port;
  }
  if (ports_.size() >= kMostPorts) drop_oldest();
  int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return nullptr;
  int on = 1;
  if (family == AF_INET6) {
    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
  } else {
    setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
  }
  u64 number = next_number_++;
  Port& port = ports_[number];
  port.fd = fd;
  port.number = number;
  port.guest = guest;
  port.used = ++clock_;
  watch(port);
  return &port;
}

void Datagrams::drop_oldest() {
  auto oldest = ports_.end();
  for (auto at = ports_.begin(); at != ports_.end(); ++at) {
    if (at->second.is_published) continue;
    if (oldest == ports_.end() || at->second.used < oldest->second.used) oldest = at;
  }
  if (oldest == ports_.end()) return;
  close(oldest->second.fd);
  ports_.erase(oldest);
}

}  // namespace teacup::host
