// The kernel's own memcpy and memmove (kernel/base/memory.cc), under other names: every length that has a way
// of its own, every distance of two that overlap.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

extern "C" {
void* kernel_memcpy(void* to, const void* from, std::size_t size) noexcept;
void* kernel_memmove(void* to, const void* from, std::size_t size) noexcept;
}

namespace {

std::vector<unsigned char> pattern(std::size_t size) {
  std::vector<unsigned char> bytes(size);
  for (std::size_t i = 0; i < size; i++) bytes[i] = static_cast<unsigned char>(i * 31 + i / 251);
  return bytes;
}

TEST(KernelMemory, CopiesAnyLengthAndNothingElse) {
  const auto from = pattern(2100);
  for (std::size_t size = 0; size < 2000; size += size < 600 ? 1 : 61) {
    for (std::size_t at : {0, 1, 8, 31, 48, 64}) {
      std::vector<unsigned char> to(2200, 0xee), expected(2200, 0xee);
      std::copy_n(from.begin() + 5, size, expected.begin() + static_cast<long>(at));
      EXPECT_EQ(kernel_memcpy(to.data() + at, from.data() + 5, size), to.data() + at);
      ASSERT_EQ(to, expected) << size << " bytes at " << at;
    }
  }
}

TEST(KernelMemory, MovesWhatOverlapsEitherWay) {
  for (std::size_t size = 0; size < 1500; size += size < 300 ? 7 : 97) {
    for (long distance :
         {-700, -513, -65, -64, -33, -32, -8, -1, 0, 1, 7, 8, 31, 32, 33, 63, 64, 72, 500, 513, 700}) {
      const long source = 750;
      const auto whole = pattern(3000);
      auto bytes = whole, expected = whole;
      for (std::size_t i = 0; i < size; i++) {
        expected[static_cast<std::size_t>(source + distance) + i] =
            whole[static_cast<std::size_t>(source) + i];
      }
      unsigned char* to = bytes.data() + source + distance;
      EXPECT_EQ(kernel_memmove(to, bytes.data() + source, size), to);
      ASSERT_EQ(bytes, expected) << size << " bytes by " << distance;
    }
  }
}

}  // namespace
