// Random functions with system calls in them, and their execution, for tests that compare patched code with
// what it was before.
#pragma once

#include <random>
#include <vector>

#include "tests/unit/rewrite/elf_builder.h"

namespace teacup::test {

// A function at kText that may be run with any registers: it makes only calls whose numbers do not exist,
// reads and writes only its data page and its red zone, terminates, and does not depend on rcx and r11 after
// a call.
struct Snippet {
  std::vector<std::byte> file;
  std::vector<u64> instructions;  // addresses
  std::vector<u64> sites;
  u64 data = 0;  // address of the data page
};
Snippet random_snippet(std::mt19937& random);

// Registers in the order rax rbx rcx rdx rsi rdi rbp r8..r15, then the flags.
struct Registers {
  u64 general[15] = {};
  u64 flags = 0;
};
inline constexpr int kRcx = 2;
inline constexpr int kR11 = 10;

// A loaded snippet, in memory that may be written and executed, with room for trampolines.
class Memory {
 public:
  explicit Memory(const std::vector<std::byte>& file);
  ~Memory();
  u8* at(u64 address) { return base_ + address; }
  void restore();  // as it was loaded

 private:
  static constexpr size_t kSize = 16 * kPageSize;
  std::vector<std::byte> file_;
  u8* base_;
};

struct Outcome {
  Registers registers;
  std::vector<u8> data;
  std::vector<u64> trace;  // addresses of all instructions executed in the memory, if asked for
};

// Calls `entry` with `registers`; `jmp *%gs:8` performs a real system call. With `restart_at`, the first one
// does not, but continues there, as a call does that a signal restarts.
Outcome run(Memory& memory, u64 entry, const Registers& registers, u64 data, bool trace = false,
            u64 restart_at = 0);

}  // namespace teacup::test
