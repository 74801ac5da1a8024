// What a file's pages are charged for, where they are charged by blocks.
#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "fs/page_store.h"
#include "tests/unit/support/machine.h"

namespace teacup::fs {
namespace {

constexpr u64 kBlock = PageStore::kBlock;

class PageStoreTest : public testing::Test {
 protected:
  void make(u64 page, u64 pages) {
    while (pages > 0) {
      auto made = store_->make_piece(page, pages, 4 * kBlock, true);
      ASSERT_TRUE(made.ok());
      store_->publish_piece(page, made.value().pages);
      page += made.value().pages;
      pages -= made.value().pages;
    }
  }
  u64 used() const { return budget_.used.load(); }

  TestMachine machine_;
  PageBudget budget_;
  std::optional<PageStore> store_{std::in_place, budget_};
};

TEST_F(PageStoreTest, ABlockIsPaidForOnce) {
  EXPECT_EQ(store_->charge_block(0), nullptr);  // nothing is there yet, not even its size
  make(10, 20);
  std::byte* block = store_->charge_block(0);
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(block + 10 * kPageSize, store_->find(10));
  EXPECT_EQ(used(), kBlock);
  EXPECT_EQ(store_->charge_block(0), nullptr);
  make(100, 100);
  ASSERT_TRUE(store_->make(200, 0).ok());
  store_->discard(200);
  EXPECT_EQ(used(), kBlock);
  EXPECT_EQ(store_->count(), 120u);
  EXPECT_EQ(store_->count_in_block(0), 120u);
  make(kBlock - 10, 20);  // and half into the next
  EXPECT_EQ(used(), kBlock + 10);
  ASSERT_NE(store_->charge_block(kBlock), nullptr);
  EXPECT_EQ(used(), 2 * kBlock);
  store_.reset();
  EXPECT_EQ(used(), 0u);
}

TEST_F(PageStoreTest, TheLastPageToGoGivesTheBlockBack) {
  make(0, 1);
  ASSERT_NE(store_->charge_block(kBlock), nullptr);
  EXPECT_EQ(used(), kBlock + 1);
  make(kBlock, 300);
  memset(store_->find(kBlock + 7), 1, kPageSize);
  memset(store_->find(kBlock + 250), 1, kPageSize);
  store_->remove(kBlock, kBlock + 200);
  EXPECT_EQ(used(), kBlock + 1);
  EXPECT_EQ(store_->count(), 101u);
  store_->remove(kBlock + 100, 3 * kBlock);
  EXPECT_EQ(used(), 1u);
  // As ever: zeros, and charged for one by one.
  auto again = store_->make(kBlock + 250, 0);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again.value(), std::byte{0});
  store_->publish(kBlock + 250);
  EXPECT_EQ(used(), 2u);
}

TEST_F(PageStoreTest, ThereIsNoBlockWithoutMemoryForAllOfIt) {
  make(0, 1);
  budget_.limit = kBlock - 1;
  EXPECT_EQ(store_->charge_block(0), nullptr);
  EXPECT_EQ(store_->charge_block(1), nullptr);
  EXPECT_EQ(used(), 1u);
  budget_.limit = kBlock;
  EXPECT_NE(store_->charge_block(0), nullptr);
  EXPECT_FALSE(store_->make(kBlock, 0).ok());
  EXPECT_TRUE(store_->make(5, 0).ok());
}

}  // namespace
}  // namespace teacup::fs
