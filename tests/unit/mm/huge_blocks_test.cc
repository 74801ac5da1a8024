#include <sys/mman.h>

#include <random>

#include "tests/unit/mm/space.h"

namespace teacup::mm {

namespace {

constexpr u64 kHuge = 2 * MiB;

// How many pages of a range that the host has mapped are there.
size_t resident(u64 address, u64 length) {
  std::vector<unsigned char> pages(length / kPage);
  EXPECT_EQ(mincore(reinterpret_cast<void*>(address), length, pages.data()), 0);
  size_t count = 0;
  for (unsigned char page : pages) count += page & 1;
  return count;
}

// A page that the guest has, and what it must hold.
struct Page {
  bool is_mapped = false;
  bool can_write = false;
  u8 value = 0;
};

// What the map and the host should have, page by page, after random calls.
class Model {
 public:
  explicit Model(u64 base, size_t pages) : base_(base), pages_(pages) {}
  size_t index(u64 address) const { return (address - base_) / kPage; }
  void set(u64 address, u64 length, Page page) {
    ASSERT_GE(address, base_);
    ASSERT_LE(index(address + length), pages_.size());
    std::fill_n(pages_.begin() + static_cast<std::ptrdiff_t>(index(address)), length / kPage, page);
  }
  void write(size_t i, u8 value) {
    if (!pages_[i].is_mapped || !pages_[i].can_write) return;
    *reinterpret_cast<volatile u8*>(base_ + i * kPage) = value;
    pages_[i].value = value;
  }
  void check(size_t i) const {
    u64 address = base_ + i * kPage;
    ASSERT_EQ(can_access(address), pages_[i].is_mapped) << "page " << i;
    ASSERT_EQ(can_access(address, true), pages_[i].is_mapped && pages_[i].can_write) << "page " << i;
    if (!pages_[i].is_mapped) return;
    ASSERT_EQ(*reinterpret_cast<volatile u8*>(address), pages_[i].value) << "page " << i;
  }
  size_t size() const { return pages_.size(); }

 private:
  u64 base_;
  std::vector<Page> pages_;
};

}  // namespace

TEST_F(SpaceTest, APieceOfABlockIsThereAndTheRestIsNot) {
  u64 first = map(MiB), second = map(512 * KiB);
  EXPECT_EQ(first % kHuge, MiB);
  EXPECT_EQ(second, first - 512 * KiB);
  EXPECT_EQ(byte(second), 0);
  EXPECT_FALSE(can_access(second - kPage));
  EXPECT_FALSE(can_access(second - 512 * KiB));
  EXPECT_EQ(shape(second), "0-384 rw-p");
}

TEST_F(SpaceTest, ALargeRequestIsAligned) {
  map(kPage);
  EXPECT_NE(map(5 * MiB, abi::kPROT_NONE) % kHuge, 0U);
  EXPECT_NE(map(5 * MiB, kReadWrite, 0, abi::kMAP_NORESERVE) % kHuge, 0U);
  EXPECT_EQ(map(5 * MiB) % kHuge, 0U);
}

TEST_F(SpaceTest, SmallProgramsGetNoBlock) {
  u64 first = map(100 * KiB), second = map(100 * KiB);
  EXPECT_EQ(second, first - 100 * KiB);
  EXPECT_EQ(resident(second, 200 * KiB), 0U);
}

TEST_F(SpaceTest, NoBlocksWhereTheyAreNotWanted) {
  space_->allow_huge_pages(false);
  u64 address = map(MiB);
  EXPECT_EQ(resident(address, MiB), 0U);
}

TEST_F(SpaceTest, WhoMapsAndUnmapsAgainAndAgainGetsOneBlock) {
  u64 blocks = 0;
  for (int i = 0; i < 20; i++) {
    u64 address = map(MiB);
    if (resident(address, MiB) > 1) blocks++;
    ASSERT_TRUE(space_->unmap(address, MiB).ok());
  }
  EXPECT_LE(blocks, 2U);  // both halves of one
}

TEST_F(SpaceTest, OthersAreMappedBesideWhatIsReadyAndMayReplaceIt) {
  u64 piece = map(MiB);
  Ref<fs::File> file = open_test_file(file_system_, pattern(4));
  u64 beside = space_->map(0, 4 * kPage, kRead, kPrivate, file, 0).value();
  EXPECT_TRUE(beside >= piece + MiB || beside < piece - MiB);
  u64 over = piece - 4 * kPage;
  ASSERT_TRUE(space_->map(over, 4 * kPage, kRead, kPrivate | kFixed, file, 0).ok());
  EXPECT_EQ(byte(over), 1);
  EXPECT_EQ(byte(over + 3 * kPage), 4);
  EXPECT_FALSE(can_access(over - kPage));
  // What is unmapped there is gone, and what comes next is new.
  ASSERT_TRUE(space_->unmap(over, MiB).ok());
  EXPECT_FALSE(can_access(over));
  EXPECT_EQ(byte(map(4 * kPage, kReadWrite, over, kFixed)), 0);
}

TEST_F(SpaceTest, TheBreakGrowsIntoBlocks) {
  u64 start = space_->set_brk_start(0x5555'0000'3000);
  EXPECT_EQ(start % kHuge, kHuge - 512 * KiB);
  EXPECT_EQ(space_->set_brk_start(0x5555'001f'3000), 0x5555'001f'3000U);
  start = space_->set_brk_start(0x5555'0000'3000);
  for (u64 size = 132 * KiB; size < 6 * MiB; size += 132 * KiB) {
    ASSERT_EQ(space_->brk(start + size), start + size);
    EXPECT_EQ(byte(start + size - kPage), 0);
    byte(start + size - kPage) = 7;
    EXPECT_FALSE(can_access(start + size));
  }
  EXPECT_GT(resident(start + 512 * KiB, 5 * MiB), 1000U);
  ASSERT_EQ(space_->brk(start + MiB), start + MiB);
  EXPECT_FALSE(can_access(start + MiB));
  ASSERT_EQ(space_->brk(start + 6 * MiB), start + 6 * MiB);
  for (u64 at = MiB; at < 6 * MiB; at += kPage) ASSERT_EQ(byte(start + at), 0);
  ASSERT_TRUE(space_->unmap(start, 6 * MiB).ok());
}

TEST_F(SpaceTest, RandomCallsLeaveWhatTheyShould) {
  constexpr u64 kArea = 192 * MiB;
  for (u32 seed = 1; seed <= 5; seed++) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    auto space = AddressSpace::create().value();
    space->set_map_top(kTop);
    Model model(kTop - kArea, kArea / kPage);
    std::mt19937 random(seed);
    auto below = [&](u64 limit) { return random() % limit; };
    std::vector<std::pair<u64, u64>> held;
    for (int i = 0; i < 600; i++) {
      u64 length = (below(4) == 0 ? 1 + below(700) : 1 + below(40)) * kPage;
      u64 somewhere = kTop - kArea / 4 + below(kArea / 8 / kPage) * kPage;
      switch (below(8)) {
        case 0:
        case 1:
        case 2: {
          u64 address = space->map(0, length, kReadWrite, kAnonymous, nullptr, 0).value();
          model.set(address, length, {true, true, 0});
          held.emplace_back(address, length);
          break;
        }
        case 3:
          ASSERT_TRUE(space->map(somewhere, length, kReadWrite, kAnonymous | kFixed, nullptr, 0).ok());
          model.set(somewhere, length, {true, true, 0});
          break;
        case 4:
          ASSERT_TRUE(space->unmap(somewhere, length).ok());
          model.set(somewhere, length, {});
          break;
        case 5: {
          u64 address = space->map(0, length, kRead, kAnonymous, nullptr, 0).value();
          model.set(address, length, {true, false, 0});
          break;
        }
        default: {
          if (held.empty()) break;
          std::swap(held[below(held.size())], held.back());
          auto [address, size] = held.back();
          held.pop_back();
          ASSERT_TRUE(space->unmap(address, size).ok());
          model.set(address, size, {});
          break;
        }
      }
      for (int k = 0; k < 50; k++) model.write(below(model.size()), static_cast<u8>(below(256)));
      for (int k = 0; k < 50; k++) model.check(below(model.size()));
      if (testing::Test::HasFatalFailure()) return;
    }
    for (size_t i = 0; i < model.size(); i++) model.check(i);
    ASSERT_TRUE(space->unmap(kTop - kArea, kArea).ok());
  }
}

}  // namespace teacup::mm
