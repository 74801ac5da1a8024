// epoll(7) over files whose readiness the tests hold in hand.
#include "fs/epoll.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "kernel/abi/ipc.h"
#include "tests/unit/support/machine.h"

namespace teacup::fs {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class FakeFile final : public File {
 public:
  FakeFile() : File(abi::kO_RDWR) {}
  u32 poll() override { return ready; }
  WaitQueue* wait_queue() override { return &queue; }
  void become(u32 events) {
    ready = events;
    queue.wake(events);
  }
  u32 ready = 0;
  WaitQueue queue;
};

class EpollTest : public testing::Test {
 protected:
  EpollTest() {
    epoll_start();
    file_ = make_ref<FakeFile>().value();
    instance_ = make_epoll().value();
  }
  Epoll& epoll() { return *epoll_of(*instance_); }
  Result<void> add(File& file, u32 events, u64 data = 0, s32 fd = 7) {
    return epoll_add(epoll(), file, Fd{fd}, {events, data});
  }
  // data of what is ready.
  std::vector<u64> collect(size_t most = 16) {
    std::vector<abi::EpollEvent> events(most);
    auto count = epoll_collect(epoll(), events);
    std::vector<u64> data;
    for (size_t i = 0; i < count.value_or(0); i++) data.push_back(events[i].data);
    return data;
  }

  TestMachine machine_;
  Ref<FakeFile> file_;
  Ref<File> instance_;
};

TEST_F(EpollTest, LevelTriggeredIsToldAgainAndAgain) {
  ASSERT_TRUE(add(*file_, abi::kEPOLLIN, 5).ok());
  EXPECT_THAT(collect(), IsEmpty());
  file_->become(abi::kPOLLIN);
  EXPECT_THAT(collect(), ElementsAre(5));
  EXPECT_THAT(collect(), ElementsAre(5));
  file_->ready = 0;
  EXPECT_THAT(collect(), IsEmpty());
}

TEST_F(EpollTest, EdgeTriggeredIsToldOnceAnEvent) {
  ASSERT_TRUE(add(*file_, abi::kEPOLLIN | abi::kEPOLLET, 5).ok());
  file_->become(abi::kPOLLIN);
  EXPECT_THAT(collect(), ElementsAre(5));
  EXPECT_THAT(collect(), IsEmpty());
  file_->become(abi::kPOLLIN);
  EXPECT_THAT(collect(), ElementsAre(5));
}

TEST_F(EpollTest, OneShotWaitsToBeArmed) {
  ASSERT_TRUE(add(*file_, abi::kEPOLLIN | abi::kEPOLLONESHOT, 5).ok());
  file_->become(abi::kPOLLIN);
  EXPECT_THAT(collect(), ElementsAre(5));
  file_->become(abi::kPOLLIN | abi::kPOLLHUP);
  EXPECT_THAT(collect(), IsEmpty());
  ASSERT_TRUE(epoll_modify(epoll(), *file_, Fd{7}, {abi::kEPOLLIN, 6}).ok());
  EXPECT_THAT(collect(), ElementsAre(6));
}

TEST_F(EpollTest, ErrorsAreToldUnasked) {
  ASSERT_TRUE(add(*file_, 0, 5).ok());
  file_->become(abi::kPOLLIN);
  EXPECT_THAT(collect(), IsEmpty());
  file_->become(abi::kPOLLERR);
  EXPECT_THAT(collect(), ElementsAre(5));
}

TEST_F(EpollTest, OneFileByTwoDescriptors) {
  ASSERT_TRUE(add(*file_, abi::kEPOLLIN, 1, 7).ok());
  EXPECT_TRUE(add(*file_, abi::kEPOLLIN, 1, 7).is(Errno::EXIST));
  ASSERT_TRUE(add(*file_, abi::kEPOLLIN, 2, 8).ok());
  file_->become(abi::kPOLLIN);
  EXPECT_THAT(collect(), UnorderedElementsAre(1, 2));
  ASSERT_TRUE(epoll_remove(epoll(), *file_, Fd{7}).ok());
  EXPECT_TRUE(epoll_remove(epoll(), *file_, Fd{7}).is(Errno::NOENT));
  EXPECT_THAT(collect(), ElementsAre(2));
}

TEST_F(EpollTest, AFileThatEndsIsForgotten) {
  ASSERT_TRUE(add(*file_, abi::kEPOLLIN).ok());
  file_->become(abi::kPOLLIN);
  file_ = nullptr;
  EXPECT_THAT(collect(), IsEmpty());
}

TEST_F(EpollTest, EndsBeforeItsFiles) {
  ASSERT_TRUE(add(*file_, abi::kEPOLLIN).ok());
  instance_ = nullptr;
  EXPECT_TRUE(file_->queue.empty());
  file_->become(abi::kPOLLIN);
}

TEST_F(EpollTest, WatchesAnotherEpoll) {
  Ref<File> outer = make_epoll().value();
  ASSERT_TRUE(add(*file_, abi::kEPOLLIN).ok());
  ASSERT_TRUE(epoll_add(*epoll_of(*outer), *instance_, Fd{3}, {abi::kEPOLLIN, 9}).ok());
  EXPECT_EQ(outer->poll(), 0U);
  file_->become(abi::kPOLLIN);
  EXPECT_NE(outer->poll() & abi::kPOLLIN, 0U);
  file_->ready = 0;
  EXPECT_EQ(outer->poll(), 0U);
}

TEST_F(EpollTest, RefusesLoopsAndTooLongChains) {
  EXPECT_TRUE(add(*instance_, abi::kEPOLLIN).is(Errno::INVAL));
  std::vector<Ref<File>> chain{instance_};
  for (int i = 1; i < 5; i++) {
    chain.push_back(make_epoll().value());
    ASSERT_TRUE(
        epoll_add(*epoll_of(*chain.back()), *chain[static_cast<size_t>(i) - 1], Fd{i}, {abi::kEPOLLIN, 0})
            .ok());
  }
  EXPECT_TRUE(add(*chain.back(), abi::kEPOLLIN).is(Errno::LOOP));
  Ref<File> one_more = make_epoll().value();
  EXPECT_TRUE(epoll_add(*epoll_of(*one_more), *chain.back(), Fd{9}, {abi::kEPOLLIN, 0}).is(Errno::LOOP));
}

TEST_F(EpollTest, HoldsManyFilesAndSharesThemFairly) {
  std::vector<Ref<FakeFile>> files;
  for (s32 i = 0; i < 100; i++) {
    files.push_back(make_ref<FakeFile>().value());
    ASSERT_TRUE(add(*files.back(), abi::kEPOLLIN, static_cast<u64>(i), 100 + i).ok());
    files.back()->become(abi::kPOLLIN);
  }
  std::vector<u64> seen;
  for (int i = 0; i < 4; i++) {
    for (u64 data : collect(25)) seen.push_back(data);
  }
  std::sort(seen.begin(), seen.end());
  ASSERT_EQ(seen.size(), 100U);
  for (u64 i = 0; i < 100; i++) EXPECT_EQ(seen[i], i);
}

}  // namespace
}  // namespace teacup::fs
