// Each tactic with the bytes it makes, and each hazard with code that would break if it were overlooked.
#include <gmock/gmock.h>

#include "rewrite/prepare.h"
#include "tests/unit/rewrite/elf_builder.h"

namespace teacup::rewrite {
namespace {

using test::ElfBuilder;
using test::kText;
using testing::ElementsAre;
using testing::ElementsAreArray;

constexpr u64 kBlock = kText + kPageSize;  // where the trampolines of text of one page without data go
#define ENTER \
  0x48, 0x8d, 0x0d, 0x08, 0, 0, 0, 0x65, 0xff, 0x24, 0x25, 0x08, 0, 0, 0  // lea 8(%rip), %rcx; jmp *%gs:8
#define MOV_NUMBER 0xb8, 0x27, 0, 0, 0                                    // mov $39, %eax
#define SYSCALL 0x0f, 0x05

// One function that fills the text so far, then traps to the end of a page.
std::vector<std::byte> finish(ElfBuilder& elf) {
  elf.function("function", kText, elf.here());
  elf.pad(kPageSize);
  return elf.build();
}

Prepared prepare_text(std::initializer_list<u8> text) {
  ElfBuilder elf;
  elf.add(text);
  return prepare(finish(elf));
}

// The one site's tactic.
std::string tactic_of(const std::vector<std::byte>& file) {
  Prepared prepared = prepare(file);
  EXPECT_EQ(prepared.sites.size(), 1u);
  if (!prepared.sites.empty() && prepared.sites[0].reason != NetReason::kNone) {
    EXPECT_EQ(prepared.sites[0].reason, NetReason::kNoRoom);
  }
  return prepared.sites.empty() ? "no site" : tactic_name(prepared.sites[0].tactic);
}

TEST(Tactics, WindowBefore) {
  Prepared prepared = prepare_text({MOV_NUMBER, SYSCALL, 0xc3});
  EXPECT_EQ(prepared.sites[0].tactic, abi::kTacticWindowBefore);
  EXPECT_THAT(prepared.patches[0].bytes, ElementsAre(0xe9, 0xfb, 0x0f, 0, 0));
  EXPECT_THAT(prepared.trampolines, ElementsAreArray({MOV_NUMBER, ENTER, 0xe9, 0xee, 0xef, 0xff, 0xff}));
}

TEST(Tactics, WindowBeforeTrapsUpToTheNextInstruction) {
  // mov $-1, %rsi (7 bytes); syscall: two bytes of the mov are left, and the syscall stays as it is.
  Prepared prepared = prepare_text({0x48, 0xc7, 0xc6, 0xff, 0xff, 0xff, 0xff, SYSCALL, 0xc3});
  EXPECT_THAT(prepared.patches[0].bytes, ElementsAre(0xe9, 0xfb, 0x0f, 0, 0, 0xcc, 0xcc));
}

TEST(Tactics, WindowBeforeFixesPcRelativeOperands) {
  // mov 0x1000(%rip), %eax ; syscall ; ret
  Prepared prepared = prepare_text({0x8b, 0x05, 0x00, 0x10, 0, 0, SYSCALL, 0xc3});
  // It read kText + 6 + 0x1000, which lies 0x1000 - (0x1000 + 6) + 6 + ... = 0 bytes behind its copy's end.
  EXPECT_THAT(prepared.trampolines,
              ElementsAreArray({0x8b, 0x05, 0, 0, 0, 0, ENTER, 0xe9, 0xee, 0xef, 0xff, 0xff}));
}

TEST(Tactics, WindowBeforeLengthensBranches) {
  // jne +1 ; mov %r8, %r9 ... the branch moves and becomes long.
  Prepared prepared = prepare_text({0x75, 0x05, 0x4d, 0x89, 0xc1, SYSCALL, 0xc3, 0xc3});
  ASSERT_EQ(prepared.sites[0].tactic, abi::kTacticWindowBefore);
  EXPECT_EQ(prepared.sites[0].window_begin, kText + 2);  // five bytes without it
  prepared = prepare_text({0x75, 0x05, 0x89, 0xc1, SYSCALL, 0xc3, 0xc3});
  EXPECT_EQ(prepared.sites[0].window_begin, kText);
  EXPECT_THAT(prepared.trampolines, ElementsAreArray({0x0f, 0x85, 0x01, 0xf0, 0xff, 0xff, 0x89, 0xc1, ENTER,
                                                      0xe9, 0xea, 0xef, 0xff, 0xff}));
}

TEST(Tactics, ShortJumpToPadding) {
  // A loop to the site itself, so that no window may begin before it; a ret, so that none fits behind it.
  ElfBuilder elf;
  elf.add({MOV_NUMBER, SYSCALL, 0x72, 0xfc, 0xe8, 0, 0, 0, 0, 0xc3});
  Prepared prepared = prepare(finish(elf));
  ASSERT_EQ(prepared.sites[0].tactic, abi::kTacticShortJump);
  ASSERT_EQ(prepared.patches.size(), 2u);
  EXPECT_EQ(prepared.patches[0].address, kText + 5);
  EXPECT_THAT(prepared.patches[0].bytes, ElementsAre(0xeb, 0x08));
  EXPECT_EQ(prepared.patches[1].address, kText + 15);
  EXPECT_THAT(prepared.patches[1].bytes, ElementsAre(0xe9, 0xec, 0x0f, 0, 0));
  EXPECT_THAT(prepared.trampolines, ElementsAreArray({ENTER, 0xe9, 0xf3, 0xef, 0xff, 0xff}));
  // In the padding, a program counter stands for the call not yet made.
  auto blob = prepared.serialise();
  const abi::PreparedPc* pc = abi::PreparedView::create(blob)->guest_for(15);
  ASSERT_NE(pc, nullptr);
  EXPECT_EQ(pc->guest, 5u);
}

TEST(Tactics, WindowAfter) {
  // At the beginning of a function there is nothing before.
  Prepared prepared = prepare_text({SYSCALL, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0xc3, 0xcc});
  EXPECT_EQ(prepared.sites[0].tactic, abi::kTacticShortJump);  // traps follow
  ElfBuilder elf;
  elf.add({SYSCALL, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0xc3});
  elf.function("function", kText, elf.here());
  prepared = prepare(elf.build());
  ASSERT_EQ(prepared.sites[0].tactic, abi::kTacticWindowAfter);
  EXPECT_THAT(prepared.patches[0].bytes, ElementsAre(0xe9, 0xfb, 0x0f, 0, 0, 0xcc, 0xcc, 0xcc));
  EXPECT_THAT(prepared.trampolines,
              ElementsAreArray({ENTER, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0xe9, 0xee, 0xef, 0xff, 0xff}));
}

TEST(Tactics, WindowAfterDoesNotReturnBehindAReturn) {
  // mov %eax, %edx ; ret: both move, and nothing jumps back.
  ElfBuilder elf;
  elf.add({SYSCALL, 0x89, 0xc2, 0xc3});
  elf.function("function", kText, elf.here());
  Prepared prepared = prepare(elf.build());
  ASSERT_EQ(prepared.sites[0].tactic, abi::kTacticWindowAfter);
  EXPECT_THAT(prepared.trampolines, ElementsAreArray({ENTER, 0x89, 0xc2, 0xc3}));
}

TEST(Tactics, WindowAround) {
  // mov %rdi, %rax is too short before and ret behind; nothing else near.
  ElfBuilder elf;
  elf.add({0x89, 0xf8, SYSCALL, 0xc3});
  elf.function("function", kText, elf.here());
  Prepared prepared = prepare(elf.build());
  ASSERT_EQ(prepared.sites[0].tactic, abi::kTacticWindowAround);
  EXPECT_THAT(prepared.trampolines, ElementsAreArray({0x89, 0xf8, ENTER, 0xc3}));
}

TEST(Tactics, Evict) {
  // Eleven bytes of moves that nothing jumps into, then a site that is jumped to, between calls.
  ElfBuilder elf;
  elf.add({0xbe, 1, 0, 0,       0,    0x41, 0xb8, 2, 0, 0, 0, 0xe8, 0,
           0,    0, 0, SYSCALL, 0x72, 0xfc, 0xe8, 0, 0, 0, 0, 0xc3});
  elf.function("function", kText, elf.here());
  Prepared prepared = prepare(elf.build());
  ASSERT_EQ(prepared.sites[0].tactic, abi::kTacticEvict);
  ASSERT_EQ(prepared.patches.size(), 2u);
  EXPECT_THAT(prepared.patches[0].bytes, ElementsAre(0xe9, 0xfb, 0x0f, 0, 0, 0xe9, 0x06, 0x10, 0, 0,
                                                     0xcc));  // to the run, to the site, a trap
  EXPECT_THAT(prepared.patches[1].bytes, ElementsAre(0xeb, 0xf3));
  EXPECT_THAT(prepared.trampolines, ElementsAreArray({0xbe,  1,    0,    0,    0,    0x41, 0xb8, 2,
                                                      0,     0,    0,    0xe9, 0xfb, 0xef, 0xff, 0xff,  //
                                                      ENTER, 0xe9, 0xee, 0xef, 0xff, 0xff}));
}

TEST(Tactics, CpuidKeepsItsOperands) {
  ElfBuilder elf;
  elf.add({0xb8, 7, 0, 0, 0, 0x0f, 0xa2, 0xc3});
  Prepared prepared = prepare(finish(elf), {.patch_cpuid = true});
  ASSERT_EQ(prepared.status, abi::kPreparedPatched);
  EXPECT_THAT(prepared.trampolines,
              ElementsAreArray({0xb8, 7,    0,    0,    0, 0x48, 0x8d, 0x15, 8,    0,    0,    0,   0x65,
                                0xff, 0x24, 0x25, 0x10, 0, 0,    0,    0xe9, 0xee, 0xef, 0xff, 0xff}));
  EXPECT_EQ(prepared.to_guest[1].kind, abi::kPcEnterCpuid);
  EXPECT_EQ(prepare(elf.build()).status, abi::kPreparedNoSites);
}

#define ENTER_BY_RDX(slot) 0x48, 0x8d, 0x15, 8, 0, 0, 0, 0x65, 0xff, 0x24, 0x25, slot, 0, 0, 0

TEST(Tactics, CpuidByEachTactic) {
  constexpr Options kCpuid = {.patch_cpuid = true};
  // The loop of a cache query jumps to the site, so that no window may begin before it.
  ElfBuilder elf;
  elf.add({0xb8, 4, 0, 0, 0, 0x0f, 0xa2, 0x72, 0xfc, 0xe8, 0, 0, 0, 0, 0xc3});
  Prepared prepared = prepare(finish(elf), kCpuid);
  ASSERT_EQ(prepared.sites[0].tactic, abi::kTacticShortJump);
  EXPECT_THAT(prepared.trampolines, ElementsAreArray({ENTER_BY_RDX(0x10), 0xe9, 0xf3, 0xef, 0xff, 0xff}));
  auto blob = prepared.serialise();
  const abi::PreparedPc* pc = abi::PreparedView::create(blob)->guest_for(15);
  ASSERT_NE(pc, nullptr);
  EXPECT_EQ(pc->guest, 5u);

  // mov %ebx, (%rdi) and mov %ecx, 4(%rdi) move along, behind it.
  elf = ElfBuilder();
  elf.add({0x0f, 0xa2, 0x89, 0x1f, 0x89, 0x4f, 0x04, 0xc3});
  elf.function("function", kText, elf.here());
  prepared = prepare(elf.build(), kCpuid);
  ASSERT_EQ(prepared.sites[0].tactic, abi::kTacticWindowAfter);
  EXPECT_THAT(prepared.trampolines, ElementsAreArray({ENTER_BY_RDX(0x10), 0x89, 0x1f, 0x89, 0x4f, 0x04, 0xe9,
                                                      0xee, 0xef, 0xff, 0xff}));

  // xor %ecx, %ecx before, mov %ebx, %esi behind.
  elf = ElfBuilder();
  elf.add({0x31, 0xc9, 0x0f, 0xa2, 0x89, 0xde, 0xc3});
  elf.function("function", kText, elf.here());
  prepared = prepare(elf.build(), kCpuid);
  ASSERT_EQ(prepared.sites[0].tactic, abi::kTacticWindowAfter);
  EXPECT_THAT(prepared.trampolines, ElementsAreArray({ENTER_BY_RDX(0x10), 0x89, 0xde, 0xc3}));
}

TEST(Tactics, ClocksKeepRcx) {
  // rdtsc ; shl $32, %rdx -- and rdtscp, three bytes long.
  ElfBuilder elf;
  elf.add({0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x90, 0x0f, 0x01, 0xf9, 0x48, 0xc1, 0xe2, 0x20, 0xc3});
  elf.function("function", kText, elf.here());
  Prepared prepared = prepare(elf.build(), {.patch_rdtsc = true});
  ASSERT_EQ(prepared.sites.size(), 2u);
  EXPECT_EQ(prepared.sites[0].kind, abi::kSiteRdtsc);
  EXPECT_EQ(prepared.sites[1].kind, abi::kSiteRdtscp);
  EXPECT_EQ(prepared.sites[0].tactic, abi::kTacticWindowAfter);
  EXPECT_NE(prepared.sites[1].tactic, abi::kTacticNet);
  std::vector<u8> code = prepared.trampolines;
  EXPECT_THAT(std::vector<u8>(code.begin(), code.begin() + 19),
              ElementsAreArray({ENTER_BY_RDX(0x18), 0x48, 0xc1, 0xe2, 0x20}));
  for (const abi::PreparedPc& run : prepared.to_guest) EXPECT_NE(run.kind, abi::kPcEnter);
  EXPECT_EQ(prepare(elf.build(), {.patch_cpuid = true}).status, abi::kPreparedNoSites);
}

TEST(Tactics, CpuidOfUnknownSurroundingsNeedsItsLeaf) {
  // No unwind table, no symbol: only what loads eax just before is taken for an instruction.
  for (bool loads : {true, false}) {
    ElfBuilder elf;
    elf.add({0xc3});
    elf.function("function", kText, elf.here());
    for (int i = 0; i < 40; i++) elf.add({0x48, 0x89, 0xca, 0x90});
    if (loads) elf.add({0xb8, 7, 0, 0, 0});
    elf.add({0x0f, 0xa2, 0x89, 0x1f, 0x89, 0x4f, 0x04, 0xc3}).pad(400);
    Prepared prepared = prepare(elf.build(), {.patch_cpuid = true});
    EXPECT_EQ(prepared.status, loads ? abi::kPreparedPatched : abi::kPreparedNoSites);
  }
}

// A function with room for nothing but a window before its site, and a ret at kText + 8 to be jumped from or
// to.
ElfBuilder only_before() {
  ElfBuilder elf;
  elf.add({MOV_NUMBER, SYSCALL, 0xff, 0xd0, 0xc3});
  elf.function("function", kText, elf.here());
  return elf;
}

TEST(Hazards, NoneWithoutThem) {
  EXPECT_EQ(tactic_of(only_before().build()), "window before");
}

TEST(Hazards, BranchToTheSite) {
  ElfBuilder elf;
  elf.add({MOV_NUMBER, SYSCALL, 0x72, 0xfc, 0xff, 0xd0, 0xc3});
  elf.function("function", kText, elf.here());
  EXPECT_EQ(tactic_of(elf.build()), "net");
}

TEST(Hazards, LongBranchFromAnotherFunction) {
  ElfBuilder elf = only_before();
  elf.pad(300);
  u64 from = elf.here();
  u32 distance = static_cast<u32>(kText + 5 - (from + 5));
  elf.add({0xe9, static_cast<u8>(distance), static_cast<u8>(distance >> 8), 0xff, 0xff});
  elf.function("other", from, elf.here());
  EXPECT_NE(tactic_of(elf.build()), "window before");
}

TEST(Hazards, AddressTakenInAnotherFunction) {
  ElfBuilder elf = only_before();
  elf.pad(300);
  u64 from = elf.here();
  u32 distance = static_cast<u32>(kText + 5 - (from + 7));
  elf.add({0x48, 0x8d, 0x05, static_cast<u8>(distance), static_cast<u8>(distance >> 8), 0xff, 0xff, 0xc3});
  elf.function("other", from, elf.here());
  EXPECT_NE(tactic_of(elf.build()), "window before");
}

TEST(Hazards, JumpTable) {
  ElfBuilder elf;
  // lea table(%rip), %rax ; jmp *%rdx ; mov ; syscall ; call *%rax ; ret
  elf.add({0x48, 0x8d, 0x05, 0xf9, 0x0f, 0, 0, 0xff, 0xe2, MOV_NUMBER, SYSCALL, 0xff, 0xd0, 0xc3});
  elf.function("function", kText, elf.here());
  auto with_entry = [&](u64 target) {
    s32 distance = static_cast<s32>(target - elf.data_address());
    elf.data.resize(8);
    std::memcpy(elf.data.data() + 4, &distance, 4);
    distance = static_cast<s32>(kText - elf.data_address());
    std::memcpy(elf.data.data(), &distance, 4);
    return tactic_of(elf.build());
  };
  EXPECT_EQ(with_entry(kText + 9), "window before");  // a window's first byte may be a target
  EXPECT_EQ(with_entry(kText + 14), "net");
}

TEST(Hazards, Relocation) {
  ElfBuilder elf = only_before();
  elf.data.resize(8);
  elf.relocation(kText + 5);
  EXPECT_EQ(tactic_of(elf.build()), "net");
}

TEST(Hazards, AbsolutePointerInAFixedExecutable) {
  ElfBuilder elf = only_before();
  elf.type = ET_EXEC;
  elf.data.resize(16);
  u64 target = kText + 5;
  std::memcpy(elf.data.data() + 8, &target, 8);
  EXPECT_EQ(tactic_of(elf.build()), "net");
  elf.type = ET_DYN;  // there it would have a relocation
  EXPECT_EQ(tactic_of(elf.build()), "window before");
}

TEST(Hazards, Symbol) {
  ElfBuilder elf = only_before();
  elf.label("cancellation_point", kText + 5);
  EXPECT_EQ(tactic_of(elf.build()), "net");
}

TEST(Hazards, LandingPad) {
  ElfBuilder elf = only_before();
  // No start, no types, call sites in ULEB128: one, from 0 for 1, landing at 5.
  elf.data = {0xff, 0xff, 0x01, 0x04, 0x00, 0x01, 0x05, 0x00};
  elf.frame(kText, elf.here(), elf.data_address());
  EXPECT_EQ(tactic_of(elf.build()), "net");
  elf.data[6] = 0;
  EXPECT_EQ(tactic_of(elf.build()), "window before");
}

TEST(Hazards, CallsAreNotMoved) {
  ElfBuilder elf;
  elf.add({0xe8, 0, 0, 0, 0, SYSCALL, 0xe8, 0, 0, 0, 0, 0xc3});
  elf.function("function", kText, elf.here());
  EXPECT_EQ(tactic_of(elf.build()), "net");
}

TEST(Hazards, LoopsAreNotMoved) {
  ElfBuilder elf;
  elf.add({0xe8, 0, 0, 0, 0, SYSCALL, 0x89, 0xc2, 0xe2, 0xf0, 0xc3});
  elf.function("function", kText, elf.here());
  EXPECT_EQ(tactic_of(elf.build()), "net");
}

TEST(Hazards, PaddingBelongsToItsNeighbours) {
  // Without bounds of `next`, a ret may be followed by anything; with them, by nops only up to it.
  ElfBuilder elf;
  elf.add({0xe8, 0, 0, 0, 0, SYSCALL, 0xc3, 0x66, 0x90, 0x90, 0x90, 0xc3});
  elf.function("function", kText, kText + 8);
  EXPECT_EQ(tactic_of(elf.build()), "window after");
  elf.function("next", kText + 8, elf.here());
  EXPECT_EQ(tactic_of(elf.build()), "net");
}

TEST(Hazards, UnseenFunctionBehindPadding) {
  // Text of which no table says anything, as in klibc: behind the nop may be a function that others call.
  for (bool padded : {true, false}) {
    ElfBuilder elf;
    elf.add({0xc3});
    elf.function("function", kText, elf.here());
    for (int i = 0; i < 40; i++) elf.add({0x48, 0x89, 0xca, 0x4d, 0x89, 0xc8});
    elf.add({MOV_NUMBER, 0x72, 0xf9, 0xff, 0xd0, SYSCALL}).add({static_cast<u8>(padded ? 0x90 : 0x52)});
    elf.add({0x5a, 0x48, 0x89, 0xc7, 0xff, 0xd0, 0xc3, 0xff}).pad(800, 0xff);
    EXPECT_EQ(tactic_of(elf.build()), padded ? "net" : "window after");
  }
}

TEST(Hazards, UnseenFunctionBehindAnExit) {
  // The same without padding: what follows exit_group is another function, or nothing.
  for (u8 number : {u8{231}, u8{39}}) {
    ElfBuilder elf;
    elf.add({0xc3});
    elf.function("function", kText, elf.here());
    for (int i = 0; i < 40; i++) elf.add({0x48, 0x89, 0xca, 0x4d, 0x89, 0xc8});
    // A jump to the site itself, so that no window may begin before it.
    elf.add({0xb8, number, 0, 0, 0, SYSCALL, 0x5a, 0x48, 0x89, 0xc7, 0x72, 0xf8});
    elf.add({0xff, 0xd0, 0xc3, 0xff}).pad(800, 0xff);
    EXPECT_EQ(tactic_of(elf.build()), number == 39 ? "window after" : "net");
  }
}

TEST(Hazards, SignalTrampolineIsKnownByItsBytes) {
  ElfBuilder elf;
  elf.add({0x90, 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, SYSCALL, 0x0f, 0x1f, 0, 0xc3});
  elf.function("__restore_rt", kText + 1, elf.here());
  Prepared prepared = prepare(elf.build());
  EXPECT_EQ(prepared.sites[0].reason, NetReason::kSignalReturn);
  // With an unwind table, it need not be, and that begins a byte early.
  elf.frame(kText, kText + 10, 0, true);
  prepared = prepare(elf.build());
  EXPECT_EQ(prepared.sites[0].tactic, abi::kTacticWindowBefore);
  EXPECT_EQ(prepared.sites[0].window_begin, kText + 1);
}

TEST(Hazards, SignalTrampolineWithoutAnUnwinder) {
  // A static program: whoever unwinds in it is in it, and compares with these bytes (movabs, as in libgcc).
  for (bool unwinder : {false, true}) {
    ElfBuilder elf;
    elf.type = ET_EXEC;
    for (int i = 0; i < 40; i++) elf.add({0x48, 0x89, 0xca, 0x4d, 0x89, 0xc8});
    u64 begin = elf.here();
    elf.add({0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, SYSCALL, 0x0f, 0x1f, 0, 0xc3});
    elf.function("restore", begin, elf.here());
    if (unwinder) elf.add({0x48, 0xb8, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05, 0xc3});
    elf.pad(0x200);
    elf.frame(kText, kText + 6);
    Prepared prepared = prepare(elf.build());
    ASSERT_GE(prepared.sites.size(), 1u);
    EXPECT_EQ(prepared.sites[0].reason, unwinder ? NetReason::kSignalReturn : NetReason::kNone);
  }
}

TEST(Hazards, FunctionThatEndsBeforeItsCall) {
  // glibc's clone: its FDE ends before the syscall, so that unwinding stops there.
  ElfBuilder elf;
  elf.add({0x48, 0x89, 0xc8, 0x4c, 0x89, 0xc2, 0xb8, 56, 0, 0, 0})
      .add({SYSCALL, 0x48, 0x85, 0xc0, 0x7c, 0x01, 0xc3, 0xc3});
  ElfBuilder longer;
  for (int i = 0; i < 30; i++) longer.add({0x48, 0x89, 0xc8, 0x90});
  longer.text.insert(longer.text.end(), elf.text.begin(), elf.text.end());
  longer.frame(kText, kText + 120 + 11);
  EXPECT_EQ(tactic_of(longer.build()), "window before");
}

TEST(Hazards, DataInText) {
  // Constants behind a function: they decode, and hold the bytes of a syscall, but load no number.
  ElfBuilder elf;
  elf.add({0xc3});
  elf.function("function", kText, elf.here());
  for (int i = 0; i < 20; i++) elf.add({0x01, 0x02, 0x03, 0x0c, 0x05, 0x06, 0x07, 0x08});
  elf.add({SYSCALL, 0x01, 0x02, 0x03, 0x04, 0x05}).pad(400, 0x02);
  EXPECT_EQ(prepare(elf.build()).status, abi::kPreparedNoSites);
}

TEST(Hazards, BytesInsideAnotherInstruction) {
  Prepared prepared = prepare_text({0xb8, SYSCALL, 0, 0, 0xc3});  // mov $0x50f, %eax
  EXPECT_EQ(prepared.status, abi::kPreparedNoSites);
}

TEST(Hazards, WritableText) {
  ElfBuilder elf = only_before();
  elf.text_flags |= PF_W;
  Prepared prepared = prepare(elf.build());
  EXPECT_EQ(prepared.status, abi::kPreparedNetOnly);
  EXPECT_EQ(prepared.sites[0].reason, NetReason::kWritable);
}

TEST(Hazards, SiteAcrossTwoPages) {
  ElfBuilder elf;
  elf.pad(kPageSize - 6, 0x90).add({MOV_NUMBER, SYSCALL, 0xc3});
  elf.function("function", kText + kPageSize - 6, elf.here());
  Prepared prepared = prepare(elf.build());
  ASSERT_EQ(prepared.patches.size(), 1u);
  EXPECT_EQ(prepared.patches[0].address, kText + kPageSize - 6);
  elf = ElfBuilder();
  elf.pad(kPageSize - 1, 0x90).add({SYSCALL, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0xc3});
  elf.function("function", kText + kPageSize - 1, elf.here());
  prepared = prepare(elf.build());
  ASSERT_EQ(prepared.sites[0].tactic, abi::kTacticWindowAfter);
  EXPECT_EQ(prepared.patches[0].bytes.size(), 8u);  // one patch over both pages
}

TEST(Hazards, NewBytesNeverSpellASyscall) {
  // The jump from here to the block would be e9 0f 05 00 00.
  ElfBuilder elf;
  elf.pad(kPageSize - 5 - 0x50f, 0x90);
  u64 begin = elf.here();
  elf.add({MOV_NUMBER, SYSCALL, 0xc3});
  elf.function("function", begin, elf.here());
  elf.pad(kPageSize);
  Prepared prepared = prepare(elf.build());
  ASSERT_EQ(prepared.status, abi::kPreparedPatched);
  EXPECT_THAT(prepared.patches[0].bytes, ElementsAre(0xe9, 0x10, 0x05, 0, 0));
  EXPECT_EQ(prepared.trampolines[0], 0xcc);
  auto blob = prepared.serialise();
  auto view = abi::PreparedView::create(blob);
  EXPECT_EQ(view->guest_for(kBlock - kText)->kind, abi::kPcFiller);
}

}  // namespace
}  // namespace teacup::rewrite
