#include "host/broker/foreseen.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "kernel/base/layout.h"
#include "tests/unit/host/scratch_folder.h"

namespace teacup::host {
namespace {

using Bytes = std::vector<std::byte>;

Bytes bytes(std::size_t size, int value) {
  return Bytes(size, static_cast<std::byte>(value));
}

class ForeseenTest : public ScratchFolderTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(ScratchFolderTest::SetUp());
    cache_.emplace(parent_ + "/teacup/prepared");
  }

  // A machine with this key that asks for the files of these sizes.
  void machine(const std::string& key, const std::vector<u64>& sizes, u64 stored = 0,
               std::size_t plan = 1000) {
    Foreseen foreseen(*cache_, key);
    for (u64 size : sizes) {
      const abi::PreparePiece pieces[] = {{kFirstImageFd, 0, 8192, size - 7}, {kArenaFd, 0, size * 4096, 7}};
      foreseen.note({size, 3, 2, stored}, pieces, bytes(7, 1), stored == 0 ? bytes(plan, 2) : Bytes());
    }
    foreseen.keep();
  }

  // The sizes of the files that the next machine with the key need not ask for, as its guest side reads them.
  std::vector<u64> foreseen_by(const std::string& key) {
    const Foreseen foreseen(*cache_, key);
    const auto list = foreseen.records();
    list_.assign(list.begin(), list.end());
    records_.clear();
    std::vector<u64> sizes;
    for (u64 at = 0; at < list_.size();) {
      records_.push_back(reinterpret_cast<const abi::ForeseenText*>(list_.data() + at));
      EXPECT_TRUE(records_.back()->is_sound());
      sizes.push_back(records_.back()->input.file_size);
      at += records_.back()->size;
    }
    return sizes;
  }

  std::optional<PreparedCache> cache_;
  Bytes list_;
  std::vector<const abi::ForeseenText*> records_;
};

using Sizes = std::vector<u64>;

TEST_F(ForeseenTest, WhatWasAskedForIsThereForTheNextMachine) {
  EXPECT_EQ(foreseen_by("key"), Sizes());
  machine("key", {100, 200});
  EXPECT_EQ(foreseen_by("key"), Sizes({100, 200}));
  EXPECT_EQ(foreseen_by("another key"), Sizes());
  const auto* record = reinterpret_cast<const std::byte*>(records_[1]);
  const abi::ForeseenText& head = *records_[1];
  EXPECT_EQ(head.input.flags, 3U);
  ASSERT_EQ(head.input.piece_count, 2U);
  abi::PreparePiece pieces[2];
  std::memcpy(pieces, record + head.pieces(), sizeof pieces);
  EXPECT_EQ(pieces[0].host_offset, 8192U);
  EXPECT_EQ(pieces[1].fd, kArenaFd);
  EXPECT_EQ(Bytes(record + head.tail(), record + head.tail() + head.tail_size), bytes(7, 1));
  EXPECT_EQ(Bytes(record + head.plan(), record + head.plan() + head.plan_size), bytes(1000, 2));
}

TEST_F(ForeseenTest, APlaceInTheStoreIsEnough) {
  machine("key", {100}, 40960);
  EXPECT_EQ(foreseen_by("key"), Sizes({100}));
  EXPECT_EQ(records_[0]->input.stored, 40960U);
  EXPECT_EQ(records_[0]->plan_size, 0U);
}

TEST_F(ForeseenTest, NewOnesAreKeptBesideTheOld) {
  machine("key", {100, 200});
  machine("key", {300});
  machine("key", {});
  EXPECT_EQ(foreseen_by("key"), Sizes({300, 100, 200}));
}

TEST_F(ForeseenTest, TheOldestMakeRoom) {
  machine("key", {100, 200, 300}, 0, 50000);
  machine("key", {400}, 0, 50000);
  EXPECT_EQ(foreseen_by("key"), Sizes({400, 100, 200}));
  machine("key", {500}, 0, 500000);  // which would take all of it
  EXPECT_EQ(foreseen_by("key"), Sizes({400, 100, 200}));
}

TEST_F(ForeseenTest, AMachineThatAsksForThousandsKeepsTheFirst) {
  std::vector<u64> sizes(5000);
  std::iota(sizes.begin(), sizes.end(), 100);
  machine("key", sizes);
  Sizes kept = foreseen_by("key");
  EXPECT_GT(kept.size(), 100U);
  EXPECT_LT(kept.size(), 200U);
  sizes.resize(kept.size());
  EXPECT_EQ(kept, sizes);
  // A list that is longer than any that is kept.
  Bytes twice = list_;
  twice.insert(twice.end(), list_.begin(), list_.end());
  cache_->store("key", twice);
  EXPECT_EQ(foreseen_by("key"), kept);
  machine("key", {7000});
  kept.insert(kept.begin(), 7000);
  kept.pop_back();
  EXPECT_EQ(foreseen_by("key"), kept);
}

TEST_F(ForeseenTest, WithoutAKeyThereIsNothing) {
  machine("", {100});
  EXPECT_EQ(foreseen_by(""), Sizes());
}

TEST_F(ForeseenTest, WhatIsNoListCountsAsFarAsItIsOne) {
  machine("key", {100, 200});
  Bytes list = cache_->load("key").value();
  const std::size_t half = list.size() / 2;
  for (std::size_t length : {std::size_t{0}, std::size_t{1}, half - 1, half, half + 1, list.size() - 1}) {
    cache_->store("key", std::span(list).first(length));
    EXPECT_EQ(foreseen_by("key").size(), length / half) << length;
  }
  for (std::size_t at = 0; at < sizeof(abi::ForeseenText); at += 4) {
    Bytes wrong = list;
    std::memset(wrong.data() + at, 0xff, 4);
    cache_->store("key", wrong);
    foreseen_by("key");  // checks what it reads
  }
}

}  // namespace
}  // namespace teacup::host
