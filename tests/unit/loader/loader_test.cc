// A program's image, built in the test's own process.
#include <elf.h>

#include "kernel/abi/mm.h"
#include "tests/unit/loader/opener.h"

namespace teacup {

namespace {

class LoadTest : public LoaderTest {
 protected:
  LoadTest() : space_(mm::AddressSpace::create().value()) { EXPECT_TRUE(loader_start().ok()); }
  ~LoadTest() override {
    for (u64 at = 0;;) {
      auto mapping = space_->next_mapping(at);
      if (!mapping.ok()) break;
      at = mapping.value().end;
      static_cast<void>(space_->unmap(mapping.value().start, at - mapping.value().start));
    }
  }
  static u64 word(u64 address) { return *reinterpret_cast<const u64*>(address); }

  Ref<mm::AddressSpace> space_;
};

TEST_F(LoadTest, AStaticProgramWithBss) {
  constexpr u64 kBase = 0x1234'0000'0000;
  TinyElf elf(abi::kET_EXEC, kBase);
  u64 data = kBase + 0x2f00;
  elf.segments.push_back(
      {abi::kPT_LOAD, abi::kPF_R | abi::kPF_W, 0xf00, data, data, 0x80, 0x3000, kPageSize});
  auto content = elf.bytes();
  std::memset(content.data() + 0xf00, 0x55, 0x1100);
  opener_.add("/program", content);
  auto request = prepare("/program", {"program", "argument"}, {"HOME=/root"});
  ASSERT_TRUE(request.ok());
  auto loaded = load_program(*space_, *request.value());
  ASSERT_EQ(loaded.error(), Errno::OK);
  EXPECT_EQ(loaded.value().entry, kBase + 0x800);
  EXPECT_EQ(word(data) & 0xff, 0x55U);
  EXPECT_EQ(word(data + 0x80), 0U);                               // the rest of the page is .bss
  EXPECT_EQ(word(data + 0x2ff8 - 0x80), 0U);                      // and so are the pages behind
  EXPECT_EQ(space_->current_brk(), kBase + 2 * MiB - 512 * KiB);  // huge_blocks.cc
  u64 sp = loaded.value().stack_pointer;
  EXPECT_EQ(sp % 16, 0U);
  EXPECT_EQ(word(sp), 2U);
  EXPECT_STREQ(reinterpret_cast<const char*>(word(sp + 8)), "program");
  EXPECT_STREQ(reinterpret_cast<const char*>(word(sp + 16)), "argument");
  EXPECT_EQ(word(sp + 24), 0U);
  EXPECT_STREQ(reinterpret_cast<const char*>(word(sp + 32)), "HOME=/root");
  EXPECT_EQ(word(sp + 40), 0U);
  auto aux = [&](u64 type) {
    for (u64 at = sp + 48; word(at) != AT_NULL; at += 16) {
      if (word(at) == type) return word(at + 8);
    }
    return ~u64{0};
  };
  EXPECT_EQ(aux(AT_PHDR), kBase + 64);
  EXPECT_EQ(aux(AT_PHNUM), 2U);
  EXPECT_EQ(aux(AT_ENTRY), kBase + 0x800);
  EXPECT_EQ(aux(AT_BASE), 0U);
  EXPECT_EQ(aux(AT_PAGESZ), 4096U);
  EXPECT_EQ(aux(AT_SECURE), 0U);
  EXPECT_STREQ(reinterpret_cast<const char*>(aux(AT_PLATFORM)), "x86_64");
  EXPECT_STREQ(reinterpret_cast<const char*>(aux(AT_EXECFN)), "/program");
  EXPECT_NE(aux(AT_RANDOM), ~u64{0});
  EXPECT_EQ(word(aux(AT_SYSINFO_EHDR)) & 0xffffffff, abi::kElfMagic);
  // The stack can be used to its limit.
  auto stack = space_->next_mapping(sp);
  EXPECT_STREQ(stack.value().name, "[stack]");
  EXPECT_EQ(stack.value().end - stack.value().start, 8 * MiB);
}

TEST_F(LoadTest, ADynamicProgramStartsInItsInterpreter) {
  TinyElf elf(abi::kET_DYN, 0);
  elf.segments.push_back({abi::kPT_INTERP, abi::kPF_R, 0x900, 0x900, 0x900, 7, 7, 1});
  auto content = elf.bytes();
  std::memcpy(content.data() + 0x900, "/ld.so\0", 7);
  opener_.add("/program", content);
  opener_.add("/ld.so", TinyElf(abi::kET_DYN, 0).bytes());
  auto request = prepare("/program");
  auto loaded = load_program(*space_, *request.value());
  ASSERT_EQ(loaded.error(), Errno::OK);
  mm::ProgramLayout layout = space_->layout();
  EXPECT_NE(layout.entry, loaded.value().entry);
  EXPECT_EQ(word(layout.entry - 0x800) & 0xffffffff, abi::kElfMagic);
  EXPECT_EQ(word(loaded.value().entry - 0x800) & 0xffffffff, abi::kElfMagic);
  EXPECT_GE(loaded.value().entry, kGuestHighStart);
  EXPECT_LT(loaded.value().entry, loaded.value().stack_pointer);
}

TEST_F(LoadTest, AProgramWhereTheStackIsCannotBeLoaded) {
  opener_.add("/program", TinyElf(abi::kET_EXEC, kGuestHighEnd - MiB).bytes());
  auto request = prepare("/program");
  EXPECT_EQ(load_program(*space_, *request.value()).error(), Errno::NOMEM);
}

TEST_F(LoadTest, TheRequestCanBeLoadedTwice) {
  opener_.add("/program", TinyElf(abi::kET_DYN, 0).bytes());
  auto request = prepare("/program");
  auto first = load_program(*space_, *request.value());
  u64 entry = first.value().entry;
  for (u64 at = 0;;) {
    auto mapping = space_->next_mapping(at);
    if (!mapping.ok()) break;
    at = mapping.value().end;
    ASSERT_TRUE(space_->unmap(mapping.value().start, at - mapping.value().start).ok());
  }
  EXPECT_EQ(load_program(*space_, *request.value()).value().entry, entry);
}

}  // namespace

}  // namespace teacup
