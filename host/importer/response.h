// Fills a response buffer of the importer with records, never beyond its end.
#pragma once

#include <cstring>
#include <span>
#include <string_view>

#include "kernel/abi/importer.h"
#include "kernel/base/types.h"

namespace teacup::importer {

class ResponseWriter {
 public:
  explicit ResponseWriter(std::span<std::byte> buffer) : buffer_(buffer) {}

  bool has_header_room() const { return buffer_.size() >= sizeof(abi::ImporterResponse); }
  u64 room() const { return buffer_.size() - used_; }
  u32 count() const { return header_.count; }
  void set_next(u64 cursor) { header_.next = cursor; }

  // False, and nothing added, when it does not fit.
  template <typename Record>
  bool add(const Record& record) {
    if (room() < sizeof(Record)) return false;
    put(&record, sizeof(Record));
    ++header_.count;
    return true;
  }

  // A record with text behind it; its size is filled in.
  template <typename Record>
  bool add(Record record, std::string_view first, std::string_view second) {
    const u64 size = align_up(sizeof(Record) + first.size() + second.size(), 8);
    if (room() < size) return false;
    record.size = static_cast<u32>(size);
    const u64 end = used_ + size;
    put(&record, sizeof(Record));
    put(first.data(), first.size());
    put(second.data(), second.size());
    std::memset(buffer_.data() + used_, 0, end - used_);
    used_ = end;
    ++header_.count;
    return true;
  }

  // The response is `length` bytes: where they go, at most what fits.
  std::span<std::byte> bytes(u64 length) {
    const std::span<std::byte> result = buffer_.subspan(used_, length < room() ? length : room());
    used_ += result.size();
    header_.count = static_cast<u32>(result.size());
    return result;
  }

  // The length of the whole response.
  s64 finish() {
    std::memcpy(buffer_.data(), &header_, sizeof(header_));
    return static_cast<s64>(used_);
  }

 private:
  void put(const void* data, u64 size) {
    if (size > 0) std::memcpy(buffer_.data() + used_, data, size);
    used_ += size;
  }

  std::span<std::byte> buffer_;
  abi::ImporterResponse header_{};
  u64 used_ = sizeof(abi::ImporterResponse);
};

}  // namespace teacup::importer
