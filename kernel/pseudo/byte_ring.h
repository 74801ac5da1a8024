// A ring of bytes in a run of arena pages, which starts over at its first page whenever it runs empty.
// Takes no lock.
#pragma once

#include <algorithm>

#include "kernel/base/memory.h"
#include "kernel/frame/pages.h"

namespace teacup::pseudo {

class ByteRing {
 public:
  ByteRing() = default;
  ByteRing(const ByteRing&) = delete;
  ByteRing& operator=(const ByteRing&) = delete;
  ~ByteRing() { release_run(run_); }

  Result<void> create(u64 pages) {
    run_ = TRY(allocate_run(pages));
    return {};
  }
  u64 size() const { return head_ - tail_; }
  u64 room() const { return run_.bytes() - size(); }
  void clear() { head_ = tail_ = 0; }

  // As much as there is room for.
  u64 put(const void* data, u64 size) {
    if (head_ == tail_) clear();
    size = std::min(size, room());
    u64 first = std::min(size, run_.bytes() - head_ % run_.bytes());
    memcpy(at(head_), data, first);
    memcpy(at(head_ + first), static_cast<const u8*>(data) + first, size - first);
    head_ += size;
    return size;
  }
  // The longest piece at the front that is contiguous, and taking it off.
  std::span<const u8> front() const {
    return {at(tail_), std::min(size(), run_.bytes() - tail_ % run_.bytes())};
  }
  void drop(u64 size) { tail_ += size; }

 private:
  u8* at(u64 position) const { return reinterpret_cast<u8*>(run_.address() + position % run_.bytes()); }

  PageRun run_;
  u64 head_ = 0, tail_ = 0;
};

}  // namespace teacup::pseudo
