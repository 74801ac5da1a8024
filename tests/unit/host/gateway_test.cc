// The broker's end of the gateway against a machine that writes what it likes to their shared memory: the
// broker stays inside the connection's own rings, sends nothing else out, and gets its slot back.
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <vector>

#include "host/broker/arena_bounds.h"
#include "host/broker/host_connection.h"
#include "host/broker/machine_news.h"
#include "kernel/abi/stats.h"
#include "tests/unit/support/machine.h"

namespace teacup::host {
namespace {

constexpr u32 kSlot = 5;
constexpr u8 kOwn = 'k', kOthers = 0xa5;

class GatewayTest : public testing::Test {
 protected:
  GatewayTest() {
    remember_arena();
    for (u32 slot : {kSlot - 1, kSlot + 1}) {
      std::fill_n(abi::gateway_in_ring(slot), 2 * abi::kGatewayRingSize, kOthers);
    }
    std::fill_n(abi::gateway_out_ring(kSlot), abi::kGatewayRingSize, kOwn);
    connection_.set_index(kSlot);
  }
  ~GatewayTest() override { close(epoll_); }

  u64 word() {
    switch (random_() % 4) {
      case 0:
        return random_() % 8;
      case 1:
        return random_() % (2 * abi::kGatewayRingSize);
      case 2:
        return -(random_() % abi::kGatewayRingSize);
      default:
        return random_();
    }
  }
  void scribble() {
    auto* words = reinterpret_cast<std::atomic<u64>*>(&abi::gateway().slots[kSlot]);
    words[random_() % (sizeof(abi::GatewaySlot) / 8)].store(word());
  }
  bool neighbours_are_whole() {
    return std::ranges::all_of(std::vector{kSlot - 1, kSlot + 1}, [](u32 slot) {
      const u8* ring = abi::gateway_in_ring(slot);
      return std::all_of(ring, ring + 2 * abi::kGatewayRingSize, [](u8 byte) { return byte == kOthers; });
    });
  }
  // What comes out of the connection is the ring's, and nothing else.
  bool drain(int peer) {
    std::vector<u8> buffer(65536);
    ssize_t got;
    while ((got = recv(peer, buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0) {
      auto is_own = [](u8 byte) { return byte == kOwn || byte == 0; };  // 0: memory that was given back
      if (!std::all_of(buffer.begin(), buffer.begin() + got, is_own)) return false;
    }
    return true;
  }

  TestMachine machine_;
  std::mt19937_64 random_{20221122};
  int epoll_ = epoll_create1(0);
  HostConnection connection_;
};

TEST_F(GatewayTest, StaysInItsRings) {
  const std::vector<u8> sent(100'000, 's');
  for (int round = 0; round < 500; round++) {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    connection_.offer(ends[0], epoll_, SocketAddress(), 80, 0);
    bool over = false;
    for (int step = 0; step < 40 && !over; step++) {
      for (u64 words = random_() % 4; words > 0; words--) scribble();
      if (random_() % 3 == 0)
        (void)send(ends[1], sent.data(), random_() % sent.size() + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
      HostConnection::Outcome outcome =
          random_() % 2 == 0 ? connection_.ready(EPOLLIN | (random_() % 2 == 0 ? u32{EPOLLOUT} : 0))
                             : connection_.news();
      over = outcome.over;
      ASSERT_TRUE(drain(ends[1])) << round;
    }
    // The machine's kernel leaves: whatever was there before, the slot is free afterwards.
    abi::gateway().slots[kSlot].out.ended.store(abi::kGatewayReset);
    abi::gateway().slots[kSlot].state.store(abi::GatewayState::kDetached);
    if (!over) over = connection_.news().over;
    ASSERT_TRUE(over) << round;
    ASSERT_FALSE(connection_.news().over) << "free twice";
    close(ends[1]);
  }
  EXPECT_TRUE(neighbours_are_whole());
}

// A peer that sends for ever takes the ring that is its connection's; the rest waits in the host's socket.
TEST_F(GatewayTest, AFloodFillsOneRing) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
  connection_.offer(ends[0], epoll_, SocketAddress(), 80, 0);
  const std::vector<u8> sent(65536, 's');
  u64 total = 0;
  for (int i = 0; i < 1000; i++) {
    const ssize_t size = send(ends[1], sent.data(), sent.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size > 0) total += static_cast<u64>(size);
    connection_.ready(EPOLLIN);
  }
  EXPECT_GT(total, abi::kGatewayRingSize);
  EXPECT_EQ(abi::gateway().slots[kSlot].in.at.head.load(), abi::kGatewayRingSize);
  EXPECT_EQ(abi::gateway().slots[kSlot].in.furthest.load(), abi::kGatewayRingSize);
  EXPECT_TRUE(neighbours_are_whole());
  close(ends[1]);
}

TEST_F(GatewayTest, ReadersThatAreNone) {
  const u64 readers[] = {0, 1, 3, ~u64{0}, ~u64{3}, u64{1} << 62, kArenaSize, kArenaSize - 4, kArenaSize - 8};
  for (u64 reader : readers) {
    MachineNews news;
    news.post(kSlot, reader);
    EXPECT_EQ(news.count(), 1u);
    news.tell();
    // Nobody was found: the kernel task is told.
    EXPECT_NE(abi::events().flags.exchange(0) & abi::kEventGateway, 0u) << reader;
    abi::gateway().to_guest.take([](u32) {});
  }
}

}  // namespace
}  // namespace teacup::host
