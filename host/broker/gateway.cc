#include "host/broker/gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "host/broker/events.h"
#include "kernel/abi/boot.h"
#include "kernel/abi/events.h"

namespace teacup::host {

namespace {

constexpr int kBatch = 32;                  // host sockets served before the machine is woken
constexpr int kMostAccepted = 64;           // of one port, before others have their turn
constexpr u64 kDatagramTag = u64{1} << 48;  // epoll data: a socket of Datagrams
constexpr u64 kListenerTag = u64{1} << 32;  // epoll data: a published port; else a slot
constexpr int kFlushPatience = 2000;        // ms without progress, at the end
constexpr u64 kShortWait = 2'000;           // ns: an answer that is nearly there
constexpr u64 kLongWait = 100'000;          // ns: one of a server that has to be woken across cores
constexpr u32 kRarestShort = 16;            // one in so many
constexpr u32 kRarestLong = 1024;

u64 monotonic_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
}

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

Gateway::Gateway(const MachineNetwork& options)
    : options_(options),
      policy_(options),
      resolver_(policy_),
      datagrams_(
          policy_, resolver_, [] { raise_event(abi::kEventGateway); },
          [this](const abi::GatewayName& to) { denied(to, true); }) {}

// A published UDP port's answers have to find out, too.
u32 Gateway::flags() const {
  bool answers = std::any_of(options_.published.begin(), options_.published.end(),
                             [](const MachinePort& port) { return port.is_udp; });
  return (options_.published.empty() ? 0 : u32{abi::kGatewayIn}) |
         (answers || policy_.leads_out() ? u32{abi::kGatewayOut} : 0);
}

void Gateway::open() {
  policy_.prepare();
  published_.open(options_.published);
}

void Gateway::start(std::function<void(const std::string&)> say) {
  say_ = std::move(say);
  if (flags() == 0) return;
  raise_descriptor_limit();
  usable_cpus_ = static_cast<s32>(arena().usable_cpus);
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  spare_fd_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  connections_ = std::make_unique<HostConnection[]>(abi::kGatewaySlots);
  for (u32 i = 0; i < abi::kGatewaySlots; i++) connections_[i].set_index(i);
  for (u32 i = abi::kFirstOutSlot; i > 0; i--) free_.push_back(i - 1);
  for (std::size_t i = 0; i < published_.count(); i++) {
    if (published_.is_udp(i)) datagrams_.publish(published_.fd(i), published_.guest_port(i));
  }
  datagrams_.start(epoll_fd_, kDatagramTag);
  host_thread_ = std::thread([this] { host_loop(); });
  machine_thread_ = std::thread([this] { machine_loop(); });
}

s64 Gateway::listening_changed() {
  if (epoll_fd_ < 0) return -ENOSYS;
  published_.follow(epoll_fd_, kListenerTag);
  return 0;
}

void Gateway::settle(u32 index, HostConnection::Outcome outcome, MachineNews& news) {
  if (outcome.over && index < abi::kFirstOutSlot) {
    std::lock_guard guard(free_mutex_);
    free_.push_back(index);
  }
  // The machine may begin it again.
  if (outcome.over && index >= abi::kFirstOutSlot) outcome.news = true;
  if (outcome.news) news.post_slot(index);
  if (outcome.more) {
    // To the end of the queue, as if the machine had news.
    abi::Gateway& shared = abi::gateway();
    shared.to_broker.post(index);
    shared.doorbell.fetch_add(1, std::memory_order_seq_cst);
    wake_word(&shared.doorbell, 1);
  }
}

// --- The host's sockets.

void Gateway::host_loop() {
  block_signals();
  for (;;) {
    epoll_event events[kBatch];
    int count = epoll_wait(epoll_fd_, events, kBatch, -1);
    MachineNews news;
    for (int i = 0; i < count; i++) serve_host(events[i], news);
    u32 brought = news.count();
    if (brought == 0) continue;
    // From here on the machine need not wake the other thread. Where there is one core for all, the task that
    // is told runs at once, in this thread's place, and has answered when tell() returns.
    abi::gateway().broker_watching.store(1, std::memory_order_seq_cst);
    news.tell();
    await_answers(brought);
  }
}

void Gateway::serve_host(const epoll_event& event, MachineNews& news) {
  u64 what = event.data.u64;
  if (what >= kDatagramTag) {
    datagrams_.ready(what - kDatagramTag);
  } else if (what >= kListenerTag) {
    accept_all(what - kListenerTag, news);
  } else {
    u32 index = static_cast<u32>(what);
    settle(index, connections_[index].ready(event.events), news);
  }
}

// How long to wait awake for what the machine answers, in ns; not at all while it has work for all cores.
u64 Gateway::choose_wait() {
  if (arena().awake.load(std::memory_order_relaxed) >= usable_cpus_) return 0;
  waits_++;
  if (waits_ % long_interval_ == 0) return kLongWait;
  return waits_ % short_interval_ == 0 ? kShortWait : 0;
}

// Serves the machine until it has had as much news as it was given, or has had none for a while.
void Gateway::await_answers(u32 expected) {
  abi::Gateway& shared = abi::gateway();
  MachineNews news;
  u32 answers = take_board(news);
  u64 limit = answers < expected ? choose_wait() : 0;
  for (u64 start = monotonic_now(); answers < expected && monotonic_now() - start < limit;) {
    for (int i = 0; i < 16 && shared.to_broker.empty(); i++) __builtin_ia32_pause();
    if (shared.to_broker.empty()) continue;
    answers += take_board(news);
    news.tell();
    start = monotonic_now();
  }
  if (limit > 0) {
    u32& interval = limit == kLongWait ? long_interval_ : short_interval_;
    interval =
        answers >= expected ? 1 : std::min(interval * 2, limit == kLongWait ? kRarestLong : kRarestShort);
    if (answers >= expected) short_interval_ = 1;
  }
  // What was posted while this was set has woken nobody.
  shared.broker_watching.store(0, std::memory_order_seq_cst);
  take_board(news);
  news.tell();
}

void Gateway::accept_all(std::size_t port, MachineNews& news) {
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
    u64 acceptor = abi::gateway().published[port].acceptor.load(std::memory_order_relaxed);
    connections_[index].offer(fd, epoll_fd_, peer, published_.guest_port(port), acceptor);
    news.post(index, acceptor);
  }
}

// --- The machine.

void Gateway::machine_loop() {
  block_signals();
  abi::Gateway& shared = abi::gateway();
  for (;;) {
    u32 seen = shared.doorbell.load(std::memory_order_seq_cst);
    MachineNews news;
    u32 taken = take_board(news);
    news.tell();
    if (taken > 0) continue;
    shared.broker_sleeping.store(1, std::memory_order_seq_cst);
    if (shared.doorbell.load(std::memory_order_seq_cst) == seen) wait_word(&shared.doorbell, seen, -1);
    shared.broker_sleeping.store(0, std::memory_order_seq_cst);
  }
}

// How much was on it.
u32 Gateway::take_board(MachineNews& news) {
  u32 taken = 0;
  abi::gateway().to_broker.take([&](u32 index) {
    take_news(index, news);
    taken++;
  });
  return taken;
}

void Gateway::take_news(u32 index, MachineNews& news) {
  if (index >= abi::kFirstOutSlot && index < abi::kGatewaySlots && connections_[index].is_asked())
    return begin_out(index, news);
  if (index < abi::kGatewaySlots) return settle(index, connections_[index].news(), news);
  if (index == abi::kNewsDatagrams) datagrams_.take();
  if (index == abi::kNewsListeners) published_.follow(epoll_fd_, kListenerTag);
}

// What is asked for was copied out before it is looked at.
void Gateway::begin_out(u32 index, MachineNews& news) {
  const abi::GatewayName to = abi::gateway().slots[index].to;
  Destination destination = policy_.judge(to, false);
  bool connecting = false;
  int error = destination.error;
  int fd = -1;
  if (destination.kind == Destination::Kind::kDenied) {
    denied(to, false);
  } else {
    fd = connect_to(destination, connecting);
    error = errno;
  }
  if (fd < 0) {
    connections_[index].refuse(error);
  } else {
    connections_[index].begin(fd, epoll_fd_, connecting);
  }
  settle(index, {true, false}, news);
  // It may have been given up meanwhile.
  settle(index, connections_[index].news(), news);
}

// -1: errno.
int Gateway::connect_to(const Destination& to, bool& connecting) {
  if (to.kind == Destination::Kind::kResolver) return resolver_.open_stream();
  sockaddr_un name{};
  const sockaddr* raw = to.address.raw();
  socklen_t length = to.address.length;
  int family = to.address.family();
  if (to.kind == Destination::Kind::kUnix) {
    family = name.sun_family = AF_UNIX;
    std::strncpy(name.sun_path, to.unix_path.c_str(), sizeof name.sun_path - 1);
    raw = reinterpret_cast<const sockaddr*>(&name);
    length = sizeof name;
  }
  int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (connect(fd, raw, length) == 0) return fd;
  connecting = errno == EINPROGRESS;
  if (connecting) return fd;
  // What a path says (nobody there, not allowed, full) is no error of an address.
  int error = family == AF_UNIX ? ECONNREFUSED : errno;
  close(fd);
  errno = error;
  return -1;
}

void Gateway::denied(const abi::GatewayName& to, bool is_udp) {
  if (say_)
    say_("network: " + SocketAddress::from_name(to).text() + (is_udp ? "/udp" : "") + " is not let out");
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
