// prepare() from file to blob.
#include "rewrite/prepare.h"

#include <gmock/gmock.h>

#include "tests/unit/rewrite/elf_builder.h"

namespace teacup::rewrite {
namespace {

using test::ElfBuilder;
using test::kText;
using testing::ElementsAre;
using testing::ElementsAreArray;

// getpid() as compilers write it.
ElfBuilder getpid() {
  ElfBuilder elf;
  elf.add({0xb8, 0x27, 0, 0, 0, 0x0f, 0x05, 0xc3}).pad(32);
  elf.function("getpid", kText, kText + 8);
  return elf;
}

TEST(Prepare, MovesTheNumberAlong) {
  Prepared prepared = prepare(getpid().build());
  ASSERT_EQ(prepared.status, abi::kPreparedPatched);
  ASSERT_EQ(prepared.sites.size(), 1u);
  EXPECT_EQ(prepared.sites[0].address, kText + 5);
  EXPECT_EQ(prepared.sites[0].tactic, abi::kTacticWindowBefore);
  EXPECT_EQ(prepared.trampoline_address, kText + kPageSize);

  ASSERT_EQ(prepared.patches.size(), 1u);
  EXPECT_EQ(prepared.patches[0].address, kText);
  EXPECT_EQ(prepared.patches[0].file_offset, kText);
  EXPECT_THAT(prepared.patches[0].bytes, ElementsAre(0xe9, 0xfb, 0x0f, 0, 0));
  EXPECT_THAT(prepared.trampolines,
              ElementsAreArray({0xb8, 0x27, 0x00, 0x00, 0x00,                    // mov $39, %eax
                                0x48, 0x8d, 0x0d, 0x08, 0x00, 0x00, 0x00,        // lea cont, %rcx
                                0x65, 0xff, 0x24, 0x25, 0x08, 0x00, 0x00, 0x00,  // jmp *%gs:8
                                0xe9, 0xee, 0xef, 0xff, 0xff}));                 // jmp back
}

TEST(Prepare, BlobSaysWhereEveryProgramCounterBelongs) {
  Prepared prepared = prepare(getpid().build());
  std::vector<std::byte> blob = prepared.serialise();
  std::optional<abi::PreparedView> view = abi::PreparedView::create(blob);
  ASSERT_TRUE(view && view->patched());
  EXPECT_EQ(view->header().base_vaddr, kText);
  EXPECT_EQ(view->header().trampoline_offset, kPageSize);
  EXPECT_THAT(view->trampolines(), ElementsAreArray(prepared.trampolines));
  ASSERT_EQ(view->patches().size(), 1u);
  EXPECT_THAT(view->bytes_of(view->patches()[0]), ElementsAreArray(prepared.patches[0].bytes));

  auto guest_for = [&](u64 actual) {
    const abi::PreparedPc* pc = view->guest_for(kPageSize + actual);
    return pc ? std::pair<u64, int>(pc->guest, pc->kind) : std::pair<u64, int>(~0ull, -1);
  };
  for (u64 pc = 0; pc < 5; pc++) EXPECT_EQ(guest_for(pc), (std::pair<u64, int>(0, abi::kPcMoved)));
  for (u64 pc = 5; pc < 20; pc++) EXPECT_EQ(guest_for(pc), (std::pair<u64, int>(5, abi::kPcEnter)));
  for (u64 pc = 20; pc < 25; pc++) EXPECT_EQ(guest_for(pc), (std::pair<u64, int>(7, abi::kPcReturn)));
  EXPECT_EQ(view->guest_for(kPageSize + 25), nullptr);
  EXPECT_EQ(view->guest_for(7), nullptr);

  for (u64 pc = 0; pc < 5; pc++) EXPECT_EQ(view->actual_for(pc)->actual, kPageSize);
  for (u64 pc = 5; pc < 7; pc++) EXPECT_EQ(view->actual_for(pc)->actual, kPageSize + 5);
  EXPECT_EQ(view->actual_for(7), nullptr);
}

TEST(Prepare, ViewRefusesATruncatedBlob) {
  std::vector<std::byte> blob = prepare(getpid().build()).serialise();
  for (size_t size = 0; size < blob.size(); size++) {
    EXPECT_FALSE(abi::PreparedView::create(std::span(blob).first(size)));
  }
}

TEST(Prepare, NothingToDoWithoutSites) {
  ElfBuilder elf;
  elf.add({0xc3}).pad(64);
  EXPECT_EQ(prepare(elf.build()).status, abi::kPreparedNoSites);
}

// Nothing before the site says that it is one.
ElfBuilder call_without_number() {
  ElfBuilder elf;
  elf.pad(0x200, 0xff);  // bytes that are no instructions, so that decoding cannot arrive from before
  for (int i = 0; i < 40; i++) elf.add({0x4d, 0x89, 0xc8});
  elf.add({0x49, 0x89, 0xca, 0x0f, 0x05});
  return elf;
}

TEST(Prepare, CheckOfTheResultTellsASite) {
  for (u8 byte : {u8{0xff}, u8{0x7f}}) {  // cmp $-4095, %rax or a number that is no error
    ElfBuilder elf = call_without_number();
    elf.add({0x48, 0x3d, 0x01, 0xf0, 0xff, byte, 0x73, 0x01, 0xc3, 0xc3}).pad(0x400, 0xff);
    EXPECT_EQ(prepare(elf.build()).status, byte == 0xff ? abi::kPreparedPatched : abi::kPreparedNoSites);
  }
}

// The table of functions of a Go program: the header of Go 1.18 with one function, all text.
std::vector<u8> go_functions(u64 text_start, u32 size) {
  std::vector<u8> table;
  auto put = [&](const auto& value) {
    auto* bytes = reinterpret_cast<const u8*>(&value);
    table.insert(table.end(), bytes, bytes + sizeof value);
  };
  put(0x0801'0000'ffff'fff0);  // magic; units of one byte, pointers of eight
  for (u64 word : {u64{1}, u64{0}, text_start, u64{0}, u64{0}, u64{0}, u64{0}, u64{72}}) put(word);
  for (u32 word : {0u, 0u, size, 0u}) put(word);
  return table;
}

TEST(Prepare, GoSaysWhereFunctionsBegin) {
  for (bool relocated : {false, true}) {
    ElfBuilder elf;
    elf.add({0x49, 0x89, 0xca, 0x0f, 0x05, 0xc3});  // too near the beginning to be judged by what is around
    elf.data_section = relocated ? ".data.rel.ro.gopclntab" : ".gopclntab";
    elf.data = go_functions(relocated ? 0 : kText, 6);
    if (relocated) elf.relocation(kText, 24);
    EXPECT_EQ(prepare(elf.build()).status, abi::kPreparedPatched);
    elf.data.clear();
    EXPECT_EQ(prepare(elf.build()).status, abi::kPreparedNoSites);
  }
}

}  // namespace
}  // namespace teacup::rewrite
