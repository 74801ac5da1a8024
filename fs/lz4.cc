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
constexpr size_t kShort = 32;     // copied in one go
constexpr size_t kSequence = 48;  // more than a sequence without long lengths takes, or is copied for it
constexpr size_t kLong = 512;     // from here on memcpy() is as fast

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

// Where the bytes go: up to `end`, and then on in `rest`, if there is any, to whose start goes what was made
// behind `skipped` bytes. That must be a block's history at least.
struct Output {
  std::byte* start;
  std::byte* end;
  std::byte* at;
  size_t skipped = 0;
  std::span<std::byte> rest = {};

  size_t room() const { return static_cast<size_t>(end - at); }
  size_t made() const { return static_cast<size_t>(at - start); }
  // When `end` is reached. False: that was all.
  bool go_on() {
    if (rest.empty()) return false;
    const size_t known = made() - skipped;
    memcpy(rest.data(), start + skipped, known);
    start = rest.data();
    end = start + rest.size();
    at = start + known;
    skipped = 0;
    rest = {};
    return true;
  }
  // A literal or match of `length`, of which copy() takes a part, as often as it takes. False: no more.
  template <typename Copy>
  bool put(size_t length, Copy copy) {
    for (;;) {
      const size_t part = std::min(length, room());
      if (!copy(part)) return false;
      at += part;
      length -= part;
      if (length == 0) return true;
      if (!go_on()) return false;
    }
  }
};

// Up to the end of the output, or of what the input makes.
Output decode(Input in, Output out) {
  while (in.at < in.end) {
    if (out.at == out.end && !out.go_on()) return out;
    u32 token = in.byte();
    size_t literals = token >> 4;
    if (literals < 15 && (token & 15) < 15 && in.left() >= kSequence && out.room() >= kSequence) {
      // Most are so. 16 bytes and 24 whatever the lengths.
      copy8(out.at, in.at);
      copy8(out.at + 8, in.at + 8);
      out.at += literals;
      in.at += literals;
      size_t distance = in.byte();
      distance |= size_t{in.byte()} << 8;
      if (distance == 0 || distance > out.made()) return out;
      const size_t length = (token & 15) + kMinMatch;
      if (distance >= 8) {
        const std::byte* from = out.at - distance;
        copy8(out.at, from);
        copy8(out.at + 8, from + 8);
        copy8(out.at + 16, from + 16);
      } else {
        copy_match(out.at, distance, length, out.room());
      }
      out.at += length;
      continue;
    }
    if (literals == 15 && !in.more(literals)) return out;
    if (literals <= kShort && in.left() >= kShort && out.room() >= kShort) {
      copy32(out.at, in.at);
      out.at += literals;
      in.at += literals;
    } else {
      const bool good = out.put(literals, [&in, &out](size_t part) {
        if (part > in.left()) return false;
        if (part > 0) memcpy(out.at, in.at, part);
        in.at += part;
        return true;
      });
      if (!good) return out;
    }
    // The last sequence is literals only.
    if (in.left() < 2) return out;
    if (out.at == out.end && !out.go_on()) return out;
    size_t distance = in.byte();
    distance |= size_t{in.byte()} << 8;
    if (distance == 0 || distance > out.made()) return out;
    size_t length = token & 15;
    if (length == 15 && !in.more(length)) return out;
    const bool good = out.put(length + kMinMatch, [&out, distance](size_t part) {
      copy_match(out.at, distance, part, out.room());
      return true;
    });
    if (!good) return out;
  }
  return out;
}

}  // namespace

size_t lz4_decode(std::span<const std::byte> input, std::span<std::byte> output) {
  Output out{output.data(), output.data() + output.size(), output.data()};
  return decode({input.data(), input.data() + input.size()}, out).made();
}

// Only the history is needed of what lies before, so only that much is decoded elsewhere and copied: of
// extents of a megabyte, into memory of their own, the pages cost more than the decoding.
size_t lz4_decode_behind(std::span<const std::byte> input, size_t skipped, std::span<std::byte> scratch,
                         std::span<std::byte> output) {
  const size_t first = std::min(scratch.size(), skipped + std::min(kLz4History, output.size()));
  Output out{scratch.data(), scratch.data() + first, scratch.data(), skipped};
  if (output.size() > kLz4History) out.rest = output;
  out = decode({input.data(), input.data() + input.size()}, out);
  if (out.start == output.data()) return out.made();
  if (out.made() <= skipped) return 0;
  memcpy(output.data(), scratch.data() + skipped, out.made() - skipped);
  return out.made() - skipped;
}

}  // namespace teacup::fs
