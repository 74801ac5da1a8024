#include "kernel/base/format.h"

#include "kernel/base/memory.h"

namespace teacup {

TextBuffer& TextBuffer::add(std::string_view text) {
  size_t room = storage_.empty() ? 0 : storage_.size() - 1 - length_;
  size_t count = text.size();
  if (count > room) {
    count = room;
    full_ = true;
  }
  memcpy(storage_.data() + length_, text.data(), count);
  length_ += count;
  if (!storage_.empty()) storage_[length_] = '\0';
  return *this;
}

TextBuffer& TextBuffer::number(u64 value, unsigned base, int width, char pad) {
  char digits[66];
  size_t at = sizeof digits;
  do {
    digits[--at] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value != 0);
  for (int count = static_cast<int>(sizeof digits - at); count < width; count++) add(pad);
  return add(std::string_view(digits + at, sizeof digits - at));
}

TextBuffer& TextBuffer::dec(s64 value) {
  if (value < 0) {
    add('-');
    return number(-static_cast<u64>(value), 10, 0, ' ');
  }
  return number(static_cast<u64>(value), 10, 0, ' ');
}
TextBuffer& TextBuffer::udec(u64 value, int width, char pad) {
  return number(value, 10, width, pad);
}
TextBuffer& TextBuffer::hex(u64 value, int width) {
  return number(value, 16, width, '0');
}
TextBuffer& TextBuffer::oct(u64 value, int width) {
  return number(value, 8, width, '0');
}

TextBuffer& TextBuffer::pad_to(size_t column, char pad) {
  while (length_ < column && !full_) add(pad);
  return *this;
}

}  // namespace teacup
