// `rep movsb` throughout: on every processor since Ivy Bridge it is microcoded to copy by cache lines (ERMS),
// and it is the only wide copy that leaves the guest's vector registers alone.
#ifndef TEACUP_HOSTED
#include "kernel/base/memory.h"

extern "C" {

void* memcpy(void* to, const void* from, std::size_t size) noexcept {
  void* start = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
  return start;
}

void* memmove(void* to, const void* from, std::size_t size) noexcept {
  auto* target = static_cast<char*>(to);
  const auto* source = static_cast<const char*>(from);
  if (target <= source || target >= source + size) return memcpy(to, from, size);
  void* last_to = target + size - 1;
  const void* last_from = source + size - 1;
  asm volatile("std\n rep movsb\n cld" : "+D"(last_to), "+S"(last_from), "+c"(size) : : "memory");
  return to;
}

void* memset(void* to, int byte, std::size_t size) noexcept {
  void* start = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
  return start;
}

int memcmp(const void* a, const void* b, std::size_t size) noexcept {
  const auto* left = static_cast<const unsigned char*>(a);
  const auto* right = static_cast<const unsigned char*>(b);
  for (std::size_t i = 0; i < size; i++) {
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
