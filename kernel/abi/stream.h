// Host streams: the machine's stdin, stdout, stderr and terminal, carried by the broker. Each is a pair of
// byte rings in the arena with one end in the guest side and the other in a broker thread. The broker never
// reads ahead of the guest: it reads from the host only while `wanted` is more than what it has delivered,
// and never more than that.
//
// Words: the guest side sets `wanted`/`out_head` and rings the stream's `broker_word` (ring_post of
// RingOp::kStream wakes the stream's thread); the broker sets `in_head`/`out_tail`/`in_end`/`out_error` and
// posts an event (abi/events.h), on which the kernel task wakes the stream's wait queue.
#pragma once

#include <atomic>

#include "kernel/base/types.h"

namespace teacup::abi {

inline constexpr u32 kStreamRing = 64 * 1024;
inline constexpr u32 kStreams = 3;

struct Stream {
  // --- Host to guest.
  std::atomic<u64> wanted;   // total bytes the guest has asked for since the start
  std::atomic<u64> in_head;  // total bytes the broker has put into in_ring
  std::atomic<u64> in_tail;  // total bytes the guest has taken
  std::atomic<u32> in_end;   // 1: end of file; >= 2: host errno + 1 (the next read gets it)
  // --- Guest to host.
  std::atomic<u64> out_head;   // total bytes the guest has put into out_ring
  std::atomic<u64> out_tail;   // total bytes the broker has written to the host
  std::atomic<u32> out_error;  // host errno of the last failed write (EPIPE…); the next guest write gets it
  // --- The broker's thread sleeps on this; counts news from the guest.
  std::atomic<u32> broker_word;
  // --- Regular files: the host descriptor's size and offset at the last request (seek, append), see
  // StreamOp.
  std::atomic<u32> readable_now;  // poll(2) of the host descriptor: set by the broker while `poll_wanted`
  std::atomic<u32> poll_wanted;   // somebody polls for input without reading: the broker may poll, not read
  u8 in_ring[kStreamRing];
  u8 out_ring[kStreamRing];
};

enum class StreamOp : u64 {
  kNews = 0,    // a: stream. `wanted`, `poll_wanted` or `out_head` changed. Posted.
  kSeek,        // a: stream, b: offset, c: whence. Regular files only. Answered: the new offset or -errno.
  kSize,        // a: stream. Answered.
  kTruncate,    // a: stream, b: size.
  kSetTermios,  // b: arena offset of a struct termios (as TCGETS): the host terminal's mode follows the
                // guest's. Not yet used: raw.
  kReady,       // a: stream. Answered at once: 1 if the host's descriptor has input or its end, 0 if not.
};

// All streams, at a place fixed by the broker at start.
struct Streams {
  Stream streams[kStreams];
};

}  // namespace teacup::abi
