#include "loader/arguments.h"

#include <algorithm>

#include "kernel/base/memory.h"

namespace teacup {

namespace {

constexpr u64 kMaxStringSize = 128 * KiB;  // MAX_ARG_STRLEN, with the NUL
constexpr u32 kMaxStrings = 0x7fffffff;    // MAX_ARG_STRINGS

// Bytes before the first NUL among `size`; size if there is none.
size_t find_end(const char* text, size_t size) {
  size_t end = 0;
  while (end < size && text[end] != '\0') end++;
  return end;
}

}  // namespace

class ArgumentCopier {
 public:
  static Result<void> copy(const StringSource& source, StringBlock& block) {
    for (std::string_view string : source.strings_) TRY(block.add(string));
    if (source.vector_ == 0) return {};
    GuestIn<u64> vector(source.vector_);
    for (size_t i = 0;; i++) {
      u64 address = TRY(vector.at(i));
      if (address == 0) return {};
      TRY(block.add_guest(address));
    }
  }
};

Result<void> StringBlock::reserve(u64 bytes) {
  u64 needed = size_ + bytes;
  if (needed <= block_.size()) return {};
  auto grown = TRY(HeapArray<char>::create(std::max<u64>({4000, needed, block_.size() * 2})));
  memcpy(grown.data(), block_.data(), block_.size());  // all of it: a string may have begun behind size_
  block_ = std::move(grown);
  return {};
}

Result<void> StringBlock::add(std::string_view string) {
  u64 size = string.size() + 1;
  if (size > kMaxStringSize || count_ >= kMaxStrings) return Errno::TOO_BIG;
  if (charged() + size + sizeof(u64) > limit_) return Errno::TOO_BIG;
  TRY(reserve(size));
  memcpy(block_.data() + size_, string.data(), string.size());
  block_[size_ + string.size()] = '\0';
  size_ += size;
  count_++;
  return {};
}

// By pieces that end at page boundaries: a string may end just before unmapped memory.
Result<void> StringBlock::add_guest(u64 address) {
  constexpr size_t kPiece = 512;
  u64 length = 0;
  for (;;) {
    u64 at = address + length;
    size_t piece = std::min<size_t>(kPiece, kPageSize - at % kPageSize);
    TRY(reserve(length + piece));
    char* to = block_.data() + size_ + length;
    size_t copied = TRY(copy_from_guest_partly(to, at, piece));
    size_t end = find_end(to, copied);
    length += end;
    if (length >= kMaxStringSize || charged() + length + 1 + sizeof(u64) > limit_) return Errno::TOO_BIG;
    if (end < copied) break;
    if (copied < piece) return Errno::FAULT;
  }
  size_ += length + 1;
  count_++;
  return {};
}

Result<void> StringBlock::add_all(const StringSource& source) {
  return ArgumentCopier::copy(source, *this);
}

Result<void> StringBlock::replace_first(std::span<const std::string_view> strings) {
  StringBlock changed(limit_);
  for (std::string_view string : strings) TRY(changed.add(string));
  u64 rest = count_ == 0 ? 0 : find_end(block_.data(), size_) + 1;
  u64 rest_size = size_ - rest;
  TRY(changed.reserve(rest_size));
  memcpy(changed.block_.data() + changed.size_, block_.data() + rest, rest_size);
  changed.size_ += rest_size;
  changed.count_ += count_ == 0 ? 0 : count_ - 1;
  if (changed.charged() > limit_) return Errno::TOO_BIG;
  block_ = std::move(changed.block_);
  size_ = changed.size_;
  count_ = changed.count_;
  return {};
}

}  // namespace teacup
