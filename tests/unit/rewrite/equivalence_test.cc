// Patched code does what it did before: random functions are run as they were and patched, and must leave the
// same registers, flags and memory, whether they run through, are entered in the middle of a window (as
// sigreturn does), or have a system call restarted. TEACUP_SNIPPETS=1000000 makes it a soak test, see
// scripts/soak.
#include <gmock/gmock.h>

#include <cstdlib>
#include <map>

#include "rewrite/prepare.h"
#include "tests/unit/rewrite/snippets.h"

namespace teacup::rewrite {
namespace {

using test::Memory;
using test::Outcome;
using test::Registers;
using test::Snippet;

unsigned snippets(unsigned usual) {
  const char* wanted = std::getenv("TEACUP_SNIPPETS");
  return wanted ? static_cast<unsigned>(std::atoi(wanted)) : usual;
}

// TEACUP_SEED makes other snippets of it each time.
unsigned seed(unsigned usual) {
  const char* wanted = std::getenv("TEACUP_SEED");
  return wanted ? usual + 16 * static_cast<unsigned>(std::atoi(wanted)) : usual;
}

Registers random_registers(std::mt19937& random) {
  constexpr u64 kArithmeticFlags = 0x8d5;
  Registers registers;
  for (u64& general : registers.general)
    general = random() % 3 ? (u64{random()} << 32 | random()) : random() % 4;
  registers.general[0] = 100000 + random() % 100000;
  registers.flags = 0x202 | (random() & kArithmeticFlags);
  return registers;
}

void apply(Memory& memory, const Prepared& prepared) {
  for (const TextPatch& patch : prepared.patches) {
    std::memcpy(memory.at(patch.address), patch.bytes.data(), patch.bytes.size());
  }
  std::memcpy(memory.at(prepared.trampoline_address), prepared.trampolines.data(),
              prepared.trampolines.size());
}

bool same(const Outcome& a, const Outcome& b) {
  return std::memcmp(&a.registers, &b.registers, sizeof a.registers) == 0 && a.data == b.data;
}

std::string hex(const Snippet& snippet) {
  std::string text = "site at";
  char byte[16];
  for (u64 site : snippet.sites) {
    std::snprintf(byte, sizeof byte, " %llx", static_cast<unsigned long long>(site));
    text += byte;
  }
  text += ":";
  for (u64 i = 0; i < 400; i++) {
    std::snprintf(byte, sizeof byte, " %02x", static_cast<unsigned>(snippet.file[test::kText + i]));
    text += byte;
  }
  return text;
}

TEST(Equivalence, RunsAsBefore) {
  std::mt19937 random(seed(1));
  std::map<std::string, unsigned> tactics;
  for (unsigned i = 0; i < snippets(4000); i++) {
    Snippet snippet = test::random_snippet(random);
    Prepared prepared = prepare(snippet.file);
    for (const Site& site : prepared.sites) tactics[tactic_name(site.tactic)]++;
    EXPECT_EQ(prepared.sites.size(), snippet.sites.size());
    Memory memory(snippet.file);
    Registers registers = random_registers(random);
    Outcome before = test::run(memory, test::kText, registers, snippet.data);
    memory.restore();
    apply(memory, prepared);
    Outcome after = test::run(memory, test::kText, registers, snippet.data);
    ASSERT_TRUE(same(before, after)) << i << ' ' << hex(snippet);
  }
  for (const char* tactic : {"window before", "short jump", "window after", "window around", "evict"}) {
    EXPECT_GT(tactics[tactic], 0u) << tactic << " was never tried";
  }
  for (const auto& [tactic, count] : tactics) std::printf("  %-14s %u\n", tactic.c_str(), count);
}

Bytes original(const Snippet& snippet, u64 address) {
  return Bytes(reinterpret_cast<const u8*>(&snippet.file[address]), isa::kLongestInstruction);
}

TEST(Equivalence, MayBeEnteredAnywhere) {
  Instruction in;
  std::mt19937 random(seed(2));
  for (unsigned i = 0; i < snippets(1500); i++) {
    Snippet snippet = test::random_snippet(random);
    Prepared prepared = prepare(snippet.file);
    std::vector<std::byte> blob = prepared.serialise();
    auto view = abi::PreparedView::create(blob);
    ASSERT_TRUE(view);
    Memory memory(snippet.file);
    for (u64 address : snippet.instructions) {
      Registers registers = random_registers(random);
      memory.restore();
      // A switch that is entered behind its bounds check jumps anywhere.
      registers.general[8] = registers.general[7] = 0;
      bool in_switch =
          memory.at(address)[0] == 0x4f || memory.at(address)[0] == 0x4d || memory.at(address)[0] == 0x41;
      if (in_switch) continue;
      Outcome before = test::run(memory, address, registers, snippet.data);
      memory.restore();
      apply(memory, prepared);
      const abi::PreparedPc* pc = view->actual_for(address - prepared.base);
      // A nop behind a jump to which nothing leads is padding, and may hold a long jump now.
      if (!pc && isa::decode(original(snippet, address), address, in) && in.no_operation &&
          std::memcmp(memory.at(address), &snippet.file[address], in.length) != 0) {
        continue;
      }
      Outcome after = test::run(memory, pc ? pc->actual + prepared.base : address, registers, snippet.data);
      ASSERT_TRUE(same(before, after)) << i << " from " << std::hex << address << ' ' << hex(snippet);
    }
  }
}

TEST(Equivalence, RestartedCallsExecuteNothingTwice) {
  std::mt19937 random(seed(3));
  for (unsigned i = 0; i < snippets(1500); i++) {
    Snippet snippet = test::random_snippet(random);
    Prepared prepared = prepare(snippet.file);
    if (prepared.sites.size() != 1 || prepared.sites[0].tactic == abi::kTacticNet) continue;
    std::vector<std::byte> blob = prepared.serialise();
    auto view = abi::PreparedView::create(blob);
    ASSERT_TRUE(view);
    const abi::PreparedPc* again = view->actual_for(snippet.sites[0] - prepared.base);
    ASSERT_NE(again, nullptr);
    Memory memory(snippet.file);
    Registers registers = random_registers(random);
    Outcome before = test::run(memory, test::kText, registers, snippet.data);
    memory.restore();
    apply(memory, prepared);
    Outcome after =
        test::run(memory, test::kText, registers, snippet.data, false, again->actual + prepared.base);
    ASSERT_TRUE(same(before, after)) << i << ' ' << hex(snippet);
  }
}

// Without repetitions, and without what follows a system call: there a processor steps two instructions at
// once.
std::vector<u64> tidy(const std::vector<u64>& trace, const std::vector<u64>& sites) {
  std::vector<u64> tidied;
  for (u64 pc : trace) {
    bool behind_call = std::find(sites.begin(), sites.end(), pc - 2) != sites.end();
    if (!behind_call && (tidied.empty() || tidied.back() != pc)) tidied.push_back(pc);
  }
  return tidied;
}

// Steps through both instruction by instruction: with every program counter translated, the patched function
// seems to execute what the original does.
TEST(Equivalence, TheGuestSeesItsOwnProgramCounters) {
  std::mt19937 random(seed(4));
  for (unsigned i = 0; i < snippets(400); i++) {
    Snippet snippet = test::random_snippet(random);
    Prepared prepared = prepare(snippet.file);
    std::vector<std::byte> blob = prepared.serialise();
    auto view = abi::PreparedView::create(blob);
    ASSERT_TRUE(view);
    Memory memory(snippet.file);
    Registers registers = random_registers(random);
    std::vector<u64> before = test::run(memory, test::kText, registers, snippet.data, true).trace;
    memory.restore();
    apply(memory, prepared);
    std::vector<u64> after = test::run(memory, test::kText, registers, snippet.data, true).trace;
    for (u64& pc : after) {
      if (const abi::PreparedPc* guest = view->guest_for(pc - prepared.base))
        pc = guest->guest + prepared.base;
      EXPECT_LT(pc, prepared.trampoline_address ? prepared.trampoline_address : ~0ull);
    }
    ASSERT_EQ(tidy(before, snippet.sites), tidy(after, snippet.sites)) << i << ' ' << hex(snippet);
  }
}

}  // namespace
}  // namespace teacup::rewrite
