// Reads the numbers of DWARF's tables out of bytes that may be hostile.
#pragma once

#include "rewrite/elf_object.h"

namespace teacup::rewrite {

// DWARF pointer encodings (LSB 5, 10.5).
inline constexpr u8 kOmit = 0xff;
inline constexpr u8 kFormatMask = 0x0f;
inline constexpr u8 kApplicationMask = 0x70;
inline constexpr u8 kPcRelative = 0x10;
inline constexpr u8 kDataRelative = 0x30;
inline constexpr u8 kIndirect = 0x80;

// Reads on; after the end of the bytes, zeros and `failed`.
class DwarfReader {
 public:
  DwarfReader(Bytes bytes, u64 address) : bytes_(bytes), address_(address) {}

  template <typename T>
  T get() {
    std::optional<T> value = load<T>(bytes_, at_);
    if (!value) failed = true;
    at_ += sizeof(T);
    return value.value_or(T{});
  }
  u64 uleb() {
    u64 value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      u8 byte = get<u8>();
      value |= u64{byte & 0x7fu} << shift;
      if (!(byte & 0x80)) break;
    }
    return value;
  }
  s64 sleb() {
    u64 value = 0;
    unsigned shift = 0;
    u8 byte = 0x80;
    for (; shift < 64 && (byte & 0x80); shift += 7) {
      byte = get<u8>();
      value |= u64{byte & 0x7fu} << shift;
    }
    if (shift < 64 && (byte & 0x40)) value |= ~u64{0} << shift;
    return static_cast<s64>(value);
  }
  void skip(u64 count) { at_ = count > bytes_.size() ? bytes_.size() + 1 : at_ + count; }
  u64 address() const { return address_ + at_; }
  u64 at() const { return at_; }

  // A value in a pointer encoding; `data_base` is what data-relative ones count from. Indirect ones are not
  // followed.
  u64 pointer(u8 encoding, u64 data_base = 0) {
    if (encoding == kOmit) return 0;
    u64 here = address();
    u64 value = 0;
    switch (encoding & kFormatMask) {
      case 0x00:
      case 0x04:
      case 0x0c:
        value = get<u64>();
        break;
      case 0x01:
        value = uleb();
        break;
      case 0x02:
        value = get<u16>();
        break;
      case 0x03:
        value = get<u32>();
        break;
      case 0x0a:
        value = static_cast<u64>(s64{get<s16>()});
        break;
      case 0x0b:
        value = static_cast<u64>(s64{get<s32>()});
        break;
      default:
        failed = true;
        return 0;
    }
    if (value == 0) return 0;
    switch (encoding & kApplicationMask) {
      case 0:
        return value;
      case kPcRelative:
        return value + here;
      case kDataRelative:
        return value + data_base;
      default:
        failed = true;
        return 0;
    }
  }

  bool failed = false;

 private:
  Bytes bytes_;
  u64 address_;
  u64 at_ = 0;
};

}  // namespace teacup::rewrite
