// The gateway: how bytes of the machine's sockets travel to and from host sockets, which the broker alone
// has. A connection that leaves the machine (or comes into it: -p) has a slot here: two rings of bytes, one
// each way, with the kernel at one end and the broker at the other. Nobody takes a lock of the other's: a
// ring has one writer and one reader, and whoever has news for the other sets the slot's bit on a board of
// news and wakes it.
//
// Slots below kFirstOutSlot are the broker's to begin (connections that come in), the others the kernel's. A
// slot's life:
//   in:   kFree -> kOffered (broker) -> kOpen or kDetached (kernel) -> ... kDetached (kernel) -> kFree
//   (broker) out:  kFree -> kAsked (kernel) -> kOpen or kFailed (broker) -> ... kDetached (kernel) -> kFree
//   (broker)
// After kDetached the kernel looks at it no more; the broker first writes to the host what is in `out`.
//
// The broker believes nothing in here: it keeps positions, descriptors and states of its own, and checks what
// it reads against them. What a guest scribbles here costs it its own connections.
#pragma once

#include <atomic>

#include "kernel/base/arena_header.h"
#include "kernel/base/types.h"

namespace teacup::abi {

inline constexpr u32 kGatewaySlots = 4032;
inline constexpr u32 kFirstOutSlot = 2048;
inline constexpr u64 kGatewayRingSize = 256 * KiB;
inline constexpr u64 kGatewayStartOver =
    16 * KiB;  // an empty ring used beyond this begins again at its start

// Positions count bytes since the start and never go back. `base`: the position that lies at the ring's first
// byte; the writer changes it only while the ring is empty, so that short messages stay in the same pages.
struct RingPositions {
  std::atomic<u64> head{0};  // of the next byte in: the writer's
  std::atomic<u64> base{0};  // the writer's
  std::atomic<u64> tail{0};  // of the next byte out: the reader's
};

enum GatewayEnd : u32 { kGatewayRuns = 0, kGatewayFin, kGatewayReset };

struct GatewayRing {
  RingPositions at;
  std::atomic<u32> ended;           // GatewayEnd, after the last byte: the writer's
  std::atomic<u32> waits_for_room;  // the writer wants news of what is read
  u8 pad_[32];
};

struct GatewayName {
  u8 address[16];  // IPv4 as ::ffff:a.b.c.d
  u16 port;
  u16 pad_;
  u32 scope;
};

enum class GatewayState : u32 { kFree = 0, kOffered, kAsked, kOpen, kFailed, kDetached };

struct GatewaySlot {
  GatewayRing in;   // host to guest
  GatewayRing out;  // guest to host
  std::atomic<GatewayState> state;
  std::atomic<u32> error;  // errno: why it failed
  GatewayName from, to;    // who connects to whom, as the guest sees it
  u8 pad_[72];
};
static_assert(sizeof(GatewaySlot) == 256);

// Who has news: a bit each. The setter wakes the other; the taker clears before it looks.
struct NewsBoard {
  static constexpr u32 kWords = 64;
  std::atomic<u64> summary;
  std::atomic<u64> words[kWords];

  void post(u32 index) {
    words[index / 64].fetch_or(u64{1} << (index % 64), std::memory_order_seq_cst);
    summary.fetch_or(u64{1} << (index / 64), std::memory_order_seq_cst);
  }
  bool empty() const { return summary.load(std::memory_order_seq_cst) == 0; }
  // Calls visit(index) for each that was posted.
  template <typename Visit>
  bool take(Visit visit) {
    u64 groups = summary.exchange(0, std::memory_order_seq_cst);
    for (u64 left = groups; left != 0; left &= left - 1) {
      u32 group = static_cast<u32>(__builtin_ctzll(left));
      u64 bits = words[group].exchange(0, std::memory_order_seq_cst);
      for (; bits != 0; bits &= bits - 1) visit(group * 64 + static_cast<u32>(__builtin_ctzll(bits)));
    }
    return groups != 0;
  }
};

// News that is of no slot.
inline constexpr u32 kNewsListeners = kGatewaySlots;      // to the broker: Published::listening changed
inline constexpr u32 kNewsDatagrams = kGatewaySlots + 1;  // there are datagrams
static_assert(kNewsDatagrams < NewsBoard::kWords * 64);

// A port of the machine that the host can reach.
struct PublishedPort {
  u16 guest_port;
  u16 is_udp;
  std::atomic<u32> listening;  // there is a TCP listener in the machine
};
inline constexpr u32 kMaxPublished = 1024;

struct Gateway {
  NewsBoard to_broker;
  std::atomic<u32> doorbell;         // counts news to the broker, which sleeps on it
  std::atomic<u32> broker_sleeping;  // it does, or is about to
  NewsBoard to_guest;
  u32 published_count;
  PublishedPort published[kMaxPublished];
  GatewaySlot slots[kGatewaySlots];
};
inline constexpr u64 kGatewayRings = kGatewayOffset + 2 * MiB;
static_assert(sizeof(Gateway) <= kGatewayRings - kGatewayOffset);
static_assert(kGatewayRings + 2 * kGatewayRingSize * kGatewaySlots <= kGatewayOffset + kGatewaySize);

inline Gateway& gateway() {
  return arena_at<Gateway>(kGatewayOffset);
}
inline u8* gateway_in_ring(u32 slot) {
  return &arena_at<u8>(kGatewayRings + slot * 2 * kGatewayRingSize);
}
inline u8* gateway_out_ring(u32 slot) {
  return gateway_in_ring(slot) + kGatewayRingSize;
}

}  // namespace teacup::abi
