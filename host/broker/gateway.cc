#include "host/broker/gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/broker/events.h"
#include "kernel/abi/boot.h"
#include "kernel/abi/events.h"

namespace teacup::host {

namespace {

constexpr int kBatch = 32;                  // host sockets served before the machine is woken
constexpr int kMostAccepted = 64;           // of one port, before others have their turn
constexpr u64 kListenerTag = u64{1} << 32;  // epoll data: a published port; else a slot
constexpr int kFlushPatience = 2000;        // ms without progress, at the end

void block_signals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

// A descriptor for each connection.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Not FIN: nobody was there.
void hang_up(int fd) {
  linger now{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(fd);
}

}  // namespace

u32 Gateway::flags() const {
  return options_.published.empty() ? 0 : u32{abi::kGatewayIn};
}

void Gateway::open() {
  published_.open(options_.published);
}

void Gateway::start() {
  if (flags() == 0) return;
  raise_descriptor_limit();
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  spare_fd_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  connections_ = std::make_unique<HostConnection[]>(abi::kGatewaySlots);
  for (u32 i = 0; i < abi::kGatewaySlots; i++) connections_[i].set_index(i);
  for (u32 i = abi::kFirstOutSlot; i > 0; i--) free_.push_back(i - 1);
  host_thread_ = std::thread([this] { host_loop(); });
  machine_thread_ = std::thread([this] { machine_loop(); });
}

s64 Gateway::listening_changed() {
  if (epoll_fd_ < 0) return -ENOSYS;
  published_.follow(epoll_fd_, kListenerTag);
  return 0;
}

void Gateway::wake_machine() {
  raise_event(abi::kEventGateway);
}

void Gateway::settle(u32 index, HostConnection::Outcome outcome, bool& news) {
  if (outcome.over && index < abi::kFirstOutSlot) {
    std::lock_guard guard(free_mutex_);
    free_.push_back(index);
  }
  if (!outcome.news) return;
  abi::gateway().to_guest.post(index);
  news = true;
}

// --- The host's sockets.

void Gateway::host_loop() {
  block_signals();
  for (;;) {
    epoll_event events[kBatch];
    int count = epoll_wait(epoll_fd_, events, kBatch, -1);
    bool news = false;
    for (int i = 0; i < count; i++) {
      u64 what = events[i].data.u64;
      if (what >= kListenerTag) {
        accept_all(what - kListenerTag, news);
      } else {
        u32 index = static_cast<u32>(what);
        settle(index, connections_[index].ready(events[i].events), news);
      }
    }
    if (news) wake_machine();
  }
}

void Gateway::accept_all(std::size_t port, bool& news) {
  int listener = published_.fd(port);
  for (int i = 0; i < kMostAccepted; i++) {
    SocketAddress peer;
    peer.length = sizeof peer.storage;
    int fd = accept4(listener, peer.raw(), &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE) && spare_fd_ >= 0) {
      close(spare_fd_);
      fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd >= 0) hang_up(fd);
      spare_fd_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
      continue;
    }
    if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (fd < 0) return;
    u32 index;
    {
      std::lock_guard guard(free_mutex_);
      index = free_.empty() ? abi::kGatewaySlots : free_.back();
      if (!free_.empty()) free_.pop_back();
    }
    if (index == abi::kGatewaySlots) {
      hang_up(fd);
      continue;
    }
    connections_[index].offer(fd, epoll_fd_, peer, published_.guest_port(port));
    abi::gateway().to_guest.post(index);
    news = true;
  }
}

// --- The machine.

void Gateway::machine_loop() {
  block_signals();
  abi::Gateway& shared = abi::gateway();
  for (;;) {
    u32 seen = shared.doorbell.load(std::memory_order_seq_cst);
    bool news = false;
    bool any = shared.to_broker.take([&](u32 index) { take_news(index, news); });
    if (news) wake_machine();
    if (any) continue;
    shared.broker_sleeping.store(1, std::memory_order_seq_cst);
    if (shared.doorbell.load(std::memory_order_seq_cst) == seen) wait_word(&shared.doorbell, seen, -1);
    shared.broker_sleeping.store(0, std::memory_order_seq_cst);
  }
}

void Gateway::take_news(u32 index, bool& news) {
  if (index < abi::kGatewaySlots) return settle(index, connections_[index].news(), news);
  if (index == abi::kNewsListeners) published_.follow(epoll_fd_, kListenerTag);
}

// As the host's kernel would go on sending what a process left behind; for a peer that takes nothing, not
// long.
void Gateway::finish() {
  if (epoll_fd_ < 0) return;
  for (u32 i = 0; i < abi::kGatewaySlots; i++) {
    while (connections_[i].flush()) {
      pollfd ready{connections_[i].fd(), POLLOUT, 0};
      if (poll(&ready, 1, kFlushPatience) <= 0) break;
    }
  }
}

}  // namespace teacup::host
