// Problem: compressed images are read by the kernel itself, whose code has no libc, no vector registers and
// no trust in its input, and decoding is all that such a read costs. Choice: what makes LZ4 decoders fast
// holds with 64-bit registers too: most literals and matches are short, so copy 16 or 32 bytes whatever the
// length, where both buffers have that much room, and only the rare long or overlapping ones in a loop. (`rep
// movsb`, which our memcpy is, costs 30 cycles to start; it is for long stretches.)
//
// Every input byte is read once, by an atomic load: the image's owner on the host may change it under us.
#include "fs/lz4.h"

#include <algorithm>

#include "kernel/base/memory.h"

namespace teacup::fs {

namespace {

constexpr size_t kMinMatch = 4;
constexpr size_t kShort = 32;  // copied in one go
constexpr size_t kLong = 512;  // from here on memcpy() is as fast

inline void copy8(std::byte* to, const std::byte* from) {
  u64 word;
  __builtin_memcpy(&word, from, 8);
  __builtin_memcpy(to, &word, 8);
}

// In words, each read before the next is written: `from` may lie 8 bytes before `to`.
inline void copy32(std::byte* to, const std::byte* from) {
  copy8(to, from);
  copy8(to + 8, from + 8);
  copy8(to + 16, from + 16);
  copy8(to + 24, from + 24);
}

struct Input {
  const std::byte* at;
  const std::byte* end;

  size_t left() const { return static_cast<size_t>(end - at); }
  u32 byte() { return static_cast<u32>(*at++); }
  // The rest of a length whose first four bits were all ones. False: the input ends in it.
  bool more(size_t& length) {
    for (;;) {
      if (at == end) return false;
      u32 next = byte();
      length += next;
      if (next != 255) return true;
    }
  }
};

// `length` bytes that start `distance` before `to`, which may be less than `length`: then they repeat.
inline void copy_match(std::byte* to, size_t distance, size_t length, size_t room) {
  const std::byte* from = to - distance;
  if (distance >= 8 && length <= kShort && room >= kShort) {
    copy32(to, from);
    return;
  }
  if (distance >= 8 && length <= kLong && room >= length + 8) {
    for (size_t i = 0; i < length; i += 8) copy8(to + i, from + i);
    return;
  }
  // What was copied doubles what may be copied next.
  while (length > 0) {
    size_t count = std::min(length, static_cast<size_t>(to - from));
    if (count < 16) {
      for (size_t i = 0; i < count; i++) to[i] = from[i];
    } else {
      memcpy(to, from, count);
    }
    to += count;
    length -= count;
  }
}

}  // namespace

size_t lz4_decode(std::span<const std::byte> input, std::span<std::byte> output) {
  Input in{input.data(), input.data() + input.size()};
  std::byte* const start = output.data();
  std::byte* const end = start + output.size();
  std::byte* out = start;
  while (in.at < in.end && out < end) {
    u32 token = in.byte();
    size_t literals = token >> 4;
    if (literals == 15 && !in.more(literals)) break;
    size_t room = static_cast<size_t>(end - out);
    if (literals <= kShort && in.left() >= kShort && room >= kShort) {
      copy32(out, in.at);
    } else {
      literals = std::min(literals, room);
      if (literals > in.left()) break;
      if (literals > 0) memcpy(out, in.at, literals);
    }
    out += literals;
    in.at += literals;
    // The last sequence is literals only.
    if (out == end || in.left() < 2) break;
    size_t distance = in.byte();
    distance |= size_t{in.byte()} << 8;
    if (distance == 0 || distance > static_cast<size_t>(out - start)) break;
    size_t length = token & 15;
    if (length == 15 && !in.more(length)) break;
    room = static_cast<size_t>(end - out);
    length = std::min(length + kMinMatch, room);
    copy_match(out, distance, length, room);
    out += length;
  }
  return static_cast<size_t>(out - start);
}

}  // namespace teacup::fs
