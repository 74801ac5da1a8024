// Record locks and flock.
#include <gtest/gtest.h>

#include "fs/file_locks.h"
#include "fs/vfs_state.h"
#include "tests/unit/support/machine.h"

namespace teacup::fs {
namespace {

class LocksTest : public testing::Test {
 protected:
  LocksTest() { set_root(Root::kVfs, make<VfsState>().value()); }
  RecordLock lock(int owner, u64 start, u64 end, bool write) {
    return {start, end, write, &owners_[owner], owner};
  }
  bool blocked(const RecordLock& wanted) {
    RecordLock found;
    return locks_.find_conflict(wanted, found);
  }

  TestMachine machine_;
  FileLocks locks_;
  char owners_[4];
};

TEST_F(LocksTest, ReadersShareAndWritersDoNot) {
  ASSERT_TRUE(locks_.set(lock(0, 0, 10, false)).ok());
  ASSERT_TRUE(locks_.set(lock(1, 5, 15, false)).ok());
  EXPECT_TRUE(locks_.set(lock(2, 9, 10, true)).is(Errno::AGAIN));
  EXPECT_TRUE(locks_.set(lock(2, 15, 20, true)).ok());
  EXPECT_TRUE(locks_.set(lock(0, 0, 10, true)).is(Errno::AGAIN));
}

TEST_F(LocksTest, AnOwnersRangesAreCutAndJoined) {
  ASSERT_TRUE(locks_.set(lock(0, 0, 100, true)).ok());
  ASSERT_TRUE(locks_.clear(&owners_[0], 40, 60).ok());
  EXPECT_TRUE(blocked(lock(1, 39, 40, true)));
  EXPECT_FALSE(blocked(lock(1, 40, 60, true)));
  EXPECT_TRUE(blocked(lock(1, 60, 61, true)));
  ASSERT_TRUE(locks_.set(lock(0, 40, 60, true)).ok());
  RecordLock found;
  ASSERT_TRUE(locks_.find_conflict(lock(1, 50, 51, true), found));
  EXPECT_EQ(found.start, 0u);
  EXPECT_EQ(found.end, 100u);
  ASSERT_TRUE(locks_.set(lock(0, 10, 20, false)).ok());
  EXPECT_FALSE(blocked(lock(1, 10, 20, false)));
  EXPECT_TRUE(blocked(lock(1, 9, 11, false)));
  locks_.release_owner(&owners_[0]);
  EXPECT_FALSE(blocked(lock(1, 0, ~u64{0}, true)));
}

TEST_F(LocksTest, WhoClosesACircleIsTold) {
  FileLocks elsewhere;
  RecordWait waits[3];
  ASSERT_TRUE(locks_.set(lock(0, 0, 1, true)).ok());
  ASSERT_TRUE(locks_.set(lock(1, 1, 2, true)).ok());
  ASSERT_TRUE(elsewhere.set(lock(2, 0, 1, true)).ok());
  EXPECT_TRUE(locks_.set(lock(1, 0, 1, true), &waits[1]).is(Errno::AGAIN));
  EXPECT_TRUE(locks_.set(lock(2, 1, 2, true), &waits[2]).is(Errno::AGAIN));
  EXPECT_TRUE(elsewhere.set(lock(0, 0, 1, true), &waits[0]).is(Errno::DEADLK));
  EXPECT_TRUE(elsewhere.set(lock(0, 0, 1, true)).is(Errno::AGAIN));
  waits[1].end();
  EXPECT_TRUE(elsewhere.set(lock(0, 0, 1, true), &waits[0]).is(Errno::AGAIN));
  EXPECT_TRUE(locks_.set(lock(1, 0, 1, true), &waits[1]).is(Errno::DEADLK));
  for (RecordWait& wait : waits) wait.end();
}

TEST_F(LocksTest, AWaitIsForgottenWhenTheLocksChange) {
  RecordWait waits[2];
  ASSERT_TRUE(locks_.set(lock(0, 0, 1, true)).ok());
  ASSERT_TRUE(locks_.set(lock(1, 1, 2, true)).ok());
  EXPECT_TRUE(locks_.set(lock(1, 0, 1, true), &waits[1]).is(Errno::AGAIN));
  // Free now, though the waiter has not run yet.
  ASSERT_TRUE(locks_.clear(&owners_[0], 0, 1).ok());
  EXPECT_TRUE(locks_.set(lock(0, 1, 2, true), &waits[0]).is(Errno::AGAIN));
  EXPECT_TRUE(locks_.set(lock(1, 0, 1, true), &waits[1]).ok());
  for (RecordWait& wait : waits) wait.end();
}

}  // namespace
}  // namespace teacup::fs
