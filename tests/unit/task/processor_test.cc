// The table that answers cpuid, against the processor's own answers.
#include "kernel/task/processor.h"

#include <cpuid.h>
#include <gtest/gtest.h>

#include "tests/unit/support/machine.h"

namespace teacup {
namespace {

class ProcessorTest : public testing::Test {
 protected:
  ProcessorTest() { processor_start(); }

  TestMachine machine_;
};

TEST_F(ProcessorTest, SaysWhatTheProcessorSays) {
  for (u32 leaf : {0u, 2u, 4u, 7u, 0xdu, 0x80000000u, 0x80000001u, 0x80000002u, 0x80000008u}) {
    for (u32 subleaf = 0; subleaf < 3; subleaf++) {
      CpuidResult mine = cpuid(leaf, subleaf), theirs{};
      __cpuid_count(leaf, subleaf, theirs.eax, theirs.ebx, theirs.ecx, theirs.edx);
      EXPECT_EQ(mine.eax, theirs.eax) << std::hex << leaf << ' ' << subleaf;
      EXPECT_EQ(mine.ebx, theirs.ebx) << std::hex << leaf << ' ' << subleaf;
      EXPECT_EQ(mine.ecx, theirs.ecx) << std::hex << leaf << ' ' << subleaf;
      EXPECT_EQ(mine.edx, theirs.edx) << std::hex << leaf << ' ' << subleaf;
    }
  }
}

TEST_F(ProcessorTest, ApicIdsAreTheAskers) {
  for (u32 id : {0u, 1u, 5u}) {
    EXPECT_EQ(cpuid(1, 0, id).ebx >> 24, id);
    if (cpuid(0).eax >= 0xb) {
      EXPECT_EQ(cpuid(0xb, 0, id).edx, id);
      EXPECT_EQ(cpuid(0xb, 1, id).edx, id);
    }
  }
  EXPECT_EQ(cpuid(1, 0, 3).ebx & 0xffffff, cpuid(1, 0, 0).ebx & 0xffffff);
}

TEST_F(ProcessorTest, AnswersWhenItsTableIsFull) {
  for (u32 subleaf = 0; subleaf < 1000; subleaf++) (void)cpuid(7, subleaf);
  CpuidResult theirs{};
  __cpuid_count(7, 0, theirs.eax, theirs.ebx, theirs.ecx, theirs.edx);
  EXPECT_EQ(cpuid(7, 0).ebx, theirs.ebx);
  __cpuid_count(0xd, 1, theirs.eax, theirs.ebx, theirs.ecx, theirs.edx);
  EXPECT_EQ(cpuid(0xd, 1).eax, theirs.eax);
}

}  // namespace
}  // namespace teacup
