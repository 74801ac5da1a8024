// memcpy and its kin for code without a libc. The compiler may call them by their C names, so they have
// those.
#pragma once

#include <cstddef>

extern "C" {
void* memcpy(void* to, const void* from, std::size_t size) noexcept;
void* memmove(void* to, const void* from, std::size_t size) noexcept;
void* memset(void* to, int byte, std::size_t size) noexcept;
int memcmp(const void* a, const void* b, std::size_t size) noexcept;
std::size_t strlen(const char* text) noexcept;
}
