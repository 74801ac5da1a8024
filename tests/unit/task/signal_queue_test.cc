#include <gtest/gtest.h>

#include "kernel/task/signal_state.h"
#include "tests/unit/support/machine.h"

namespace teacup {
namespace {

class SignalQueueTest : public testing::Test {
 protected:
  static abi::SigInfo info(int signal, int value = 0, int code = abi::kSI_QUEUE) {
    abi::SigInfo result{};
    result.signo = signal;
    result.code = code;
    result.rt.value.int_value = value;
    return result;
  }
  int take(abi::SigSet allowed = ~abi::SigSet{0}) {
    taken_ = {};
    return queue_.take(allowed, &taken_);
  }

  TestMachine machine_;
  SignalQueue queue_;
  abi::SigInfo taken_{};
};

TEST_F(SignalQueueTest, StandardSignalIsQueuedOnce) {
  EXPECT_TRUE(queue_.add(info(abi::kSIGUSR1, 1), 100));
  EXPECT_TRUE(queue_.add(info(abi::kSIGUSR1, 2), 100));
  EXPECT_EQ(take(), abi::kSIGUSR1);
  EXPECT_EQ(taken_.rt.value.int_value, 1);
  EXPECT_EQ(take(), 0);
}

TEST_F(SignalQueueTest, RealTimeSignalsKeepOrderAndCount) {
  for (int i = 0; i < 3; i++) EXPECT_TRUE(queue_.add(info(40, i), 100));
  EXPECT_TRUE(queue_.add(info(35, 9), 100));
  EXPECT_EQ(take(), 35);  // the lowest number first
  for (int i = 0; i < 3; i++) {
    EXPECT_TRUE(queue_.has(40));
    EXPECT_EQ(take(), 40);
    EXPECT_EQ(taken_.rt.value.int_value, i);
  }
  EXPECT_EQ(queue_.pending(), 0u);
}

TEST_F(SignalQueueTest, SynchronousSignalsComeFirst) {
  queue_.add(info(abi::kSIGHUP), 100);
  queue_.add(info(abi::kSIGSEGV), 100);
  EXPECT_EQ(take(), abi::kSIGSEGV);
  EXPECT_EQ(take(), abi::kSIGHUP);
}

TEST_F(SignalQueueTest, BlockedSignalsStay) {
  queue_.add(info(abi::kSIGINT), 100);
  EXPECT_EQ(take(~abi::signal_bit(abi::kSIGINT)), 0);
  EXPECT_EQ(take(), abi::kSIGINT);
}

TEST_F(SignalQueueTest, AtTheLimitOnlyDetailsAreLost) {
  EXPECT_TRUE(queue_.add(info(40, 1), 1));
  EXPECT_FALSE(queue_.add(info(40, 2), 1));                // sigqueue(3): EAGAIN
  EXPECT_TRUE(queue_.add(info(41, 3, abi::kSI_USER), 1));  // kill(2) never fails so
  EXPECT_TRUE(queue_.add(info(abi::kSIGTERM, 0, abi::kSI_USER), 1));
  EXPECT_EQ(take(), abi::kSIGTERM);
  EXPECT_EQ(taken_.code, abi::kSI_USER);
  EXPECT_EQ(take(), 40);
  EXPECT_EQ(take(), 41);
  EXPECT_EQ(take(), 0);
}

TEST_F(SignalQueueTest, DiscardAndRemove) {
  queue_.add(info(40, 1), 100);
  queue_.add(info(abi::kSIGCONT), 100);
  QueuedSignal own;
  own.info = info(40, 2);
  own.on_taken = [](QueuedSignal& entry) { entry.info.rt.value.int_value = 77; };
  queue_.add(own);
  queue_.discard(abi::signal_bit(abi::kSIGCONT));
  EXPECT_FALSE(queue_.has(abi::kSIGCONT));
  EXPECT_EQ(take(), 40);
  EXPECT_TRUE(queue_.has(40));
  EXPECT_EQ(take(), 40);
  EXPECT_EQ(taken_.rt.value.int_value, 77);
  queue_.add(own);
  queue_.remove(own);
  EXPECT_EQ(queue_.pending(), 0u);
  EXPECT_EQ(queue_.length(), 0u);
}

}  // namespace
}  // namespace teacup
