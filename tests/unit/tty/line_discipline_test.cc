// What a terminal does with what is typed (termios(3)).
#include "kernel/pseudo/line_discipline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "kernel/abi/signal.h"

namespace teacup::pseudo {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Patience = LineDiscipline::Patience;

class FakeLine final : public TtyLine {
 public:
  size_t output_room() override { return room; }
  void output(const u8* data, size_t size) override {
    out.append(reinterpret_cast<const char*>(data), size);
    room -= size;
  }
  void flush_output() override { flushed++; }
  void raise(int signal) override { signals.push_back(signal); }
  void flow_changed(bool) override {}

  std::string out;
  size_t room = 1 << 20;
  int flushed = 0;
  std::vector<int> signals;
};

class LineDisciplineTest : public testing::Test {
 protected:
  size_t type(std::string_view text) {
    return tty_.receive({reinterpret_cast<const u8*>(text.data()), text.size()});
  }
  // nullopt: the reader would wait.
  std::optional<std::string> read(size_t size = 4096, Patience patience = Patience::kWait) {
    std::string text(size, '\0');
    IoDest to(std::as_writable_bytes(std::span(text)));
    auto result = tty_.read(to, patience);
    if (!result.ok()) {
      EXPECT_EQ(result.error(), Errno::AGAIN);
      return std::nullopt;
    }
    text.resize(result.value());
    return text;
  }
  size_t write(std::string_view text) {
    IoSource from(std::as_bytes(std::span(text)));
    auto result = tty_.write(from);
    return result.ok() ? result.value() : 0;
  }
  template <typename Change>
  void change(Change change) {
    abi::Termios termios = tty_.termios();
    change(termios);
    tty_.set_termios(termios);
  }
  void go_raw(u8 min = 1, u8 time = 0) {
    change([&](abi::Termios& t) {
      t.lflag = 0;
      t.iflag = 0;
      t.oflag = 0;
      t.cc[abi::kVMIN] = min;
      t.cc[abi::kVTIME] = time;
    });
  }

  FakeLine line_;
  LineDiscipline tty_{line_};
};

TEST_F(LineDisciplineTest, ReadsOneLineAtATime) {
  type("one\ntwo\nthr");
  EXPECT_EQ(read(), "one\n");
  EXPECT_EQ(read(), "two\n");
  EXPECT_EQ(read(), std::nullopt);
  type("ee\n");
  EXPECT_EQ(read(), "three\n");
  EXPECT_EQ(line_.out, "one\r\ntwo\r\nthree\r\n");
}

TEST_F(LineDisciplineTest, GivesAShortReaderTheLineInPieces) {
  type("abcdef\n");
  EXPECT_EQ(read(4), "abcd");
  EXPECT_EQ(read(4), "ef\n");
}

TEST_F(LineDisciplineTest, TurnsCarriageReturnIntoNewline) {
  type("x\r");
  EXPECT_EQ(read(), "x\n");
}

TEST_F(LineDisciplineTest, EndsFileAtControlD) {
  type("\x04");
  EXPECT_EQ(read(), "");
  EXPECT_EQ(read(), std::nullopt);
}

TEST_F(LineDisciplineTest, HandsOverAnUnfinishedLineAtControlD) {
  type("abc\x04");
  EXPECT_EQ(read(), "abc");
  EXPECT_EQ(read(), std::nullopt);
}

TEST_F(LineDisciplineTest, ErasesCharactersOnScreenToo) {
  type(
      "ab\x7f\x7f\x7f"
      "c\n");
  EXPECT_EQ(read(), "c\n");
  EXPECT_EQ(line_.out, "ab\b \b\b \bc\r\n");
}

TEST_F(LineDisciplineTest, ErasesAWordAndALine) {
  type(
      "make  all_x\x17"
      "clean\n");
  EXPECT_EQ(read(), "make  clean\n");
  type(
      "wrong\x15"
      "right\n");
  EXPECT_EQ(read(), "right\n");
}

TEST_F(LineDisciplineTest, ErasesControlCharactersAsTwoCells) {
  type("\x16\x01\x7f");
  EXPECT_EQ(line_.out, "^\b^A\b \b\b \b");
}

TEST_F(LineDisciplineTest, ErasesTabsBackToWhereTheyBegan) {
  type("ab\t\x7f");
  EXPECT_EQ(line_.out, "ab\t\b\b\b\b\b\b");
}

TEST_F(LineDisciplineTest, ErasesAWholeUtf8Character) {
  change([](abi::Termios& t) { t.iflag |= abi::kIUTF8; });
  type("a\xc3\xa9\x7f\n");
  EXPECT_EQ(read(), "a\n");
  EXPECT_EQ(line_.out, "a\xc3\xa9\b \b\r\n");
}

TEST_F(LineDisciplineTest, RaisesSignalsAndForgetsWhatWasTyped) {
  type("junk\x03more\n");
  EXPECT_THAT(line_.signals, ElementsAre(abi::kSIGINT));
  EXPECT_EQ(read(), "more\n");
  EXPECT_EQ(line_.flushed, 1);
  EXPECT_EQ(line_.out, "junk^Cmore\r\n");
  type("\x1a\x1c");
  EXPECT_THAT(line_.signals, ElementsAre(abi::kSIGINT, abi::kSIGTSTP, abi::kSIGQUIT));
}

TEST_F(LineDisciplineTest, KeepsInputWithNoflsh) {
  change([](abi::Termios& t) { t.lflag |= abi::kNOFLSH; });
  type("keep\x03\n");
  EXPECT_EQ(read(), "keep\n");
}

TEST_F(LineDisciplineTest, WithoutIsigControlCIsAByte) {
  change([](abi::Termios& t) { t.lflag &= ~abi::kISIG; });
  type("\x03\n");
  EXPECT_EQ(read(), "\x03\n");
  EXPECT_THAT(line_.signals, IsEmpty());
}

TEST_F(LineDisciplineTest, ADisabledKeyIsAByte) {
  change([](abi::Termios& t) { t.cc[abi::kVINTR] = abi::kVDISABLE; });
  type(std::string_view("\0\n", 2));
  EXPECT_EQ(read(), std::string("\0\n", 2));
  EXPECT_THAT(line_.signals, IsEmpty());
}

TEST_F(LineDisciplineTest, StopsAndStartsOutput) {
  type("\x13");
  EXPECT_EQ(write("held"), 0U);
  EXPECT_FALSE(tty_.writable());
  type("x");
  EXPECT_EQ(line_.out, "");
  type("\x11");
  EXPECT_EQ(line_.out, "x");
  EXPECT_EQ(write("held"), 4U);
  EXPECT_EQ(line_.out, "xheld");
}

TEST_F(LineDisciplineTest, WaitsForVminBytes) {
  go_raw(3);
  type("ab");
  EXPECT_EQ(read(), std::nullopt);
  EXPECT_FALSE(tty_.readable());
  type("c");
  EXPECT_TRUE(tty_.readable());
  EXPECT_EQ(read(), "abc");
}

TEST_F(LineDisciplineTest, AReaderOfLessThanVminGetsThat) {
  go_raw(10);
  type("abc");
  EXPECT_EQ(read(2), "ab");
  EXPECT_EQ(read(2), std::nullopt);
}

TEST_F(LineDisciplineTest, ANonblockingReaderGetsWhatThereIs) {
  go_raw(3);
  type("ab");
  EXPECT_EQ(read(4096, Patience::kNonblocking), "ab");
  EXPECT_EQ(read(4096, Patience::kNonblocking), std::nullopt);
}

TEST_F(LineDisciplineTest, WithoutVminAndVtimeNobodyWaits) {
  go_raw(0);
  EXPECT_EQ(read(), "");
  type("x");
  EXPECT_EQ(read(), "x");
}

TEST_F(LineDisciplineTest, AfterVtimeTheReaderGetsWhatThereIs) {
  go_raw(5, 1);
  type("ab");
  EXPECT_EQ(read(), std::nullopt);
  EXPECT_EQ(read(4096, Patience::kTimedOut), "ab");
  EXPECT_EQ(read(4096, Patience::kTimedOut), "");
}

TEST_F(LineDisciplineTest, RawBytesAreALineForACanonicalReader) {
  abi::Termios cooked = tty_.termios();
  go_raw();
  type("abc");
  tty_.set_termios(cooked);
  EXPECT_EQ(read(), "abc");
}

TEST_F(LineDisciplineTest, AFullRawBufferMakesTheLineWait) {
  go_raw();
  EXPECT_EQ(type(std::string(5000, 'x')), LineDiscipline::kBufferSize - 1);
  EXPECT_EQ(read(8192), std::string(LineDiscipline::kBufferSize - 1, 'x'));
  EXPECT_EQ(type("y"), 1U);
}

TEST_F(LineDisciplineTest, AFullUnfinishedLineCanStillBeEnded) {
  EXPECT_EQ(type(std::string(5000, 'x') + "\n"), 5001U);
  EXPECT_EQ(read(8192), std::string(LineDiscipline::kBufferSize - 1, 'x') + "\n");
}

TEST_F(LineDisciplineTest, ProcessesOutput) {
  write("a\nb");
  EXPECT_EQ(line_.out, "a\r\nb");
  change([](abi::Termios& t) { t.oflag |= abi::kTAB3; });
  line_.out.clear();
  write("\tc");
  EXPECT_EQ(line_.out, "       c");
  change([](abi::Termios& t) { t.oflag = 0; });
  line_.out.clear();
  write("\n");
  EXPECT_EQ(line_.out, "\n");
}

TEST_F(LineDisciplineTest, KeepsEchoUntilThereIsRoom) {
  line_.room = 0;
  type("abc");
  EXPECT_EQ(line_.out, "");
  EXPECT_EQ(write("later"), 0U);
  line_.room = 100;
  tty_.output_drained();
  EXPECT_EQ(line_.out, "abc");
}

TEST_F(LineDisciplineTest, CountsInputWithoutTheEndOfFileMark) {
  type(
      "ab\ncd\x04"
      "e");
  EXPECT_EQ(tty_.input_count(), 5U);
}

TEST_F(LineDisciplineTest, ReprintsTheLine) {
  type("ab\x12");
  EXPECT_EQ(line_.out, "ab^R\r\nab");
}

TEST_F(LineDisciplineTest, BuffersWrapAround) {
  for (int i = 0; i < 3000; i++) {
    type("line\n");
    ASSERT_EQ(read(), "line\n") << i;
  }
}

}  // namespace
}  // namespace teacup::pseudo
