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

#include "kernel/abi/park.h"
#include "kernel/base/arena_header.h"
#include "kernel/base/types.h"

namespace teacup::abi {

inline constexpr u32 kGatewaySlots = 4032;
inline constexpr u32 kFirstOutSlot = 2048;
inline constexpr u64 kGatewayRingSize = 256 * KiB;
inline constexpr u64 kGatewayStartOver =
    16 * KiB;  // an empty ring used beyond this begins again at its start
inline constexpr u64 kGatewayKept =
    64 * KiB;  // of each ring, from its start, stays when a connection is over

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
  std::atomic<u32>
      furthest;  // bytes of the ring, from its start, that were ever used: the broker's, as writer
  u8 pad_[28];

  // For a new connection; by whoever begins it.
  void clear() {
    at.head.store(0, std::memory_order_relaxed);
    at.base.store(0, std::memory_order_relaxed);
    at.tail.store(0, std::memory_order_relaxed);
    ended.store(kGatewayRuns, std::memory_order_relaxed);
    waits_for_room.store(0, std::memory_order_relaxed);
    furthest.store(0, std::memory_order_relaxed);
  }
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
  // The ParkWords of the task that waits for bytes, most likely, as an offset in the arena; 0: nobody known.
  // The kernel's.
  std::atomic<u64> reader;
  u8 pad_[64];
};
static_assert(sizeof(GatewaySlot) == 256);

// Who has news: a bit each. The setter wakes the other; the taker clears before it looks.
struct NewsBoard {
  static constexpr u32 kWords = 64;
  std::atomic<u64> summary;
  std::atomic<u64> words[kWords];

  // False: it was posted already and not taken; whoever did so wakes the other.
  bool post(u32 index) {
    u64 bit = u64{1} << (index % 64);
    if ((words[index / 64].fetch_or(bit, std::memory_order_seq_cst) & bit) != 0) return false;
    summary.fetch_or(u64{1} << (index / 64), std::memory_order_seq_cst);
    return true;
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
  std::atomic<u64> acceptor;   // who waits for connections, as GatewaySlot::reader
};
inline constexpr u32 kMaxPublished = 1024;

// Datagrams travel in one ring each way, whole or not at all: a head, the data, up to 8 bytes' alignment.
// What finds no room is lost, as UDP has it. With `error`, the data are what was sent from `to` to `from` and
// met this errno, as far as it is known.
struct DatagramHead {
  u32 size;   // of the data
  u32 error;  // out of the machine: not 0 if the sender wants to hear of errors
  GatewayName from, to;
  u64 whole() const { return (sizeof(DatagramHead) + u64{size} + 7) & ~u64{7}; }
};
inline constexpr u32 kLargestDatagram = 65535;

// The machine's nameserver, unless somebody in the machine serves there: the broker answers.
inline constexpr u8 kResolverAddress[4] = {127, 0, 0, 53};
inline constexpr u16 kResolverPort = 53;

struct Gateway {
  NewsBoard to_broker;
  std::atomic<u32> doorbell;         // counts news to the broker, which sleeps on it
  std::atomic<u32> broker_sleeping;  // it does, or is about to
  std::atomic<u32> broker_watching;  // not 0: it looks at the board by itself
  NewsBoard to_guest;
  u32 published_count;
  PublishedPort published[kMaxPublished];
  RingPositions datagrams_in;   // host to guest
  RingPositions datagrams_out;  // guest to host
  GatewaySlot slots[kGatewaySlots];
};
inline constexpr u64 kGatewayRings = kGatewayOffset + 2 * MiB;
static_assert(sizeof(Gateway) <= kGatewayRings - kGatewayOffset);
inline constexpr u64 kDatagramRings = kGatewayRings + 2 * kGatewayRingSize * kGatewaySlots;
static_assert(kDatagramRings + 2 * kGatewayRingSize <= kGatewayOffset + kGatewaySize);

inline Gateway& gateway() {
  return arena_at<Gateway>(kGatewayOffset);
}
inline u8* datagram_in_ring() {
  return &arena_at<u8>(kDatagramRings);
}
inline u8* datagram_out_ring() {
  return datagram_in_ring() + kGatewayRingSize;
}
inline u8* gateway_in_ring(u32 slot) {
  return &arena_at<u8>(kGatewayRings + slot * 2 * kGatewayRingSize);
}
inline u8* gateway_out_ring(u32 slot) {
  return gateway_in_ring(slot) + kGatewayRingSize;
}

}  // namespace teacup::abi
