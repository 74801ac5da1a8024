// Unix domain sockets without descriptors and names (unix(7)).
#include "net/unix_endpoint.h"
#include "net/unix_rights.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "tests/unit/support/machine.h"

namespace teacup::net {
namespace {

constexpr abi::UCred kAlice{10, 1000, 1000};

class CountedFile final : public fs::File {
 public:
  explicit CountedFile(int* live) : File(abi::kO_RDWR), live_(live) { ++*live_; }
  ~CountedFile() override { --*live_; }

 private:
  int* live_;
};

class EndpointTest : public testing::Test {
 protected:
  void SetUp() override { unix_rights_start(); }
  void pair(int type) {
    a_ = Endpoint::create(type).value();
    b_ = Endpoint::create(type).value();
    Endpoint::make_pair(*a_, *b_, kAlice);
  }
  void TearDown() override {
    if (a_) a_->close();
    if (b_) b_->close();
  }
  Result<size_t> send(Endpoint& from, std::string_view text, Ref<Ancillary> ancillary = {}) {
    IoSource data(std::as_bytes(std::span(text)));
    SendRequest request;
    request.data = &data;
    request.ancillary = std::move(ancillary);
    return from.is_stream() ? from.send_stream(request, kAlice) : from.send_message(request, kAlice, nullptr);
  }
  std::optional<std::string> receive(Endpoint& at, size_t size = 100, u32 flags = 0) {
    std::string text(size, '\0');
    IoDest to(std::as_writable_bytes(std::span(text)));
    request_ = ReceiveRequest();
    request_.data = &to;
    request_.flags = flags;
    auto got = at.receive(request_);
    error_ = got.error();
    if (!got.ok()) return std::nullopt;
    text.resize(std::min(size, got.value()));
    return text;
  }
  Ref<Ancillary> with_file() {
    auto ancillary = make_ref<Ancillary>().value();
    ancillary->files = HeapArray<fs::File*>::create(1).value();
    ancillary->files[0] = make<CountedFile>(&live_).value();
    return ancillary;
  }

  int live_ = 0;
  TestMachine machine_;
  Ref<Endpoint> a_, b_;
  ReceiveRequest request_;
  Errno error_ = Errno::OK;
};

TEST_F(EndpointTest, AStreamRunsOverBorders) {
  pair(abi::kSOCK_STREAM);
  EXPECT_EQ(send(*a_, "one").value(), 3U);
  EXPECT_EQ(send(*a_, "two").value(), 3U);
  EXPECT_EQ(receive(*b_, 2), "on");
  EXPECT_EQ(receive(*b_, 3, abi::kMSG_PEEK), "etw");
  EXPECT_EQ(receive(*b_), "etwo");
  EXPECT_EQ(receive(*b_), std::nullopt);
  EXPECT_EQ(error_, Errno::AGAIN);
}

TEST_F(EndpointTest, AStreamTakesWhatThereIsRoomFor) {
  pair(abi::kSOCK_STREAM);
  std::string much(500'000, 'x');
  EXPECT_EQ(send(*a_, much).value(), kDefaultBuffer);
  EXPECT_TRUE(send(*a_, "x").is(Errno::AGAIN));
  EXPECT_EQ(a_->poll() & abi::kPOLLOUT, 0U);
  size_t got = 0;
  while (auto text = receive(*b_, 30'000)) got += text->size();
  EXPECT_EQ(got, kDefaultBuffer);
  EXPECT_NE(a_->poll() & abi::kPOLLOUT, 0U);
}

TEST_F(EndpointTest, PacketsKeepTheirBorders) {
  pair(abi::kSOCK_SEQPACKET);
  send(*a_, "first").value();
  send(*a_, "").value();
  send(*a_, "third").value();
  EXPECT_EQ(receive(*b_, 2), "fi");
  EXPECT_NE(request_.out_flags & abi::kMSG_TRUNC, 0U);
  EXPECT_EQ(receive(*b_), "");
  EXPECT_EQ(receive(*b_), "third");
}

TEST_F(EndpointTest, TheEndComesAfterWhatWasSent) {
  pair(abi::kSOCK_STREAM);
  send(*a_, "last").value();
  a_->close();
  EXPECT_NE(b_->poll() & abi::kPOLLHUP, 0U);
  EXPECT_EQ(receive(*b_), "last");
  EXPECT_EQ(receive(*b_), "");
  EXPECT_TRUE(send(*b_, "x").is(Errno::PIPE));
}

TEST_F(EndpointTest, UnreadBytesResetTheSender) {
  pair(abi::kSOCK_STREAM);
  send(*a_, "never read").value();
  b_->close();
  EXPECT_EQ(receive(*a_), std::nullopt);
  EXPECT_EQ(error_, Errno::CONNRESET);
  EXPECT_EQ(receive(*a_), "");
}

TEST_F(EndpointTest, HalfAStreamCanBeShut) {
  pair(abi::kSOCK_STREAM);
  EXPECT_TRUE(a_->shutdown(abi::kSHUT_WR).ok());
  EXPECT_TRUE(send(*a_, "x").is(Errno::PIPE));
  EXPECT_EQ(receive(*b_), "");
  EXPECT_EQ(send(*b_, "back").value(), 4U);
  EXPECT_EQ(receive(*a_), "back");
}

TEST_F(EndpointTest, FilesTravelWithTheirBytes) {
  pair(abi::kSOCK_STREAM);
  send(*a_, "before").value();
  send(*a_, "with", with_file()).value();
  send(*a_, "after").value();
  EXPECT_EQ(receive(*b_), "beforewith");
  ASSERT_TRUE(request_.ancillary);
  EXPECT_EQ(request_.ancillary->files.size(), 1U);
  EXPECT_EQ(receive(*b_), "after");
  EXPECT_FALSE(request_.ancillary);
  EXPECT_EQ(live_, 0);
}

TEST_F(EndpointTest, FilesThatNobodyTakesAreClosed) {
  pair(abi::kSOCK_DGRAM);
  send(*a_, "x", with_file()).value();
  EXPECT_EQ(live_, 1);
  b_->close();
  EXPECT_EQ(live_, 0);
}

TEST_F(EndpointTest, ListensAndAccepts) {
  a_ = Endpoint::create(abi::kSOCK_STREAM).value();
  ASSERT_TRUE(a_->bind(make_ref<Name>().value()).ok());
  EXPECT_TRUE(a_->accept().is(Errno::INVAL));
  ASSERT_TRUE(a_->listen(0, kAlice).ok());
  EXPECT_TRUE(a_->accept().is(Errno::AGAIN));
  b_ = Endpoint::create(abi::kSOCK_STREAM).value();
  ASSERT_TRUE(b_->connect(*a_, {20, 0, 0}).ok());
  EXPECT_TRUE(b_->connect(*a_, kAlice).is(Errno::AGAIN));
  Ref<Endpoint> late = Endpoint::create(abi::kSOCK_STREAM).value();
  EXPECT_TRUE(late->connect(*a_, kAlice).is(Errno::AGAIN));
  EXPECT_NE(a_->poll() & abi::kPOLLIN, 0U);
  Ref<Endpoint> accepted = a_->accept().value();
  EXPECT_TRUE(b_->connect(*a_, kAlice).is(Errno::ISCONN));
  EXPECT_EQ(accepted->peer_identity.pid, 20);
  EXPECT_EQ(b_->peer_identity.pid, 10);
  send(*b_, "hello").value();
  EXPECT_EQ(receive(*accepted), "hello");
  accepted->close();
  late->close();
}

TEST_F(EndpointTest, AClosedListenerResetsThoseWhoWait) {
  a_ = Endpoint::create(abi::kSOCK_STREAM).value();
  ASSERT_TRUE(a_->bind(make_ref<Name>().value()).ok());
  ASSERT_TRUE(a_->listen(5, kAlice).ok());
  b_ = Endpoint::create(abi::kSOCK_STREAM).value();
  ASSERT_TRUE(b_->connect(*a_, kAlice).ok());
  a_->close();
  EXPECT_EQ(receive(*b_), std::nullopt);
  EXPECT_EQ(error_, Errno::CONNRESET);
}

}  // namespace
}  // namespace teacup::net
