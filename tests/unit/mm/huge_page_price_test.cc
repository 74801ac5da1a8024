#include "kernel/frame/huge_page_price.h"

#include <gtest/gtest.h>

namespace teacup {

namespace {
constexpr u64 kCheap = HugePagePrice::kDear / 10;
constexpr u64 kTooMuch = HugePagePrice::kDear * 4;

// How many bytes come in single pages, asked for in pieces, until huge ones are fair again.
u64 rest_of(HugePagePrice& price) {
  constexpr u64 kAsked = MiB;
  u64 bytes = 0;
  while (!price.is_fair(kAsked)) bytes += kAsked;
  return bytes;
}

}  // namespace

TEST(HugePagePrice, IsFairAsLongAsTheyAreCheap) {
  HugePagePrice price;
  EXPECT_TRUE(price.is_fair(GiB));
  price.paid(kCheap);
  EXPECT_TRUE(price.is_fair(GiB));
}

TEST(HugePagePrice, ADearOneIsFollowedByARest) {
  HugePagePrice price;
  price.paid(kTooMuch);
  EXPECT_EQ(rest_of(price), HugePagePrice::kShortestRest);
  EXPECT_TRUE(price.is_fair(kPageSize));
}

TEST(HugePagePrice, DearOnesInARowAreTriedLessAndLess) {
  HugePagePrice price;
  u64 expected = HugePagePrice::kShortestRest;
  for (int i = 0; i < 6; i++) {
    price.paid(kTooMuch);
    EXPECT_EQ(rest_of(price), expected);
    expected = std::min(4 * expected, HugePagePrice::kLongestRest);
  }
  price.paid(kCheap);
  price.paid(kTooMuch);
  EXPECT_EQ(rest_of(price), HugePagePrice::kShortestRest);
}

TEST(HugePagePrice, ALargeRequestEndsTheRest) {
  HugePagePrice price;
  price.paid(kTooMuch);
  EXPECT_FALSE(price.is_fair(GiB));
  EXPECT_TRUE(price.is_fair(kPageSize));
}

}  // namespace teacup
