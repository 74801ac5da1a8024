// Integer names and page arithmetic used everywhere.
#pragma once

#include <cstddef>
#include <cstdint>

namespace teacup {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s8 = std::int8_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;
using std::size_t;

inline constexpr size_t kPageShift = 12;
inline constexpr size_t kPageSize = size_t{1} << kPageShift;
inline constexpr u64 KiB = 1024;
inline constexpr u64 MiB = 1024 * KiB;
inline constexpr u64 GiB = 1024 * MiB;
inline constexpr u64 TiB = 1024 * GiB;

// `align` must be a power of two.
constexpr u64 align_up(u64 value, u64 align) {
  return (value + align - 1) & ~(align - 1);
}
constexpr u64 align_down(u64 value, u64 align) {
  return value & ~(align - 1);
}
constexpr bool is_aligned(u64 value, u64 align) {
  return (value & (align - 1)) == 0;
}
constexpr u64 page_up(u64 value) {
  return align_up(value, kPageSize);
}
constexpr u64 page_down(u64 value) {
  return align_down(value, kPageSize);
}

}  // namespace teacup
