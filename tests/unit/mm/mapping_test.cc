#include "kernel/mm/mapping.h"

#include <gtest/gtest.h>
#include <map>

#include "tests/unit/support/machine.h"

namespace teacup::mm {

namespace {

Mapping anonymous(u64 first, u64 last, u32 prot = 3) {
  Mapping mapping;
  mapping.start = first * kPageSize;
  mapping.end = mapping.backed_end = last * kPageSize;
  mapping.prot = prot;
  return mapping;
}

class MappingListTest : public testing::Test {
 protected:
  TestMachine machine_;
  MappingList list_;
};

TEST_F(MappingListTest, JoinsNeighboursThatAreAlike) {
  ASSERT_TRUE(list_.reserve(8).ok());
  list_.insert(anonymous(1, 2));
  list_.insert(anonymous(3, 4));
  EXPECT_EQ(list_.size(), 2U);
  list_.insert(anonymous(2, 3));
  ASSERT_EQ(list_.size(), 1U);
  EXPECT_EQ(list_[0].end, 4 * kPageSize);
  list_.insert(anonymous(4, 5, 1));
  EXPECT_EQ(list_.size(), 2U);
}

TEST_F(MappingListTest, SplitsAndJoinsAgain) {
  ASSERT_TRUE(list_.reserve(8).ok());
  list_.insert(anonymous(10, 20));
  list_.split(15 * kPageSize);
  ASSERT_EQ(list_.size(), 2U);
  EXPECT_EQ(list_[1].start, 15 * kPageSize);
  list_.split(15 * kPageSize);
  list_.split(9 * kPageSize);
  list_.split(20 * kPageSize);
  EXPECT_EQ(list_.size(), 2U);
  list_.join(12 * kPageSize, 16 * kPageSize);
  EXPECT_EQ(list_.size(), 1U);
}

TEST_F(MappingListTest, DoesNotJoinBehindTheEndOfAFile) {
  ASSERT_TRUE(list_.reserve(8).ok());
  Mapping first = anonymous(1, 3);
  first.backed_end = 2 * kPageSize;
  list_.insert(std::move(first));
  list_.insert(anonymous(3, 4));
  EXPECT_EQ(list_.size(), 2U);
}

// Against a map of pages, with a fixed sequence of operations.
TEST_F(MappingListTest, AgreesWithAMapOfPages) {
  std::map<u64, u32> pages;
  u64 state = 1;
  auto random = [&](u64 below) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33) % below;
  };
  for (int round = 0; round < 3000; round++) {
    u64 first = 1 + random(60), last = first + 1 + random(12);
    u32 prot = static_cast<u32>(random(3));
    ASSERT_TRUE(list_.reserve(4).ok());
    list_.split(first * kPageSize);
    list_.split(last * kPageSize);
    size_t from = list_.find(first * kPageSize), to = from;
    while (to < list_.size() && list_[to].start < last * kPageSize) to++;
    list_.erase(from, to - from);
    for (u64 page = first; page < last; page++) pages.erase(page);
    if (random(3) != 0) {
      list_.insert(anonymous(first, last, prot));
      for (u64 page = first; page < last; page++) pages[page] = prot;
    }
    for (u64 page = 0; page < 80; page++) {
      const Mapping* mapping = list_.at(page * kPageSize);
      ASSERT_EQ(mapping != nullptr, pages.contains(page)) << round;
      if (mapping != nullptr) {
        ASSERT_EQ(mapping->prot, pages[page]);
      }
    }
    for (size_t i = 1; i < list_.size(); i++) {
      ASSERT_LE(list_[i - 1].end, list_[i].start);
    }
  }
}

}  // namespace

}  // namespace teacup::mm
