// Reading never runs ahead of the guest: the host descriptor is read only while the guest has asked for more
// than it got, and never for more than that, so that an outer `while read` loop keeps its input and a file's
// offset ends where the guest's is. All counters come from the arena and are checked: a guest that writes
// nonsense there gets nonsense bytes, of its own.
#include "host/broker/streams.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "host/broker/events.h"
#include "host/broker/terminal.h"
#include "host/broker/thread.h"
#include "host/launch/error.h"
#include "kernel/abi/events.h"
#include "kernel/base/arena_header.h"

namespace teacup::host {

namespace {

abi::Stream& stream_of(u32 index) {
  return arena_at<abi::Streams>(arena().streams_offset).streams[index];
}

void wait_for(int doorbell, int fd, short events, bool with_fd) {
  pollfd polls[2] = {{doorbell, POLLIN, 0}, {fd, events, 0}};
  poll(polls, with_fd ? 2 : 1, -1);
}

// A nonblocking host descriptor that is not ready.
bool would_block(int error) {
  return error == EAGAIN || error == EWOULDBLOCK;
}

}  // namespace

// Has the carrier look, and begins it if need be.
void Streams::ring(Carrier& carrier, void (Streams::*body)(u32)) {
  if (carrier.fd < 0) return;
  {
    std::lock_guard guard(starting_);
    if (carrier.doorbell < 0) {
      carrier.doorbell = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
      if (carrier.doorbell < 0) end_machine("cannot carry a host stream", errno_text(errno), "ulimit -n");
      start_thread([this, body, index = static_cast<u32>(carrier.fd)] { (this->*body)(index); });
      return;
    }
  }
  u64 one = 1;
  if (write(carrier.doorbell, &one, sizeof one) < 0) return;  // full: it is ringing already
}

void Streams::clear(Carrier& carrier) {
  u64 count = 0;
  if (read(carrier.doorbell, &count, sizeof count) < 0) return;  // was not ringing
}

void Streams::start() {
  refresh_window();
  const abi::BootConfig& config = abi::boot_config();
  for (u32 i = 0; i < abi::kStreams; i++) {
    const abi::BootStream& stream = config.streams[i];
    if (stream.kind == abi::StreamKind::kClosed) continue;
    if (stream.readable) in_[i].fd = static_cast<int>(i);
    if (stream.writable) out_[i].fd = static_cast<int>(i);
  }
}

void Streams::news(u64 stream) {
  if (stream >= abi::kStreams) return;
  ring(in_[stream], &Streams::carry_in);
  ring(out_[stream], &Streams::carry_out);
}

void Streams::carry_in(u32 index) {
  abi::Stream& stream = stream_of(index);
  Carrier& carrier = in_[index];
  bool is_terminal = isatty(carrier.fd) != 0;
  u64 head = 0;
  for (;;) {
    clear(carrier);
    if (stopping_.load()) return;
    u64 wanted = stream.wanted.load(std::memory_order_seq_cst);
    u64 tail = stream.in_tail.load(std::memory_order_acquire);
    u64 room = head - tail <= abi::kStreamRing ? abi::kStreamRing - (head - tail) : 0;
    u64 count = wanted > head ? std::min(wanted - head, room) : 0;
    bool poll_only = count == 0 && stream.poll_wanted.load(std::memory_order_seq_cst) != 0;
    if (count == 0 && !poll_only) {
      wait_for(carrier.doorbell, carrier.fd, POLLIN, false);
      continue;
    }
    pollfd ready{carrier.fd, POLLIN, 0};
    if (poll(&ready, 1, 0) == 0) {
      wait_for(carrier.doorbell, carrier.fd, POLLIN, true);
      continue;
    }
    if (poll_only) {
      stream.poll_wanted.store(0, std::memory_order_seq_cst);
      stream.readable_now.store(1, std::memory_order_seq_cst);
      raise_event(abi::kEventStream0 << index);
      continue;
    }
    u64 at = head % abi::kStreamRing;
    count = std::min(count, abi::kStreamRing - at);
    ssize_t got = read(carrier.fd, stream.in_ring + at, count);
    if (got < 0 && (errno == EINTR || would_block(errno))) continue;
    if (got > 0) {
      if (is_terminal) refresh_window();
      head += static_cast<u64>(got);
      stream.in_head.store(head, std::memory_order_seq_cst);
    } else {
      // The end of a terminal or a growing file is not for ever: the guest may ask again.
      stream.in_end.store(got == 0 ? 1 : static_cast<u32>(errno) + 1, std::memory_order_seq_cst);
    }
    raise_event(abi::kEventStream0 << index);
    if (got <= 0) {
      // Until the guest has taken note of the end (it clears in_end when it asks anew) there is nothing to
      // do.
      while (!stopping_.load() && stream.in_end.load(std::memory_order_seq_cst) != 0) {
        wait_for(carrier.doorbell, carrier.fd, POLLIN, false);
        clear(carrier);
      }
    }
  }
}

void Streams::carry_out(u32 index) {
  abi::Stream& stream = stream_of(index);
  Carrier& carrier = out_[index];
  u64 tail = 0;
  for (;;) {
    clear(carrier);
    u64 head = stream.out_head.load(std::memory_order_seq_cst);
    if (head == tail) {
      if (stopping_.load()) {
        carrier.done.store(true);
        kill(getpid(), SIGCHLD);
        return;
      }
      wait_for(carrier.doorbell, carrier.fd, POLLOUT, false);
      continue;
    }
    u64 at = tail % abi::kStreamRing;
    u64 count = std::min({head - tail, abi::kStreamRing - at, u64{abi::kStreamRing}});
    ssize_t put = write(carrier.fd, stream.out_ring + at, count);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && would_block(errno)) {
      wait_for(carrier.doorbell, carrier.fd, POLLOUT, true);
      continue;
    }
    if (put < 0) {
      // Reported on the guest's next write, or at the end; what was accepted is lost, as with any pipe whose
      // reader went.
      bool untold = stream.out_error.exchange(static_cast<u32>(errno), std::memory_order_seq_cst) != 0;
      carrier.lost = (untold ? carrier.lost : 0) + (head - tail);
      tail = head;
    } else {
      tail += static_cast<u64>(put);
    }
    stream.out_tail.store(tail, std::memory_order_seq_cst);
    raise_event(abi::kEventStream0 << index);
    wake_word(&stream.out_tail, 1 << 30);
  }
}

s64 Streams::control(abi::StreamOp op, u64 stream, u64 a, u64 b) {
  if (stream >= abi::kStreams) return -EBADF;
  int fd = static_cast<int>(stream);
  struct stat status {};
  if (fstat(fd, &status) != 0) return -errno;
  switch (op) {
    case abi::StreamOp::kSeek: {
      off_t result = lseek(fd, static_cast<off_t>(a), static_cast<int>(b));
      return result < 0 ? -errno : result;
    }
    case abi::StreamOp::kSize:
      return status.st_size;
    case abi::StreamOp::kTruncate:
      return ftruncate(fd, static_cast<off_t>(a)) != 0 ? -errno : 0;
    case abi::StreamOp::kReady: {
      pollfd ready{fd, POLLIN, 0};
      return poll(&ready, 1, 0) > 0 ? 1 : 0;
    }
    default:
      return -EINVAL;
  }
}

void Streams::begin_drain() {
  // A carrier ends by itself once stopping_ is set and its ring is empty.
  stopping_.store(true);
  for (u32 i = 0; i < abi::kStreams; i++) {
    const abi::Stream& stream = stream_of(i);
    bool is_empty = stream.out_tail.load(std::memory_order_seq_cst) == stream.out_head.load();
    if (out_[i].fd < 0 || is_empty) {
      out_[i].done.store(true);  // without the thread, which need not be woken for it
    } else {
      ring(out_[i], &Streams::carry_out);
    }
  }
}

std::vector<Streams::Loss> Streams::losses() {
  static constexpr const char* kNames[abi::kStreams] = {"standard input", "standard output",
                                                        "standard error"};
  std::vector<Loss> losses;
  for (u32 i = 0; i < abi::kStreams; i++) {
    const int error = static_cast<int>(stream_of(i).out_error.load(std::memory_order_seq_cst));
    if (error != 0 && error != EPIPE) losses.push_back({kNames[i], error, out_[i].lost});
  }
  return losses;
}

bool Streams::is_drained() {
  return std::all_of(std::begin(out_), std::end(out_), [](Carrier& carrier) { return carrier.done.load(); });
}

}  // namespace teacup::host
