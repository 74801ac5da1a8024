#include "host/broker/host_connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace teacup::host {

namespace {

using abi::GatewayState;
using abi::kGatewayRingSize;

constexpr u64 kMask = kGatewayRingSize - 1;
constexpr u64 kKeepMemory = abi::kGatewayKept;
constexpr u64 kMostAtOnce = 4 * kGatewayRingSize;  // out of one connection, before others have their turn

// The ring's bytes [offset, offset + size), which may wrap, as one or two pieces.
int pieces(u8* ring, u64 offset, u64 size, iovec (&into)[2]) {
  u64 first = std::min(size, kGatewayRingSize - offset);
  into[0] = {ring + offset, first};
  into[1] = {ring, size - first};
  return size > first ? 2 : 1;
}

}  // namespace

// The slot is this connection's from now on.
void HostConnection::take_socket(int fd, int epoll_fd, u32 events) {
  busy_ = true;
  connecting_ = in_finished_ = out_finished_ = in_stalled_ = out_blocked_ = false;
  in_head_ = in_base_ = out_tail_ = furthest_ = 0;
  fd_ = fd;
  epoll_fd_ = epoll_fd;
  if (fd_ < 0) return;
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  epoll_event event{};
  event.events = armed_ = events;
  event.data.u64 = index_;
  epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd_, &event);
}

void HostConnection::offer(int fd, int epoll_fd, const SocketAddress& peer, u16 guest_port, u64 reader) {
  std::lock_guard guard(mutex_);
  slot().in.clear();
  slot().out.clear();
  slot().from = peer.name();
  slot().to = {};
  slot().to.port = guest_port;
  slot().reader.store(reader, std::memory_order_relaxed);
  slot().state.store(GatewayState::kOffered, std::memory_order_seq_cst);
  take_socket(fd, epoll_fd, EPOLLIN);
}

bool HostConnection::is_asked() {
  std::lock_guard guard(mutex_);
  return !busy_ && slot().state.load(std::memory_order_seq_cst) == GatewayState::kAsked;
}

void HostConnection::begin(int fd, int epoll_fd, bool connecting) {
  std::lock_guard guard(mutex_);
  take_socket(fd, epoll_fd, connecting ? EPOLLOUT : EPOLLIN);
  connecting_ = connecting;
  GatewayState asked = GatewayState::kAsked;
  if (!connecting) slot().state.compare_exchange_strong(asked, GatewayState::kOpen);
}

void HostConnection::refuse(int error) {
  Outcome outcome;
  std::lock_guard guard(mutex_);
  take_socket(-1, -1, 0);
  connecting_ = true;
  fail(error, outcome);
}

void HostConnection::finish_connecting(Outcome& outcome) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return fail(error, outcome);
  connecting_ = false;
  outcome.news = true;
  GatewayState asked = GatewayState::kAsked;
  slot().state.compare_exchange_strong(asked, GatewayState::kOpen);
}

HostConnection::Outcome HostConnection::ready(u32 events) {
  Outcome outcome;
  std::unique_lock guard(mutex_);
  if (fd_ < 0) return outcome;
  if (connecting_) {
    finish_connecting(outcome);
  } else if ((events & EPOLLERR) != 0) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) fail(error, outcome);
  }
  if ((events & EPOLLOUT) != 0) out_blocked_ = false;
  advance(guard, (events & ~u32{EPOLLOUT}) != 0, outcome);
  return outcome;
}

HostConnection::Outcome HostConnection::news() {
  Outcome outcome;
  std::unique_lock guard(mutex_);
  if (!busy_) {
    // Given up before it was begun.
    if (is_left() && index_ >= abi::kFirstOutSlot) leave(outcome);
    return outcome;
  }
  bool was_stalled = std::exchange(in_stalled_, false);
  advance(guard, was_stalled, outcome);
  return outcome;
}

void HostConnection::advance(Lock& lock, bool readable, Outcome& outcome) {
  if (is_left()) in_stalled_ = true;  // for good: nobody reads any more
  hang_up_if_reset();
  if (fd_ >= 0 && !connecting_) pump_out(lock, outcome);
  if (fd_ >= 0 && readable && !connecting_) pump_in(outcome);
  if (is_left()) leave(outcome);
  if (fd_ >= 0 && !connecting_) arm();
}

// From the host into the machine, as much as there is room for.
void HostConnection::pump_in(Outcome& outcome) {
  if (in_finished_ || in_stalled_) return;
  abi::GatewayRing& ring = slot().in;
  u64 used = in_head_ - ring.at.tail.load(std::memory_order_seq_cst);
  if (used >= kGatewayRingSize) {
    // Full. The machine may read just now: look again once it is known that we wait.
    ring.waits_for_room.store(1, std::memory_order_seq_cst);
    used = in_head_ - ring.at.tail.load(std::memory_order_seq_cst);
    in_stalled_ = used >= kGatewayRingSize;
    if (in_stalled_) return;
  }
  ring.waits_for_room.store(0, std::memory_order_relaxed);
  if (used == 0 && ((in_head_ - in_base_) & kMask) >= abi::kGatewayStartOver) {
    in_base_ = in_head_;
    ring.at.base.store(in_base_, std::memory_order_release);
  }
  u64 offset = (in_head_ - in_base_) & kMask;
  iovec parts[2];
  int count = pieces(abi::gateway_in_ring(index_), offset, kGatewayRingSize - used, parts);
  ssize_t got = readv(fd_, parts, count);
  if (got > 0) {
    furthest_ = std::max(furthest_, std::min(offset + static_cast<u64>(got), kGatewayRingSize));
    in_head_ += static_cast<u64>(got);
    ring.furthest.store(static_cast<u32>(furthest_), std::memory_order_relaxed);
    ring.at.head.store(in_head_, std::memory_order_seq_cst);
    outcome.news = true;
  } else if (got == 0) {
    in_finished_ = true;
    ring.ended.store(abi::kGatewayFin, std::memory_order_seq_cst);
    outcome.news = true;
  } else if (errno != EAGAIN && errno != EINTR) {
    fail(errno, outcome);
  }
}

bool HostConnection::has_output() const {
  return slot().out.at.head.load(std::memory_order_seq_cst) != out_tail_;
}

// From the machine to the host, as much as it takes. Without the lock where the host is called: whoever gets
// the bytes may answer, and take this thread's core, before the call returns, and the other thread would wait
// here with the answer. One thread at a time; another leaves word.
void HostConnection::pump_out(Lock& lock, Outcome& outcome) {
  if (std::exchange(sending_, true)) {
    send_again_ = true;
    return;
  }
  u64 done = 0;
  do {
    send_again_ = false;
    while (fd_ >= 0 && !connecting_ && !out_blocked_ && !out_finished_ && done < kMostAtOnce) {
      if (!send_some(lock, done, outcome)) break;
    }
  } while (send_again_ && done < kMostAtOnce);
  sending_ = false;
  if (done >= kMostAtOnce) outcome.more = true;
}

// False: there is nothing more.
bool HostConnection::send_some(Lock& lock, u64& done, Outcome& outcome) {
  abi::GatewayRing& ring = slot().out;
  // In this order: what was sent before the end is there when the end is.
  u32 ended = ring.ended.load(std::memory_order_seq_cst);
  u64 ready = ring.at.head.load(std::memory_order_seq_cst) - out_tail_;
  if (ready > kGatewayRingSize) {
    fail(EPROTO, outcome);  // nonsense
    return false;
  }
  if (ready == 0) {
    if (ended == abi::kGatewayRuns) return false;
    shutdown(fd_, SHUT_WR);
    out_finished_ = true;
    return false;
  }
  u64 offset = (out_tail_ - ring.at.base.load(std::memory_order_acquire)) & kMask;
  iovec parts[2];
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = static_cast<std::size_t>(pieces(abi::gateway_out_ring(index_), offset, ready, parts));
  int fd = fd_;
  in_sendmsg_ = true;
  lock.unlock();
  ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  int error = errno;
  lock.lock();
  in_sendmsg_ = false;
  if (fd_ != fd) {
    close(fd);  // who ended the connection meanwhile left it to us; there may be another by now
    return true;
  }
  if (sent < 0) {
    if (error == EINTR) return true;
    out_blocked_ = error == EAGAIN;
    if (!out_blocked_) fail(error, outcome);
    return false;
  }
  furthest_ = std::max(furthest_, std::min(offset + static_cast<u64>(sent), kGatewayRingSize));
  out_tail_ += static_cast<u64>(sent);
  done += static_cast<u64>(sent);
  ring.at.tail.store(out_tail_, std::memory_order_seq_cst);
  if (ring.waits_for_room.load(std::memory_order_seq_cst) != 0) outcome.news = true;
  return true;
}

void HostConnection::close_socket() {
  // Not under a thread that is just sending: it does so.
  if (fd_ >= 0 && !in_sendmsg_) close(fd_);
  fd_ = -1;
}

bool HostConnection::is_left() const {
  return slot().state.load(std::memory_order_seq_cst) == GatewayState::kDetached;
}

// The host's side is gone. The machine learns why.
void HostConnection::fail(int error, Outcome& outcome) {
  close_socket();
  slot().error.store(static_cast<u32>(error), std::memory_order_release);
  GatewayState asked = GatewayState::kAsked;
  if (connecting_) {
    slot().state.compare_exchange_strong(asked, GatewayState::kFailed);
  } else {
    slot().in.ended.store(abi::kGatewayReset, std::memory_order_seq_cst);
  }
  outcome.news = true;
}

// The machine has reset the connection: what it sent before is lost, and the peer is told at once, also while
// a socket of the machine still knows of the slot.
void HostConnection::hang_up_if_reset() {
  if (fd_ < 0 || slot().out.ended.load(std::memory_order_seq_cst) != abi::kGatewayReset) return;
  linger now{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close_socket();
}

// The machine's side is gone: what it left is written still, unless it said that it is not to be.
void HostConnection::leave(Outcome& outcome) {
  hang_up_if_reset();
  if (fd_ >= 0 && !out_finished_ && !connecting_) return;
  close_socket();
  busy_ = connecting_ = false;
  give_back_memory();
  slot().state.store(GatewayState::kFree, std::memory_order_seq_cst);
  outcome.over = true;
}

void HostConnection::give_back_memory() {
  if (furthest_ <= kKeepMemory) return;
  u64 rest = kGatewayRingSize - kKeepMemory;
  madvise(abi::gateway_in_ring(index_) + kKeepMemory, rest, MADV_REMOVE);
  madvise(abi::gateway_out_ring(index_) + kKeepMemory, rest, MADV_REMOVE);
}

// The host is asked only for what can be done. Edge-triggered when that is nothing: an error and the end of
// both ways are told whatever one asks for, and would be told again and again.
void HostConnection::arm() {
  u32 wanted = 0;
  if (!in_finished_ && !in_stalled_) wanted |= EPOLLIN;
  if (out_blocked_) wanted |= EPOLLOUT;
  if (wanted == 0) wanted = EPOLLET;
  if (wanted == armed_) return;
  epoll_event event{};
  event.events = armed_ = wanted;
  event.data.u64 = index_;
  epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, fd_, &event);
}

bool HostConnection::flush() {
  Outcome outcome;
  std::unique_lock guard(mutex_);
  if (fd_ < 0 || connecting_) return false;
  out_blocked_ = false;
  hang_up_if_reset();
  if (fd_ >= 0) pump_out(guard, outcome);
  return fd_ >= 0 && (out_blocked_ || outcome.more) && has_output();
}

}  // namespace teacup::host
