// What execve refuses, and how #! lines are read.
#include "tests/unit/loader/opener.h"

namespace teacup {

namespace {

class ElfTest : public LoaderTest {
 protected:
  Errno error_of(const TinyElf& elf) { return error_of(elf.bytes()); }
  Errno error_of(std::span<const std::byte> content) {
    opener_.add("/program", content);
    return prepare("/program").error();
  }
};

using Strings = std::vector<std::string>;

TEST_F(ElfTest, AcceptsAProgram) {
  EXPECT_EQ(error_of(TinyElf()), Errno::OK);
  EXPECT_EQ(error_of(TinyElf(abi::kET_DYN, 0)), Errno::OK);
}

TEST_F(ElfTest, RefusesWhatIsNoProgram) {
  TinyElf elf;
  elf.header.machine = 3;
  EXPECT_EQ(error_of(elf), Errno::NOEXEC);
  elf = TinyElf();
  elf.header.elf_class = 1;
  EXPECT_EQ(error_of(elf), Errno::NOEXEC);
  elf = TinyElf();
  elf.header.type = 1;
  EXPECT_EQ(error_of(elf), Errno::NOEXEC);
  elf = TinyElf();
  elf.header.phentsize = 32;
  EXPECT_EQ(error_of(elf), Errno::NOEXEC);
  elf = TinyElf();
  elf.segments.clear();
  EXPECT_EQ(error_of(elf), Errno::NOEXEC);
  EXPECT_EQ(error_of(std::span<const std::byte>()), Errno::NOEXEC);
}

TEST_F(ElfTest, RefusesATruncatedFileAtAnyLength) {
  TinyElf elf;
  elf.segments[0].filesz = elf.segments[0].memsz = 2 * kPageSize;
  auto whole = elf.bytes();
  for (size_t size = 0; size < whole.size(); size += size < 256 ? 1 : 501) {
    EXPECT_EQ(error_of(std::span(whole).first(size)), Errno::NOEXEC) << size;
  }
}

TEST_F(ElfTest, RefusesBadSegments) {
  TinyElf elf;
  elf.segments[0].memsz = elf.segments[0].filesz - 1;
  EXPECT_EQ(error_of(elf), Errno::INVAL);
  elf = TinyElf();
  elf.segments[0].offset = 1;
  EXPECT_EQ(error_of(elf), Errno::INVAL);
  elf = TinyElf();
  elf.segments.push_back(elf.segments[0]);  // the same place twice
  EXPECT_EQ(error_of(elf), Errno::INVAL);
  elf = TinyElf();
  elf.segments[0].vaddr = ~u64{0} - kPageSize + 1;
  elf.segments[0].memsz = 2 * kPageSize;
  EXPECT_EQ(error_of(elf), Errno::INVAL);
  EXPECT_EQ(error_of(TinyElf(abi::kET_EXEC, kArenaBase)), Errno::NOMEM);
  EXPECT_EQ(error_of(TinyElf(abi::kET_EXEC, 0)), Errno::NOMEM);
  EXPECT_EQ(error_of(TinyElf(abi::kET_EXEC, kGuestHighEnd)), Errno::NOMEM);
  elf = TinyElf(abi::kET_DYN, 0);
  elf.segments[0].memsz = u64{1} << 46;
  EXPECT_EQ(error_of(elf), Errno::NOMEM);
  elf = TinyElf();
  elf.header.entry = kArenaBase;
  EXPECT_EQ(error_of(elf), Errno::INVAL);
}

// Whatever one byte of the headers is, there is an answer.
TEST_F(ElfTest, AnyByteOfTheHeadersMayBeWrong) {
  TinyElf elf;
  elf.segments.push_back({abi::kPT_INTERP, abi::kPF_R, 0x900, 0x400900, 0x400900, 8, 8, 1});
  auto good = elf.bytes();
  std::memcpy(good.data() + 0x900, "/ld.so\0", 8);
  opener_.add("/ld.so", TinyElf(abi::kET_DYN, 0).bytes());
  for (size_t at = 0; at < sizeof(abi::ElfHeader) + 2 * sizeof(abi::ElfProgramHeader); at++) {
    for (int value : {0, 1, 0x7f, 0x80, 0xff}) {
      auto bad = good;
      bad[at] = static_cast<std::byte>(value);
      static_cast<void>(error_of(bad));
    }
  }
  EXPECT_EQ(error_of(good), Errno::OK);
}

TEST_F(ElfTest, Interpreters) {
  TinyElf elf;
  elf.segments.push_back({abi::kPT_INTERP, abi::kPF_R, 0x900, 0x400900, 0x400900, 7, 7, 1});
  auto content = elf.bytes();
  std::memcpy(content.data() + 0x900, "/ld.so\0", 7);
  EXPECT_EQ(error_of(content), Errno::NOENT);
  opener_.add("/ld.so", "no program");
  EXPECT_EQ(error_of(content), Errno::LIBBAD);
  opener_.add("/ld.so", TinyElf(abi::kET_DYN, 0).bytes());
  EXPECT_EQ(error_of(content), Errno::OK);
  content[0x906] = std::byte{'x'};  // no NUL
  EXPECT_EQ(error_of(content), Errno::NOEXEC);
}

TEST_F(ElfTest, ScriptsCallTheirInterpreter) {
  opener_.add("/bin/sh", TinyElf().bytes());
  opener_.add("/script", "#! /bin/sh  -e -x \necho\n");
  auto request = prepare("/script", {"script", "one", "two"}, {"A=1"});
  ASSERT_EQ(request.error(), Errno::OK);
  EXPECT_EQ(strings(request.value()->arguments()), (Strings{"/bin/sh", "-e -x", "/script", "one", "two"}));
  EXPECT_EQ(strings(request.value()->environment()), Strings{"A=1"});
  EXPECT_EQ(request.value()->execfn, "/script");
  EXPECT_STREQ(request.value()->name, "script");
  opener_.add("/plain", "#!/bin/sh");
  EXPECT_EQ(strings(prepare("/plain", {}).value()->arguments()), (Strings{"/bin/sh", "/plain"}));
}

TEST_F(ElfTest, ScriptsOfScriptsEnd) {
  opener_.add("/0", TinyElf().bytes());
  for (int i = 1; i <= 6; i++) {
    opener_.add("/" + std::to_string(i), "#!/" + std::to_string(i - 1) + "\n");
  }
  EXPECT_EQ(prepare("/5").error(), Errno::OK);
  EXPECT_EQ(strings(prepare("/2", {"x"}).value()->arguments()), (Strings{"/0", "/1", "/2"}));
  EXPECT_EQ(prepare("/6").error(), Errno::LOOP);
}

TEST_F(ElfTest, BadScripts) {
  opener_.add("/empty", "#!\n");
  EXPECT_EQ(prepare("/empty").error(), Errno::NOEXEC);
  opener_.add("/missing", "#!/not/there\n");
  EXPECT_EQ(prepare("/missing").error(), Errno::NOENT);
  opener_.add("/long", "#!/" + std::string(300, 'x') + "\n");
  EXPECT_EQ(prepare("/long").error(), Errno::NOEXEC);
  opener_.add("/text", "echo hello\n");
  EXPECT_EQ(prepare("/text").error(), Errno::NOEXEC);
}

TEST_F(ElfTest, ArgumentsAreLimited) {
  opener_.add("/program", TinyElf().bytes());
  std::string most(128 * KiB - 1, 'x');
  EXPECT_EQ(prepare("/program", {most}).error(), Errno::OK);
  std::string more(128 * KiB, 'x');
  EXPECT_EQ(prepare("/program", {more}).error(), Errno::TOO_BIG);
  // A quarter of the stack in all: 2 MiB.
  EXPECT_EQ(prepare("/program", std::vector<std::string_view>(15, most)).error(), Errno::OK);
  EXPECT_EQ(prepare("/program", std::vector<std::string_view>(16, most)).error(), Errno::TOO_BIG);
  EXPECT_EQ(prepare("/program", std::vector<std::string_view>(300'000, "")).error(), Errno::TOO_BIG);
}

}  // namespace

}  // namespace teacup
