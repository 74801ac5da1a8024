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

}  // namespace
}  // namespace teacup::rewrite
