// Large pieces by `rep movsb`: on every processor since Ivy Bridge it is microcoded to copy by cache lines
// (ERMS), and it is the only wide copy that leaves the guest's vector registers alone. But it takes 30 to 100
// cycles to begin, the more so where source and target lie unlike in their cache lines (Zen 5: 9.5 ns for 128
// bytes where they lie alike, 23.5 else, 3.4 by words; 256: 10, 24, 6; 1024: 13, 27, 18 to 26), and backwards
// it goes byte by byte. So small pieces, which are most of them, go by words that overlap, those of some
// hundred bytes by loops of words, and so does what has to be moved upwards: a mapping that is put among 40
// others moves 3 KB.
#ifndef TEACUP_HOSTED
#include "kernel/base/memory.h"

#include "kernel/base/types.h"

namespace {

constexpr std::size_t kByWords = 64;   // up to so many bytes
constexpr std::size_t kByLoops = 512;  // up to so many
constexpr std::size_t kStep = 32;      // bytes in each turn

template <typename Word>
Word load(const void* from, std::size_t at) {
  Word word;
  __builtin_memcpy(&word, static_cast<const char*>(from) + at, sizeof word);
  return word;
}
template <typename Word>
void store(void* to, std::size_t at, Word word) {
  __builtin_memcpy(static_cast<char*>(to) + at, &word, sizeof word);
}

// All is loaded before anything is stored: the two may overlap.
void copy_small(void* to, const void* from, std::size_t size) {
  using teacup::u16;
  using teacup::u32;
  using teacup::u64;
  if (size >= 8) {
    u64 last = load<u64>(from, size - 8);
    if (size <= 16) {
      u64 first = load<u64>(from, 0);
      store(to, 0, first);
      store(to, size - 8, last);
      return;
    }
    u64 a = load<u64>(from, 0);
    u64 b = load<u64>(from, 8);
    u64 y = load<u64>(from, size - 16);
    if (size > 32) {
      u64 c = load<u64>(from, 16);
      u64 d = load<u64>(from, 24);
      u64 w = load<u64>(from, size - 32);
      u64 x = load<u64>(from, size - 24);
      store(to, 16, c);
      store(to, 24, d);
      store(to, size - 32, w);
      store(to, size - 24, x);
    }
    store(to, 0, a);
    store(to, 8, b);
    store(to, size - 16, y);
    store(to, size - 8, last);
  } else if (size >= 4) {
    u32 first = load<u32>(from, 0);
    u32 last = load<u32>(from, size - 4);
    store(to, 0, first);
    store(to, size - 4, last);
  } else if (size >= 2) {
    u16 first = load<u16>(from, 0);
    u16 last = load<u16>(from, size - 2);
    store(to, 0, first);
    store(to, size - 2, last);
  } else if (size == 1) {
    store(to, 0, load<char>(from, 0));
  }
}

void copy_step(void* to, const void* from, std::size_t at) {
  using teacup::u64;
  u64 a = load<u64>(from, at);
  u64 b = load<u64>(from, at + 8);
  u64 c = load<u64>(from, at + 16);
  u64 d = load<u64>(from, at + 24);
  asm volatile("" : : : "memory");  // or the compiler makes a call of memcpy of the loop
  store(to, at, a);
  store(to, at + 8, b);
  store(to, at + 16, c);
  store(to, at + 24, d);
}

// The target may overlap the source from below.
void copy_upwards(void* to, const void* from, std::size_t size) {
  std::size_t at = 0;
  for (; size - at > kByWords; at += kStep) copy_step(to, from, at);
  copy_small(static_cast<char*>(to) + at, static_cast<const char*>(from) + at, size - at);
}

// From above.
void copy_downwards(void* to, const void* from, std::size_t size) {
  while (size > kByWords) copy_step(to, from, size -= kStep);
  copy_small(to, from, size);
}

}  // namespace

extern "C" {

void* memcpy(void* to, const void* from, std::size_t size) noexcept {
  if (size <= kByWords) {
    copy_small(to, from, size);
    return to;
  }
  if (size <= kByLoops) {
    copy_upwards(to, from, size);
    return to;
  }
  void* start = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
  return start;
}

void* memmove(void* to, const void* from, std::size_t size) noexcept {
  auto* target = static_cast<char*>(to);
  const auto* source = static_cast<const char*>(from);
  if (size <= kByWords || target <= source || target >= source + size) return memcpy(to, from, size);
  copy_downwards(to, from, size);
  return to;
}

void* memset(void* to, int byte, std::size_t size) noexcept {
  void* start = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
  return start;
}

int memcmp(const void* a, const void* b, std::size_t size) noexcept {
  std::size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    auto left = load<teacup::u64>(a, i);
    auto right = load<teacup::u64>(b, i);
    if (left != right) return __builtin_bswap64(left) < __builtin_bswap64(right) ? -1 : 1;
  }
  const auto* left = static_cast<const unsigned char*>(a);
  const auto* right = static_cast<const unsigned char*>(b);
  for (; i < size; i++) {
    if (left[i] != right[i]) return left[i] < right[i] ? -1 : 1;
  }
  return 0;
}

// Declared by <cstring> in two C++ overloads of one C function, so under its symbol's name only.
void* find_byte(const void* text, int byte, std::size_t size) noexcept __asm__("memchr");
void* find_byte(const void* text, int byte, std::size_t size) noexcept {
  const auto* bytes = static_cast<const unsigned char*>(text);
  for (std::size_t i = 0; i < size; i++) {
    if (bytes[i] == static_cast<unsigned char>(byte)) return const_cast<unsigned char*>(bytes + i);
  }
  return nullptr;
}

// libgcc's, for processors without POPCNT in the baseline.
int __popcountdi2(long value) noexcept {
  auto bits = static_cast<unsigned long>(value);
  bits -= bits >> 1 & 0x5555555555555555;
  bits = (bits & 0x3333333333333333) + (bits >> 2 & 0x3333333333333333);
  bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0f;
  return static_cast<int>(bits * 0x0101010101010101 >> 56);
}

std::size_t strlen(const char* text) noexcept {
  std::size_t length = 0;
  while (text[length] != '\0') length++;
  return length;
}

}  // extern "C"
#endif
