// Text without a libc: appends to a caller's buffer, always NUL-terminated, silently cut at its end (full()
// tells).
#pragma once

#include <span>
#include <string_view>

#include "kernel/base/types.h"

namespace teacup {

class TextBuffer {
 public:
  explicit TextBuffer(std::span<char> storage) : storage_(storage) {
    if (!storage_.empty()) storage_[0] = '\0';
  }

  TextBuffer& add(std::string_view text);
  TextBuffer& add(char c) { return add(std::string_view(&c, 1)); }
  TextBuffer& dec(s64 value);
  TextBuffer& udec(u64 value, int width = 0, char pad = ' ');
  TextBuffer& hex(u64 value, int width = 0);  // lower case, zero padded to width, no 0x
  TextBuffer& oct(u64 value, int width = 0);
  TextBuffer& pad_to(size_t column, char pad = ' ');

  std::string_view text() const { return {storage_.data(), length_}; }
  size_t length() const { return length_; }
  bool full() const { return full_; }
  void clear() {
    cut(0);
    full_ = false;
  }
  // Back to an earlier length.
  void cut(size_t length) {
    if (length < length_) full_ = false;
    length_ = length;
    if (!storage_.empty()) storage_[length] = '\0';
  }

 private:
  TextBuffer& number(u64 value, unsigned base, int width, char pad);

  std::span<char> storage_;
  size_t length_ = 0;
  bool full_ = false;
};

}  // namespace teacup
