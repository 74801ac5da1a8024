// The strings of an execve: arguments and environment, copied out of the caller's memory and counted against
// the limits (execve(2), "Limits on size of arguments and environment").
#pragma once

#include "loader/program.h"

namespace teacup {

// Strings one after another, each with its NUL, in the heap.
class StringBlock {
 public:
  explicit StringBlock(u64 limit) : limit_(limit) {}

  u32 count() const { return count_; }
  u64 size() const { return size_; }
  const char* data() const { return block_.data(); }
  // E2BIG beyond the limit (each string also counts a pointer), EFAULT.
  Result<void> add(std::string_view string);
  Result<void> add_all(const StringSource& source);
  // Instead of the first string, or in front of all if there is none. For scripts.
  Result<void> replace_first(std::span<const std::string_view> strings);
  u64 charged() const { return size_ + count_ * sizeof(u64); }

 private:
  friend class ArgumentCopier;
  Result<void> reserve(u64 bytes);
  Result<void> add_guest(u64 address);

  HeapArray<char> block_;
  u64 size_ = 0;
  u32 count_ = 0;
  u64 limit_;  // of charged()
};

}  // namespace teacup
