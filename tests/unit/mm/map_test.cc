#include "kernel/abi/signal.h"
#include "tests/unit/mm/space.h"

namespace teacup::mm {

namespace {

TEST_F(SpaceTest, PlacesFromTheTopDown) {
  u64 first = map(3 * kPage);
  u64 second = map(kPage);
  EXPECT_EQ(first, kTop - 3 * kPage);
  EXPECT_EQ(second, first - kPage);
  byte(first) = 7;
  EXPECT_EQ(byte(first), 7);
  EXPECT_EQ(shape(second), "0-4 rw-p");
}

TEST_F(SpaceTest, ReusesGaps) {
  u64 base = map(8 * kPage);
  ASSERT_TRUE(space_->unmap(base + 2 * kPage, 2 * kPage).ok());
  EXPECT_EQ(shape(base), "0-2 rw-p, 4-8 rw-p");
  EXPECT_FALSE(can_access(base + 2 * kPage));
  EXPECT_EQ(map(3 * kPage), base - 3 * kPage);  // the gap is too small
  EXPECT_EQ(map(2 * kPage), base + 2 * kPage);
}

TEST_F(SpaceTest, HonoursHintsWhereFree) {
  u64 base = map(2 * kPage);
  EXPECT_EQ(map(kPage, kReadWrite, base - 10 * kPage), base - 10 * kPage);
  EXPECT_EQ(map(kPage, kReadWrite, base), base - kPage);
  // The kernel's range is nobody's hint.
  EXPECT_EQ(map(kPage, kReadWrite, kArenaBase), base - 2 * kPage);
}

TEST_F(SpaceTest, FixedReplacesAndNoReplaceDoesNot) {
  u64 base = map(4 * kPage);
  byte(base + kPage) = 9;
  EXPECT_EQ(map(kPage, kRead, base + kPage, kFixed), base + kPage);
  EXPECT_EQ(shape(base), "0-1 rw-p, 1-2 r--p, 2-4 rw-p");
  EXPECT_EQ(byte(base + kPage), 0);
  auto refused = space_->map(base, kPage, kRead, kAnonymous | abi::kMAP_FIXED_NOREPLACE, nullptr, 0);
  EXPECT_EQ(refused.error(), Errno::EXIST);
}

TEST_F(SpaceTest, RefusesWhatLinuxRefuses) {
  auto error = [&](u64 hint, u64 length, int flags, u64 offset = 0) {
    return space_->map(hint, length, kRead, flags, nullptr, offset).error();
  };
  EXPECT_EQ(error(0, 0, kAnonymous), Errno::INVAL);
  EXPECT_EQ(error(0, kPage, abi::kMAP_ANONYMOUS), Errno::INVAL);
  EXPECT_EQ(error(1, kPage, kAnonymous | kFixed), Errno::INVAL);
  EXPECT_EQ(error(0, kPage, kPrivate), Errno::BADF);
  EXPECT_EQ(error(0, ~u64{0}, kAnonymous), Errno::NOMEM);
  EXPECT_EQ(error(0, u64{1} << 60, kAnonymous), Errno::NOMEM);
  EXPECT_EQ(error(0, kPage, kAnonymous | kFixed), Errno::PERM);
  EXPECT_EQ(error(kArenaBase, kPage, kAnonymous | kFixed), Errno::NOMEM);
  EXPECT_EQ(error(kGuestLowEnd - kPage, 2 * kPage, kAnonymous | kFixed), Errno::NOMEM);
  EXPECT_EQ(error(kGuestHighEnd, kPage, kAnonymous | kFixed), Errno::NOMEM);
  EXPECT_EQ(space_->unmap(1, kPage).error(), Errno::INVAL);
  EXPECT_EQ(space_->unmap(kArenaBase, kPage).error(), Errno::INVAL);
  EXPECT_EQ(space_->unmap(kTop, 0).error(), Errno::INVAL);
}

TEST_F(SpaceTest, LimitsAddressSpaceAndData) {
  Limits limits;
  limits.address_space = 4 * kPage;
  EXPECT_TRUE(space_->map(0, 3 * kPage, kRead, kAnonymous, nullptr, 0, limits).ok());
  EXPECT_EQ(space_->map(0, 2 * kPage, kRead, kAnonymous, nullptr, 0, limits).error(), Errno::NOMEM);
  limits = {};
  limits.data = kPage;
  EXPECT_TRUE(space_->map(0, kPage, kReadWrite, kAnonymous, nullptr, 0, limits).ok());
  EXPECT_EQ(space_->map(0, kPage, kReadWrite, kAnonymous, nullptr, 0, limits).error(), Errno::NOMEM);
  EXPECT_TRUE(space_->map(0, kPage, kRead, kAnonymous, nullptr, 0, limits).ok());
  EXPECT_EQ(space_->map(0, u64{1} << 40, kReadWrite, kAnonymous, nullptr, 0).error(), Errno::NOMEM);
  EXPECT_TRUE(space_->map(0, u64{1} << 40, kReadWrite, kAnonymous | abi::kMAP_NORESERVE, nullptr, 0).ok());
}

TEST_F(SpaceTest, ProtectSplitsAndJoins) {
  u64 base = map(4 * kPage);
  ASSERT_TRUE(space_->protect(base + kPage, 2 * kPage, kRead).ok());
  EXPECT_EQ(shape(base), "0-1 rw-p, 1-3 r--p, 3-4 rw-p");
  EXPECT_FALSE(can_access(base + kPage, true));
  EXPECT_TRUE(can_access(base + kPage));
  ASSERT_TRUE(space_->protect(base, 4 * kPage, kReadWrite).ok());
  EXPECT_EQ(shape(base), "0-4 rw-p");
  // Up to the hole, then the error.
  ASSERT_TRUE(space_->unmap(base + 2 * kPage, kPage).ok());
  EXPECT_EQ(space_->protect(base, 4 * kPage, kRead).error(), Errno::NOMEM);
  EXPECT_EQ(shape(base), "0-2 r--p, 3-4 rw-p");
}

TEST_F(SpaceTest, SharedAnonymousMemoryIsTheSameInACopy) {
  auto shared = space_->map(0, 2 * kPage, kReadWrite, abi::kMAP_SHARED | abi::kMAP_ANONYMOUS, nullptr, 0);
  ASSERT_TRUE(shared.ok());
  byte(shared.value()) = 5;
  space_->lock_for_fork();
  auto copy = space_->fork_copy_locked(0);
  space_->unlock_for_fork();
  ASSERT_TRUE(copy.ok());
  EXPECT_EQ(copy.value()->totals().size, 2U);
  auto own = space_->word_key(shared.value() + 8, false),
       theirs = copy.value()->word_key(shared.value() + 8, false);
  EXPECT_EQ(own.value(), theirs.value());
  EXPECT_FALSE(space_->word_key(shared.value() + 8, true).value() == theirs.value());
  EXPECT_EQ(space_->word_key(kTop + kPage, false).error(), Errno::FAULT);
}

TEST_F(SpaceTest, MapsFilesInPieces) {
  auto file = open_test_file(file_system_, pattern(5));
  static_cast<TestInode*>(file->inode())->piece_pages = 2;
  auto base = space_->map(0, 4 * kPage, kReadWrite, kPrivate, file, kPage);
  ASSERT_TRUE(base.ok());
  for (u64 i = 0; i < 4; i++) EXPECT_EQ(byte(base.value() + i * kPage), i + 2);
  byte(base.value()) = 99;
  EXPECT_EQ(static_cast<TestInode*>(file->inode())->data()[kPage], std::byte{2});
  auto shared = space_->map(0, 5 * kPage, kReadWrite, abi::kMAP_SHARED, file, 0);
  EXPECT_EQ(space_->classify_fault(shared.value() + 4 * kPage, true, false).signal, 0);
  byte(shared.value() + 4 * kPage) = 77;
  EXPECT_EQ(static_cast<TestInode*>(file->inode())->data()[4 * kPage], std::byte{77});
  EXPECT_EQ(space_->next_mapping(base.value()).value().offset, kPage);
}

// A shared mapping is the host's to read until its first write, with what is left of it and in a fork's
// child.
TEST_F(SpaceTest, NoticesTheFirstWriteToASharedMapping) {
  auto file = open_test_file(file_system_, pattern(8));
  auto& inode = *static_cast<TestInode*>(file->inode());
  u64 base = space_->map(0, 8 * kPage, kReadWrite, abi::kMAP_SHARED, file, 0).value();
  EXPECT_TRUE(can_access(base));
  EXPECT_FALSE(can_access(base, true));
  EXPECT_TRUE(space_->sync(base, 8 * kPage, abi::kMS_SYNC).ok());
  EXPECT_EQ(inode.written, 0);
  // A hole in the middle, and a part that is protected otherwise.
  EXPECT_TRUE(space_->unmap(base + 2 * kPage, kPage).ok());
  EXPECT_TRUE(space_->protect(base + 6 * kPage, kPage, kRead).ok());
  space_->lock_for_fork();
  auto child = space_->fork_copy_locked(0).value();
  space_->unlock_for_fork();
  for (u64 page : {0, 3, 7}) EXPECT_FALSE(can_access(base + page * kPage, true));
  for (u64 page : {0, 3, 7}) {
    EXPECT_EQ(space_->classify_fault(base + page * kPage, true, false).signal, 0);
    EXPECT_TRUE(can_access(base + page * kPage, true));
  }
  EXPECT_EQ(inode.written, 3);
  EXPECT_EQ(space_->classify_fault(base + 6 * kPage, true, false).code, abi::kSEGV_ACCERR);
  // By the kernel itself, which cannot tell the file at once.
  u64 other = space_->map(0, 2 * kPage, kReadWrite, abi::kMAP_SHARED, file, 0).value();
  EXPECT_FALSE(space_->serve_first_write(other - kPage));
  EXPECT_TRUE(space_->serve_first_write(other + kPage));
  EXPECT_TRUE(can_access(other, true));
  EXPECT_TRUE(inode.extras()->written_unseen.load());
  // Pages that move or end under it, before and behind the first write.
  u64 third = space_->map(0, 8 * kPage, kReadWrite, abi::kMAP_SHARED, file, 0).value();
  inode.resize(4 * kPage);
  space_->bring_up_to_date();
  EXPECT_TRUE(can_access(third));
  EXPECT_FALSE(can_access(third, true));
  EXPECT_EQ(space_->classify_fault(third + 3 * kPage, true, false).signal, 0);
  inode.resize(8 * kPage);
  space_->bring_up_to_date();
  for (u64 page : {0, 3, 4, 7}) EXPECT_TRUE(can_access(third + page * kPage, true));
  EXPECT_TRUE(child->next_mapping(base).ok());
}

TEST_F(SpaceTest, ChecksHowTheFileWasOpened) {
  auto readable = open_test_file(file_system_, pattern(1), abi::kO_RDONLY);
  auto writable = open_test_file(file_system_, pattern(1), abi::kO_WRONLY);
  auto map_file = [&](Ref<fs::File> file, int prot, int flags) {
    return space_->map(0, kPage, prot, flags, std::move(file), 0);
  };
  EXPECT_EQ(map_file(writable, kRead, kPrivate).error(), Errno::ACCES);
  EXPECT_EQ(map_file(readable, kReadWrite, abi::kMAP_SHARED).error(), Errno::ACCES);
  EXPECT_TRUE(map_file(readable, kReadWrite, kPrivate).ok());
  auto shared = map_file(readable, kRead, abi::kMAP_SHARED);
  EXPECT_EQ(space_->protect(shared.value(), kPage, kReadWrite).error(), Errno::ACCES);
}

TEST_F(SpaceTest, BeyondTheEndOfAFileIsABusError) {
  auto file = open_test_file(file_system_, pattern(2));
  auto& inode = *static_cast<TestInode*>(file->inode());
  u64 base = space_->map(0, 4 * kPage, kReadWrite, abi::kMAP_SHARED, file, 0).value();
  EXPECT_TRUE(can_access(base + kPage));
  EXPECT_FALSE(can_access(base + 2 * kPage));
  FaultKind fault = space_->classify_fault(base + 2 * kPage, false, false);
  EXPECT_EQ(fault.signal, abi::kSIGBUS);
  EXPECT_EQ(fault.code, abi::kBUS_ADRERR);
  EXPECT_EQ(space_->classify_fault(base - kPage, false, false).code, abi::kSEGV_MAPERR);
  EXPECT_EQ(space_->classify_fault(base, false, true).code, abi::kSEGV_ACCERR);
  // mprotect over both parts.
  EXPECT_TRUE(space_->protect(base, 4 * kPage, kRead).ok());
  EXPECT_TRUE(space_->protect(base, 4 * kPage, kReadWrite).ok());
  // The file grows, then shrinks.
  inode.resize(3 * kPage);
  space_->bring_up_to_date();
  EXPECT_TRUE(can_access(base + 2 * kPage, true));
  inode.resize(kPage);
  space_->bring_up_to_date();
  EXPECT_TRUE(can_access(base));
  EXPECT_FALSE(can_access(base + kPage));
}

TEST_F(SpaceTest, PrivatePagesSurviveGrowth) {
  auto file = open_test_file(file_system_, pattern(1));
  u64 base = space_->map(0, 2 * kPage, kReadWrite, kPrivate, file, 0).value();
  byte(base) = 42;
  static_cast<TestInode*>(file->inode())->resize(2 * kPage);
  EXPECT_EQ(space_->classify_fault(base + kPage, false, false).signal, 0);
  EXPECT_TRUE(can_access(base + kPage));
  space_->bring_up_to_date();
  EXPECT_EQ(byte(base), 42);
}

TEST_F(SpaceTest, RemapGrowsInPlaceMovesAndShrinks) {
  u64 base = map(2 * kPage, kReadWrite, kTop - 100 * kPage);
  byte(base) = 1;
  byte(base + kPage) = 2;
  EXPECT_EQ(space_->remap(base, 2 * kPage, 4 * kPage, 0, 0).value(), base);
  EXPECT_TRUE(can_access(base + 3 * kPage, true));
  map(kPage, kRead, base + 4 * kPage);
  EXPECT_EQ(space_->remap(base, 4 * kPage, 6 * kPage, 0, 0).error(), Errno::NOMEM);
  u64 moved = space_->remap(base, 4 * kPage, 6 * kPage, abi::kMREMAP_MAYMOVE, 0).value();
  EXPECT_NE(moved, base);
  EXPECT_EQ(byte(moved), 1);
  EXPECT_EQ(byte(moved + kPage), 2);
  EXPECT_FALSE(can_access(base));
  EXPECT_EQ(space_->remap(moved, 6 * kPage, kPage, 0, 0).value(), moved);
  EXPECT_FALSE(can_access(moved + kPage));
  int fixed = abi::kMREMAP_MAYMOVE | abi::kMREMAP_FIXED;
  EXPECT_EQ(space_->remap(moved, kPage, kPage, fixed, base).value(), base);
  EXPECT_EQ(byte(base), 1);
}

TEST_F(SpaceTest, RemapRefuses) {
  u64 base = map(2 * kPage);
  auto error = [&](u64 old_length, u64 new_length, int flags, u64 to) {
    return space_->remap(base, old_length, new_length, flags, to).error();
  };
  EXPECT_EQ(error(kPage, 0, 0, 0), Errno::INVAL);
  EXPECT_EQ(error(kPage, kPage, abi::kMREMAP_FIXED, base), Errno::INVAL);
  EXPECT_EQ(error(kPage, kPage, abi::kMREMAP_FIXED | abi::kMREMAP_MAYMOVE, base), Errno::INVAL);
  EXPECT_EQ(error(3 * kPage, 4 * kPage, abi::kMREMAP_MAYMOVE, 0), Errno::FAULT);
  EXPECT_EQ(error(0, kPage, abi::kMREMAP_MAYMOVE, 0), Errno::INVAL);
  EXPECT_EQ(space_->remap(kTop + kPage, kPage, kPage, 0, 0).error(), Errno::FAULT);
}

// Two mappings of the host that are one of ours: the pages are copied.
TEST_F(SpaceTest, RemapMovesWhatTheHostKeepsApart) {
  u64 base = map(4 * kPage, kReadWrite, kTop - 100 * kPage);
  u64 other = map(2 * kPage, kReadWrite, kTop - 200 * kPage);
  byte(base + kPage) = 3;
  byte(other) = 4;
  int fixed = abi::kMREMAP_MAYMOVE | abi::kMREMAP_FIXED;
  ASSERT_TRUE(space_->remap(other, kPage, kPage, fixed, base + 2 * kPage).ok());
  u64 moved = space_->remap(base, 4 * kPage, 5 * kPage, fixed, kTop - 300 * kPage).value();
  EXPECT_EQ(byte(moved + kPage), 3);
  EXPECT_EQ(byte(moved + 2 * kPage), 4);
  EXPECT_TRUE(can_access(moved + 4 * kPage, true));
  EXPECT_FALSE(can_access(base));
}

TEST_F(SpaceTest, RemapOfFilesKeepsPrivatePagesAndTakesTheFilesOwn) {
  auto file = open_test_file(file_system_, pattern(4));
  u64 base = space_->map(0, 2 * kPage, kReadWrite, kPrivate, file, 0).value();
  byte(base) = 50;
  u64 moved = space_->remap(base, 2 * kPage, 4 * kPage, abi::kMREMAP_MAYMOVE, 0).value();
  EXPECT_EQ(byte(moved), 50);
  EXPECT_EQ(byte(moved + kPage), 2);
  EXPECT_EQ(byte(moved + 2 * kPage), 3);
  // A second mapping of shared pages.
  u64 shared = space_->map(0, kPage, kReadWrite, abi::kMAP_SHARED, file, kPage).value();
  u64 twin = space_->remap(shared, 0, kPage, abi::kMREMAP_MAYMOVE, 0).value();
  EXPECT_NE(twin, shared);
  EXPECT_EQ(space_->classify_fault(twin, true, false).signal, 0);
  byte(twin) = 60;
  EXPECT_EQ(byte(shared), 60);
}

TEST_F(SpaceTest, BreakGrowsAndShrinks) {
  constexpr u64 kStart = 0x7100'0000'0000;
  EXPECT_EQ(space_->brk(0), 0U);
  space_->set_brk_start(kStart);
  EXPECT_EQ(space_->brk(0), kStart);
  EXPECT_EQ(space_->brk(kStart + 100), kStart + 100);
  byte(kStart + 99) = 1;
  EXPECT_EQ(space_->brk(kStart + 3 * kPage), kStart + 3 * kPage);
  EXPECT_STREQ(space_->next_mapping(kStart).value().name, "[heap]");
  EXPECT_EQ(space_->brk(kStart + kPage), kStart + kPage);
  EXPECT_FALSE(can_access(kStart + kPage));
  map(kPage, kRead, kStart + 4 * kPage, kFixed);
  EXPECT_EQ(space_->brk(kStart + 4 * kPage), kStart + kPage);  // something is in the way
  Limits limits;
  limits.data = kPage;
  EXPECT_EQ(space_->brk(kStart + 2 * kPage, limits), kStart + kPage);
}

TEST_F(SpaceTest, Advice) {
  u64 base = map(4 * kPage);
  byte(base) = 1;
  EXPECT_TRUE(space_->advise(base, 4 * kPage, abi::kMADV_DONTNEED).ok());
  EXPECT_EQ(byte(base), 0);
  EXPECT_TRUE(space_->advise(base, kPage, abi::kMADV_DONTFORK).ok());
  space_->lock_for_fork();
  auto copy = space_->fork_copy_locked(0);
  space_->unlock_for_fork();
  EXPECT_EQ(copy.value()->totals().size, 3U);
  EXPECT_TRUE(space_->advise(base, kPage, abi::kMADV_DOFORK).ok());
  EXPECT_EQ(shape(base), "0-4 rw-p");
  EXPECT_EQ(space_->advise(base, kPage, 12345).error(), Errno::INVAL);
  EXPECT_EQ(space_->advise(base + 1, kPage, 0).error(), Errno::INVAL);
  EXPECT_EQ(space_->advise(base - kPage, 2 * kPage, abi::kMADV_DONTNEED).error(), Errno::NOMEM);
  EXPECT_EQ(space_->advise(base, kPage, abi::kMADV_REMOVE).error(), Errno::INVAL);
  u64 shared = space_->map(0, kPage, kReadWrite, abi::kMAP_SHARED | abi::kMAP_ANONYMOUS, nullptr, 0).value();
  byte(shared) = 1;
  EXPECT_TRUE(space_->advise(shared, kPage, abi::kMADV_DONTNEED).ok());
  EXPECT_EQ(byte(shared), 1);
  EXPECT_TRUE(space_->advise(shared, kPage, abi::kMADV_REMOVE).ok());
  EXPECT_EQ(byte(shared), 0);
}

TEST_F(SpaceTest, LockedMemoryIsCountedAndLimited) {
  u64 base = map(4 * kPage);
  Limits limits;
  limits.locked = 2 * kPage;
  EXPECT_TRUE(space_->lock_memory(base + 1, kPage, true, limits).ok());
  EXPECT_EQ(space_->totals().locked, 2U);
  EXPECT_EQ(space_->lock_memory(base, 4 * kPage, true, limits).error(), Errno::NOMEM);
  EXPECT_EQ(space_->advise(base, kPage, abi::kMADV_DONTNEED).error(), Errno::INVAL);
  EXPECT_TRUE(space_->unlock_all().ok());
  EXPECT_EQ(space_->totals().locked, 0U);
  EXPECT_EQ(shape(base), "0-4 rw-p");
  limits.locked = 0;
  EXPECT_EQ(space_->lock_memory(base, kPage, true, limits).error(), Errno::PERM);
}

TEST_F(SpaceTest, ResidentPagesAndHoles) {
  u64 base = map(2 * kPage);
  u8 pages[3] = {};
  EXPECT_TRUE(space_->resident(base, {pages, 2}).ok());
  EXPECT_EQ(pages[0] + pages[1], 2);
  EXPECT_EQ(space_->resident(base, {pages, 3}).error(), Errno::NOMEM);
}

TEST_F(SpaceTest, StackSlotsAreReusedAndGuarded) {
  u32 first = space_->allocate_stack_slot().value(), second = space_->allocate_stack_slot().value();
  EXPECT_NE(first, second);
  u64 top = AddressSpace::stack_top(first);
  EXPECT_TRUE(can_access(top - 8, true));
  EXPECT_TRUE(can_access(top - kKernelStackSize, true));
  EXPECT_FALSE(can_access(top - kKernelStackSize - 8));
  EXPECT_FALSE(can_access(top));
  EXPECT_TRUE(can_access(AddressSpace::signal_stack(first), true));
  space_->release_stack_slot(first);
  EXPECT_EQ(space_->allocate_stack_slot().value(), first);
}

}  // namespace

}  // namespace teacup::mm
