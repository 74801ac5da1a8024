#include "kernel/time/timer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "kernel/abi/events.h"
#include "kernel/base/arena_header.h"
#include "tests/unit/support/machine.h"

namespace teacup {
namespace {

class RecordingTimer : public Timer {
 public:
  explicit RecordingTimer(std::vector<int>* log, int id) : log_(log), id_(id) {}
  u64 again = 0;  // re-arms itself so much later, once

 protected:
  void expired(u64 now) override {
    log_->push_back(id_);
    if (again != 0) arm(now + std::exchange(again, 0));
  }

 private:
  std::vector<int>* log_;
  int id_;
};

class TimerTest : public testing::Test {
 protected:
  TimerTest() {
    auto* events = make<abi::Events>().value_or(nullptr);
    arena().events_offset = reinterpret_cast<u64>(events) - kArenaBase;
    timers_start();
  }
  Ref<RecordingTimer> timer(int id) { return make_ref<RecordingTimer>(&log_, id).value_or(nullptr); }

  TestMachine machine_;
  std::vector<int> log_;
};

TEST_F(TimerTest, RunsInOrderOfDeadlines) {
  auto a = timer(1), b = timer(2), c = timer(3);
  a->arm(300);
  b->arm(100);
  c->arm(200);
  EXPECT_EQ(timers_run(50), 100u);
  EXPECT_EQ(timers_run(250), 300u);
  EXPECT_EQ(log_, (std::vector<int>{2, 3}));
  EXPECT_EQ(timers_run(1000), kNoDeadline);
  EXPECT_EQ(log_, (std::vector<int>{2, 3, 1}));
}

TEST_F(TimerTest, CancelAndRearm) {
  auto a = timer(1), b = timer(2);
  a->arm(100);
  b->arm(100);
  a->cancel();
  EXPECT_EQ(a->deadline(), kNoDeadline);
  b->arm(500);
  EXPECT_EQ(timers_run(200), 500u);
  EXPECT_TRUE(log_.empty());
  b->again = 100;
  EXPECT_EQ(timers_run(500), 600u);
  EXPECT_EQ(timers_run(600), kNoDeadline);
  EXPECT_EQ(log_, (std::vector<int>{2, 2}));
}

TEST_F(TimerTest, TheQueueKeepsAnArmedTimer) {
  auto a = timer(1);
  a->arm(10);
  a = nullptr;
  timers_run(10);
  EXPECT_EQ(log_, std::vector<int>{1});
}

TEST_F(TimerTest, ManyInAnyOrder) {
  std::mt19937 random(7);
  std::vector<Ref<RecordingTimer>> timers;
  std::vector<std::pair<u64, int>> expected;
  for (int i = 0; i < 500; i++) timers.push_back(timer(i));
  std::vector<u64> deadlines(500, kNoDeadline);
  for (int step = 0; step < 3000; step++) {
    size_t i = random() % 500;
    if (random() % 4 == 0) {
      timers[i]->cancel();
      deadlines[i] = kNoDeadline;
    } else {
      deadlines[i] = 1 + random() % 100000;
      timers[i]->arm(deadlines[i]);
    }
  }
  for (int i = 0; i < 500; i++) {
    if (deadlines[static_cast<size_t>(i)] != kNoDeadline)
      expected.push_back({deadlines[static_cast<size_t>(i)], i});
  }
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(timers_run(1'000'000), kNoDeadline);
  ASSERT_EQ(log_.size(), expected.size());
  for (size_t i = 0; i < log_.size(); i++) {
    EXPECT_EQ(deadlines[static_cast<size_t>(log_[i])], expected[i].first);
  }
}

}  // namespace
}  // namespace teacup
