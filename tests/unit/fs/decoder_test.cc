// Jobs for the decoder, done by it and by who wants them.
#include "fs/decoder.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <fstream>
#include <optional>
#include <thread>
#include <vector>

#include "fs/image.h"
#include "tests/unit/fs/fs_machine.h"

namespace teacup::fs {
namespace {

// Of each file every byte is its number and the page's; page kBad cannot be had.
class CountingImage final : public Image {
 public:
  static constexpr u64 kBad = 5;
  Result<ImageNode> root() override { return Errno::NOENT; }
  Result<ImageNode> node(u64) override { return Errno::NOENT; }
  Result<u64> lookup(u64, std::string_view) override { return Errno::NOENT; }
  Result<void> read_directory(u64, ImageDirSink&, u64&) override { return {}; }
  Result<ImageSpan> data(u64, u64) override { return Errno::IO; }
  Result<size_t> readlink(u64, std::span<char>) override { return Errno::INVAL; }
  u64 node_limit() const override { return 100; }
  Result<size_t> fetch(u64 node, u64 offset, std::span<std::byte> into) override {
    fetched++;
    if (offset == kBad * kPageSize) return Errno::IO;
    std::fill(into.begin(), into.end(), byte_of(node, offset));
    return into.size();
  }
  static std::byte byte_of(u64 node, u64 offset) {
    return static_cast<std::byte>(node * 16 + offset / kPageSize);
  }

  std::atomic<int> fetched{0};
};

class DecoderTest : public testing::Test {
 protected:
  static constexpr u64 kJobs = 8;
  struct File {
    std::array<std::byte, 64> bytes[kJobs] = {};
    DecodeJob jobs[kJobs];
  };
  void post(File& file, u64 number) {
    for (u64 i = 0; i < kJobs; i++) {
      DecodeJob& job = file.jobs[i];
      job.image = &image_;
      job.inode = number;
      job.offset = i * kPageSize;
      job.into = file.bytes[i];
      decoder_.post(job);
    }
  }
  void finish(File& file, u64 number) {
    for (u64 i = 0; i < kJobs; i++) {
      auto done = decoder_.finish(file.jobs[i]);
      ASSERT_EQ(done.ok(), i != CountingImage::kBad) << number << " " << i;
      for (std::byte byte : file.bytes[i])
        ASSERT_EQ(byte,
                  i == CountingImage::kBad ? std::byte{} : CountingImage::byte_of(number, i * kPageSize));
    }
  }

  TestMachine machine_;
  CountingImage image_;
  Decoder decoder_;
};

TEST_F(DecoderTest, WhoWantsItDoesItHimself) {
  auto file = std::make_unique<File>();
  post(*file, 1);
  finish(*file, 1);
  EXPECT_EQ(image_.fetched, static_cast<int>(kJobs));
  EXPECT_FALSE(decoder_.serve_one());
}

TEST_F(DecoderTest, WhatIsGivenUpIsNotDone) {
  auto file = std::make_unique<File>();
  post(*file, 1);
  EXPECT_TRUE(decoder_.serve_one());
  for (DecodeJob& job : file->jobs) decoder_.give_up(job);
  EXPECT_EQ(image_.fetched, 1);
  EXPECT_FALSE(decoder_.serve_one());
}

TEST_F(DecoderTest, AllIsDoneOnce) {
  std::atomic<bool> ended{false};
  std::thread server([&] {
    while (!ended.load()) {
      if (!decoder_.serve_one()) std::this_thread::yield();
    }
  });
  for (int round = 0; round < 2000; round++) {
    image_.fetched = 0;
    auto first = std::make_unique<File>();
    auto second = std::make_unique<File>();
    post(*first, 1);
    post(*second, 2);
    if (round % 3 == 0) {
      for (DecodeJob& job : first->jobs) decoder_.give_up(job);
    } else {
      finish(*first, 1);
    }
    finish(*second, 2);
    if (round % 3 != 0) {
      ASSERT_EQ(image_.fetched, static_cast<int>(2 * kJobs));
    }
  }
  ended.store(true);
  server.join();
}

int asked = 0;

TEST_F(DecoderTest, IsAskedForOnceAndAgainWhenItEnded) {
  arena().usable_cpus = 2;
  EXPECT_FALSE(decoder_.is_useful());  // nobody to ask
  asked = 0;
  decoder_.start([] { asked++; });
  EXPECT_FALSE(decoder_.wanted());
  EXPECT_TRUE(decoder_.is_useful());
  EXPECT_TRUE(decoder_.is_useful());
  EXPECT_EQ(asked, 1);
  EXPECT_TRUE(decoder_.wanted());
  EXPECT_FALSE(decoder_.wanted());
  EXPECT_FALSE(decoder_.is_useful());  // the host gave none
  decoder_.spawned(1234);
  EXPECT_TRUE(decoder_.is_useful());
  EXPECT_TRUE(decoder_.host_process_ended(99));
  EXPECT_TRUE(decoder_.host_process_ended(1234));
  EXPECT_TRUE(decoder_.is_useful());
  EXPECT_EQ(asked, 2);
  arena().usable_cpus = 1;
  EXPECT_FALSE(decoder_.is_useful());
}

// A large file, read in order while a decoder works ahead, or none.
class ErofsAhead : public testing::Test {
 protected:
  static constexpr u64 kStep = 100'000;

  static void SetUpTestSuite() {
    HostDirectory tree;
    auto* numbers = new std::string;
    for (u64 i = 0; i < 1'000'000; i++) *numbers += std::to_string(i * 7919) + "\n";
    std::ofstream(tree.path() + "/numbers") << *numbers;
    numbers_ = numbers;
    image_ = new std::vector<char>(make_erofs(tree.path(), "-zlz4hc -C65536"));
  }
  static void TearDownTestSuite() {
    delete numbers_;
    delete image_;
  }

  void start(const std::vector<char>& image) {
    machine_.emplace(image);
    ASSERT_TRUE(machine_->started);
    arena().usable_cpus = 2;
    decoder()->start([] {});
  }
  void serve() {
    server_ = std::thread([this] {
      while (!ended_.load()) {
        if (!decoder()->serve_one()) std::this_thread::yield();
      }
    });
  }
  void TearDown() override {
    ended_.store(true);
    if (server_.joinable()) server_.join();
  }
  Ref<File> open() {
    auto opened = machine_->open("/numbers", abi::kO_RDWR);
    EXPECT_TRUE(opened.ok());
    return std::move(opened).value();
  }

  static const std::string* numbers_;
  static const std::vector<char>* image_;
  std::optional<FsMachine> machine_;
  std::atomic<bool> ended_{false};
  std::thread server_;
};
const std::string* ErofsAhead::numbers_;
const std::vector<char>* ErofsAhead::image_;

TEST_F(ErofsAhead, ReadsOnByItself) {
  start(*image_);
  Ref<File> file = open();
  for (u64 at = 0; at < numbers_->size(); at += kStep)
    ASSERT_EQ(read_all(*file, at, kStep), numbers_->substr(at, kStep)) << at;
}

TEST_F(ErofsAhead, ReadsOnWhileChangesCome) {
  start(*image_);
  serve();
  Ref<File> file = open();
  std::string expected = *numbers_;
  for (u64 at = 0; at < expected.size(); at += kStep) {
    if (at % (10 * kStep) == 0 && at + 1'500'000 < expected.size()) {
      (void)write_all(*file, at + 1'400'000, "written");
      expected.replace(at + 1'400'000, 7, "written");
    }
    ASSERT_EQ(read_all(*file, at, kStep), expected.substr(at, kStep)) << at;
  }
}

// Up to the damage all is right, there it is an error, and so it is again; behind it all is right.
TEST_F(ErofsAhead, MeetsDamageWhereItIs) {
  std::vector<char> bad = *image_;
  const auto middle = bad.begin() + static_cast<long>(bad.size() / 2);
  std::fill(middle, middle + 65536, '\xff');
  start(bad);
  serve();
  Ref<File> file = open();
  const std::string damaged = std::string("error ") + errno_name(Errno::UCLEAN);
  u64 at = 0;
  for (; at < numbers_->size(); at += kStep) {
    const std::string text = read_all(*file, at, kStep);
    if (text == damaged) break;
    ASSERT_EQ(text, numbers_->substr(at, text.size())) << at;
    if (text.size() < kStep) at -= kStep - text.size();
  }
  EXPECT_GT(at, numbers_->size() / 4);
  ASSERT_LT(at, numbers_->size() * 3 / 4);
  EXPECT_EQ(read_all(*file, at, kStep), damaged);
  for (at = numbers_->size() * 7 / 8; at < numbers_->size(); at += kStep)
    ASSERT_EQ(read_all(*file, at, kStep), numbers_->substr(at, kStep)) << at;
}

}  // namespace
}  // namespace teacup::fs
