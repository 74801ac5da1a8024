#include "kernel/uaccess/guest.h"

#include <algorithm>
#include <tuple>

#include "kernel/base/memory.h"

namespace teacup {

namespace {

bool is_allowed(u64 address, u64 size) {
#ifdef TEACUP_HOSTED
  return address != 0 && address + size >= address;  // unit tests pass their own memory
#else
  return is_guest_range(address, size);
#endif
}

void* pointer(u64 address) {
  return reinterpret_cast<void*>(address);
}

constexpr size_t kPageMask = kPageSize - 1;

// Where the first NUL is; `size` if there is none.
size_t end_of_string(const char* text, size_t size) {
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    u64 word;
    __builtin_memcpy(&word, text + i, 8);
    u64 zeros = (word - 0x0101010101010101) & ~word & 0x8080808080808080;
    if (zeros != 0) return i + static_cast<size_t>(__builtin_ctzll(zeros)) / 8;
  }
  while (i < size && text[i] != '\0') i++;
  return i;
}

}  // namespace

Result<void> copy_from_guest(void* to, u64 from, size_t size) {
  if (!is_allowed(from, size) || guest_copy_raw(to, pointer(from), size) != 0) return Errno::FAULT;
  return {};
}

Result<void> copy_to_guest(u64 to, const void* from, size_t size) {
  if (!is_allowed(to, size) || guest_copy_raw(pointer(to), from, size) != 0) return Errno::FAULT;
  return {};
}

Result<void> zero_guest(u64 to, size_t size) {
  if (!is_allowed(to, size) || guest_zero_raw(pointer(to), size) != 0) return Errno::FAULT;
  return {};
}

Result<size_t> copy_from_guest_partly(void* to, u64 from, size_t size) {
  if (!is_allowed(from, size)) return Errno::FAULT;
  size_t left = guest_copy_raw(to, pointer(from), size);
  if (left == size && size > 0) return Errno::FAULT;
  return size - left;
}

Result<size_t> copy_to_guest_partly(u64 to, const void* from, size_t size) {
  if (!is_allowed(to, size)) return Errno::FAULT;
  size_t left = guest_copy_raw(pointer(to), from, size);
  if (left == size && size > 0) return Errno::FAULT;
  return size - left;
}

Result<std::string_view> GuestString::read(std::span<char> into) const {
  // By pieces that end at page boundaries: the string may end just before unmapped memory. Most paths are
  // short.
  size_t length = 0;
  while (length < into.size()) {
    u64 at = address_ + length;
    size_t most = length == 0 ? 64 : 256;
    size_t piece = std::min<size_t>({kPageSize - (at & kPageMask), into.size() - length, most});
    size_t copied = TRY(copy_from_guest_partly(into.data() + length, at, piece));
    size_t end = length + end_of_string(into.data() + length, copied);
    if (end < length + copied) return std::string_view(into.data(), end);
    if (copied < piece) return Errno::FAULT;
    length += copied;
  }
  return Errno::NAMETOOLONG;
}

namespace {

size_t total(const abi::IoVec* pieces, size_t count) {
  size_t sum = 0;
  for (size_t i = 0; i < count; i++) sum += pieces[i].length;
  return sum;
}

// Walks the pieces for `size` bytes, calling copy(address, count, so_far) -> bytes copied; stops at the first
// shortfall.
template <typename Copy>
size_t walk(const abi::IoVec*& pieces, size_t& count, size_t& offset, size_t size, Copy copy) {
  size_t done = 0;
  while (done < size && count > 0) {
    size_t room = pieces->length - offset;
    if (room == 0) {
      pieces++;
      count--;
      offset = 0;
      continue;
    }
    size_t piece = std::min(room, size - done);
    size_t copied = copy(pieces->base + offset, piece, done);
    offset += copied;
    done += copied;
    if (copied < piece) break;
  }
  return done;
}

}  // namespace

IoDest::IoDest(const abi::IoVec* pieces, size_t count)
    : pieces_(pieces), count_(count), remaining_(total(pieces, count)) {}
IoDest::IoDest(std::span<std::byte> kernel_memory)
    : IoDest(reinterpret_cast<u64>(kernel_memory.data()), kernel_memory.size()) {
  kernel_ = true;
}
IoSource::IoSource(const abi::IoVec* pieces, size_t count)
    : pieces_(pieces), count_(count), remaining_(total(pieces, count)) {}
IoSource::IoSource(std::span<const std::byte> kernel_memory)
    : IoSource(reinterpret_cast<u64>(kernel_memory.data()), kernel_memory.size()) {
  kernel_ = true;
}

template <typename Copy>
Result<size_t> IoDest::advance(size_t size, Copy copy) {
  size = std::min(size, remaining_);
  size_t copied = walk(pieces_, count_, offset_, size, copy);
  remaining_ -= copied;
  done_ += copied;
  if (copied == 0 && size > 0) return Errno::FAULT;
  return copied;
}

Result<size_t> IoDest::put(const void* data, size_t size) {
  return advance(size, [&](u64 address, size_t count, size_t so_far) {
    const void* from = static_cast<const char*>(data) + so_far;
    if (kernel_) {
      memcpy(pointer(address), from, count);
      return count;
    }
    if (!is_allowed(address, count)) return size_t{0};
    return count - guest_copy_raw(pointer(address), from, count);
  });
}

Result<size_t> IoDest::put_zeros(size_t size) {
  return advance(size, [&](u64 address, size_t count, size_t) {
    if (kernel_) {
      memset(pointer(address), 0, count);
      return count;
    }
    if (!is_allowed(address, count)) return size_t{0};
    return count - guest_zero_raw(pointer(address), count);
  });
}

void IoDest::skip(size_t size) {
  (void)advance(size, [](u64, size_t count, size_t) { return count; });
}

Result<size_t> IoSource::take(void* into, size_t size) {
  size = std::min(size, remaining_);
  size_t copied = walk(pieces_, count_, offset_, size, [&](u64 address, size_t count, size_t so_far) {
    void* to = static_cast<char*>(into) + so_far;
    if (kernel_) {
      memcpy(to, pointer(address), count);
      return count;
    }
    if (!is_allowed(address, count)) return size_t{0};
    return count - guest_copy_raw(to, pointer(address), count);
  });
  remaining_ -= copied;
  done_ += copied;
  if (copied == 0 && size > 0) return Errno::FAULT;
  return copied;
}

Result<size_t> IoSource::peek(void* into, size_t size) {
  auto [pieces, count, offset, remaining, done] = std::tuple(pieces_, count_, offset_, remaining_, done_);
  auto result = take(into, size);
  std::tie(pieces_, count_, offset_, remaining_, done_) = std::tuple(pieces, count, offset, remaining, done);
  return result;
}

}  // namespace teacup
