// LZ4 blocks made at random, with what they are to make.
#include "fs/lz4.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace teacup::fs {
namespace {

using Bytes = std::vector<std::byte>;

struct Block {
  Bytes stored;
  Bytes made;
};

class Maker {
 public:
  explicit Maker(unsigned seed) : random_(seed) {}

  size_t below(size_t limit) { return random_() % limit; }

  // Sequences of all kinds of lengths and distances, then the literals that end a block.
  Block block(size_t size) {
    Block block;
    while (block.made.size() + 20 < size) {
      const size_t left = size - block.made.size() - 10;
      const size_t literals = std::min(length(), left);
      literal(block, literals, std::min(std::max<size_t>(length(), 4), left - literals + 4));
    }
    const size_t rest = size - block.made.size();
    token(block, rest, 0);
    add_literals(block, rest);
    return block;
  }

 private:
  size_t length() {
    const size_t kind = below(20);
    return below(kind < 15 ? 20 : kind < 18 ? 600 : kind < 19 ? 5000 : 90000);
  }
  static void add_length(Block& block, size_t length) {
    for (; length >= 255; length -= 255) block.stored.push_back(std::byte{255});
    block.stored.push_back(static_cast<std::byte>(length));
  }
  static void token(Block& block, size_t literals, size_t match) {
    block.stored.push_back(
        static_cast<std::byte>(std::min<size_t>(literals, 15) << 4 | std::min<size_t>(match, 15)));
    if (literals >= 15) add_length(block, literals - 15);
  }
  void add_literals(Block& block, size_t count) {
    for (; count > 0; count--) {
      const auto byte = static_cast<std::byte>(random_());
      block.stored.push_back(byte);
      block.made.push_back(byte);
    }
  }
  void literal(Block& block, size_t literals, size_t match) {
    if (block.made.empty() && literals == 0) literals = 1;
    token(block, literals, match - 4);
    add_literals(block, literals);
    const size_t most = std::min<size_t>(block.made.size(), 65535);
    const size_t distance = below(3) == 0 ? 1 + below(std::min<size_t>(most, 40)) : 1 + below(most);
    block.stored.push_back(static_cast<std::byte>(distance));
    block.stored.push_back(static_cast<std::byte>(distance >> 8));
    if (match - 4 >= 15) add_length(block, match - 4 - 15);
    for (; match > 0; match--) block.made.push_back(block.made[block.made.size() - distance]);
  }

  std::mt19937 random_;
};

constexpr std::byte kBeyond{0xa5};

TEST(Lz4Test, MakesWhatItIsToMake) {
  Maker maker(1);
  for (int round = 0; round < 300; round++) {
    const Block block = maker.block(1 + maker.below(200'000));
    // All of it, and the front.
    for (const size_t wanted : {block.made.size(), 1 + maker.below(block.made.size())}) {
      Bytes out(wanted + 64, kBeyond);
      ASSERT_EQ(lz4_decode(block.stored, std::span(out).first(wanted)), wanted);
      ASSERT_TRUE(std::equal(out.begin(), out.end() - 64, block.made.begin())) << round;
      ASSERT_EQ(std::count(out.end() - 64, out.end(), kBeyond), 64);
    }
  }
}

TEST(Lz4Test, MakesWhatLiesBehind) {
  Maker maker(2);
  for (int round = 0; round < 300; round++) {
    const Block block = maker.block(2 + maker.below(300'000));
    const size_t size = block.made.size();
    const size_t skipped =
        round % 2 == 0 ? 1 + maker.below(std::min<size_t>(4095, size - 1)) : 1 + maker.below(size - 1);
    for (const size_t wanted : {size - skipped, 1 + maker.below(size - skipped)}) {
      Bytes out(wanted + 64, kBeyond);
      Bytes scratch(skipped + kLz4History + 1 + maker.below(1000));
      ASSERT_EQ(lz4_decode_behind(block.stored, skipped, scratch, std::span(out).first(wanted)), wanted);
      ASSERT_TRUE(std::equal(out.begin(), out.end() - 64, block.made.begin() + static_cast<long>(skipped)))
          << round << ": " << skipped << " of " << size;
      ASSERT_EQ(std::count(out.end() - 64, out.end(), kBeyond), 64);
    }
  }
}

// Whatever comes: nothing is written behind the end (the sanitizers see more), and it ends.
TEST(Lz4Test, EndsOnDamage) {
  Maker maker(3);
  for (int round = 0; round < 2000; round++) {
    Block block = maker.block(1 + maker.below(round % 10 == 0 ? 200'000 : 3000));
    for (size_t changes = 1 + maker.below(8); changes > 0; changes--)
      block.stored[maker.below(block.stored.size())] = static_cast<std::byte>(maker.below(256));
    if (round % 3 == 0) block.stored.resize(maker.below(block.stored.size()) + 1);
    Bytes out(block.made.size() + 64, kBeyond);
    const std::span<std::byte> room = std::span(out).first(block.made.size());
    EXPECT_LE(lz4_decode(block.stored, room), room.size());
    const size_t skipped = 1 + maker.below(room.size());
    Bytes scratch(skipped + kLz4History + 1);
    EXPECT_LE(lz4_decode_behind(block.stored, skipped, scratch, room), room.size());
    ASSERT_EQ(std::count(out.end() - 64, out.end(), kBeyond), 64);
  }
}

}  // namespace
}  // namespace teacup::fs
