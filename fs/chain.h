// The heads of a hash table's chains. Problem: most look-ups of a table that is being filled are for what is
// not there, and find that out at the end of a chain, each of whose members is a cache line (or two) that was
// last touched long ago: a tenth of the time that `git status` takes on 20 000 files. Choice: the 16 bits of
// a head that an address does not need say which of 16 kinds of hashes the chain has had since it was empty;
// so a look-up in vain mostly touches the head alone.
//
// Locks: the table's, for changes. Reading takes none.
#pragma once

#include <atomic>

#include "kernel/base/types.h"

namespace teacup::fs {

template <typename T>
class ChainHead {
 public:
  T* first() const { return pointer(word_.load(std::memory_order_acquire)); }
  // The first, if any of the chain may have this hash, of which the highest four bits count; else null.
  T* first_of(u64 hash) const {
    u64 word = word_.load(std::memory_order_acquire);
    return (word & kind(hash)) != 0 ? pointer(word) : nullptr;
  }
  // `item`, whose next is first(), comes before it.
  void push(T& item, u64 hash) {
    u64 kinds = word_.load(std::memory_order_relaxed) & ~kAddress;
    word_.store(reinterpret_cast<u64>(&item) | kinds | kind(hash), std::memory_order_release);
  }
  // The first was taken out; `next` was behind it.
  void pop(T* next) {
    u64 kinds = next != nullptr ? word_.load(std::memory_order_relaxed) & ~kAddress : 0;
    word_.store(reinterpret_cast<u64>(next) | kinds, std::memory_order_release);
  }

 private:
  static constexpr u32 kAddressBits = 48;
  static constexpr u64 kAddress = (u64{1} << kAddressBits) - 1;
  static u64 kind(u64 hash) { return u64{1} << (kAddressBits + (hash >> 60)); }
  static T* pointer(u64 word) { return reinterpret_cast<T*>(word & kAddress); }

  std::atomic<u64> word_{0};
};

}  // namespace teacup::fs
