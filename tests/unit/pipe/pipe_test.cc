// The ring behind pipes and FIFOs (pipe(7)).
#include "fs/pipe.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>

#include "tests/unit/support/machine.h"

namespace teacup::fs {
namespace {

class PipeTest : public testing::Test {
 protected:
  PipeTest() {
    pipes_start();
    pipe_ = Pipe::create().value();
    pipe_->add_end(true, true);
  }

  // Bytes written, or the error.
  Result<size_t> write(std::string_view text, bool packet = false) {
    IoSource from(std::as_bytes(std::span(text)));
    return pipe_->write(from, packet);
  }
  std::optional<std::string> read(size_t size) {
    std::string text(size, '\0');
    IoDest to(std::as_writable_bytes(std::span(text)));
    auto result = pipe_->read(to);
    if (!result.ok()) return std::nullopt;
    text.resize(result.value());
    return text;
  }
  std::string pattern(size_t size, char first = 'a') {
    std::string text(size, '\0');
    for (size_t i = 0; i < size; i++) text[i] = static_cast<char>(first + i % 23);
    return text;
  }

  TestMachine machine_;
  Ref<Pipe> pipe_;
};

TEST_F(PipeTest, BytesComeOutInOrder) {
  EXPECT_EQ(write("hello ").value(), 6U);
  EXPECT_EQ(write("world").value(), 5U);
  EXPECT_EQ(pipe_->available(), 11U);
  EXPECT_EQ(read(8), "hello wo");
  EXPECT_EQ(read(8), "rld");
  EXPECT_EQ(read(8), std::nullopt);
}

TEST_F(PipeTest, TakesItsCapacityAndNoMore) {
  EXPECT_EQ(write(pattern(100'000)).value(), kDefaultPipeSize);
  EXPECT_TRUE(write("x").is(Errno::AGAIN));
  EXPECT_EQ(read(100'000), pattern(kDefaultPipeSize));
}

TEST_F(PipeTest, SmallWritesAreAllOrNothing) {
  EXPECT_EQ(write(pattern(kDefaultPipeSize - 100)).value(), kDefaultPipeSize - 100);
  EXPECT_TRUE(write(pattern(101)).is(Errno::AGAIN));
  EXPECT_TRUE(write(pattern(kPipeBuf)).is(Errno::AGAIN));
  EXPECT_EQ(write(pattern(kPipeBuf + 1)).value(), 100U);
}

TEST_F(PipeTest, WrapsAround) {
  std::string expected, seen;
  EXPECT_EQ(write("x").value(), 1U);
  for (int i = 0; i < 300; i++) {
    std::string piece = pattern(3001, static_cast<char>('A' + i % 10));
    ASSERT_EQ(write(piece).value(), piece.size());
    expected += piece;
    seen += read(2999).value();
    if (pipe_->available() > 30'000) seen += read(30'000).value();
  }
  seen += read(kDefaultPipeSize).value();
  EXPECT_EQ(seen, "x" + expected);
}

TEST_F(PipeTest, TellsTheEndAndTheBrokenPipe) {
  pipe_->drop_end(false, true);
  EXPECT_EQ(read(1), "");
  pipe_->add_end(false, true);
  pipe_->drop_end(true, false);
  EXPECT_TRUE(write("x").is(Errno::PIPE));
}

TEST_F(PipeTest, PacketsKeepTheirBoundaries) {
  write("plain").value();
  write("one", true).value();
  write("two", true).value();
  write("rest").value();
  EXPECT_EQ(read(100), "plain");
  EXPECT_EQ(read(2), "on");  // the e is dropped
  EXPECT_EQ(read(100), "two");
  EXPECT_EQ(read(100), "rest");
  EXPECT_EQ(read(100), std::nullopt);
}

TEST_F(PipeTest, EachPacketTakesAPlace) {
  for (int i = 0; i < 16; i++) ASSERT_EQ(write("p", true).value(), 1U) << i;
  EXPECT_TRUE(write("p", true).is(Errno::AGAIN));
  EXPECT_EQ(pipe_->readiness(false, true, true) & abi::kPOLLOUT, 0U);
  EXPECT_EQ(read(10), "p");
  EXPECT_EQ(write("p", true).value(), 1U);
}

TEST_F(PipeTest, ResizesWithItsContent) {
  EXPECT_EQ(write(pattern(5000)).value(), 5000U);
  EXPECT_TRUE(pipe_->resize(100, false).is(Errno::BUSY));
  EXPECT_EQ(read(1000), pattern(5000).substr(0, 1000));
  EXPECT_EQ(pipe_->resize(100'000, false).value(), 131'072U);
  EXPECT_EQ(write(pattern(100'000)).value(), 100'000U);
  EXPECT_EQ(read(4000), pattern(5000).substr(1000));
  EXPECT_EQ(read(100'000), pattern(100'000));
  EXPECT_EQ(pipe_->resize(1, false).value(), 4096U);
  EXPECT_TRUE(pipe_->resize(2 * MiB, false).is(Errno::PERM));
  EXPECT_EQ(pipe_->resize(2 * MiB, true).value(), 2 * MiB);
}

TEST_F(PipeTest, PeekKeepsOthersOutUntilItEnds) {
  write("abcdef").value();
  std::string peeked(4, '\0');
  EXPECT_EQ(pipe_->peek(std::as_writable_bytes(std::span(peeked))).value(), 4U);
  EXPECT_EQ(peeked, "abcd");
  EXPECT_EQ(read(10), std::nullopt);
  pipe_->end_peek(3);
  EXPECT_EQ(read(10), "def");
}

TEST_F(PipeTest, ReservedRoomIsNobodyElses) {
  EXPECT_EQ(pipe_->begin_fill(60'000).value(), 60'000U);
  EXPECT_EQ(write(pattern(10'000)).value(), kDefaultPipeSize - 60'000);
  std::string data = "spliced";
  pipe_->end_fill(std::as_bytes(std::span(data)), 60'000);
  EXPECT_EQ(read(100'000), pattern(kDefaultPipeSize - 60'000) + "spliced");
}

TEST_F(PipeTest, MovesManyBytesBetweenThreads) {
  constexpr size_t kTotal = 3'000'000;
  std::string all = pattern(kTotal);
  std::thread writer([&] {
    size_t done = 0;
    while (done < kTotal) {
      std::string_view piece = std::string_view(all).substr(done, 1 + done % 9000);
      auto result = block_on(pipe_->queue(), abi::kPOLLOUT, "test", [&] { return write(piece); });
      done += result.value();
    }
    pipe_->drop_end(false, true);
  });
  std::string seen;
  for (;;) {
    std::string buffer(5000, '\0');
    auto result = block_on(pipe_->queue(), abi::kPOLLIN, "test", [&] {
      IoDest to(std::as_writable_bytes(std::span(buffer)));
      return pipe_->read(to);
    });
    if (result.value() == 0) break;
    seen.append(buffer, 0, result.value());
  }
  writer.join();
  EXPECT_EQ(seen == all, true);
}

}  // namespace
}  // namespace teacup::fs
