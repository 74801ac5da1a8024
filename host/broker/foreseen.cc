#include "host/broker/foreseen.h"

#include <algorithm>
#include <cstring>

#include "kernel/base/layout.h"

namespace teacup::host {

namespace {

// What a start reads and copies at most.
constexpr std::size_t kMost = 160 * KiB;

// The bytes of the next record of `list`; empty at its end, and for what is none.
std::span<const std::byte> first_record(std::span<const std::byte> list) {
  abi::ForeseenText head;
  if (list.size() < sizeof head) return {};
  std::memcpy(&head, list.data(), sizeof head);
  if (head.size > list.size() || !head.is_sound()) return {};
  return list.first(head.size);
}

// How much of it is records.
std::size_t sound_length(std::span<const std::byte> list) {
  std::size_t at = 0;
  while (true) {
    const std::size_t size = first_record(list.subspan(at)).size();
    if (size == 0) return at;
    at += size;
  }
}

}  // namespace

Foreseen::Foreseen(const PreparedCache& cache, std::string key) : cache_(cache), key_(std::move(key)) {
  if (auto list = cache_.load(key_)) list_ = std::move(*list);
  list_.resize(std::min(sound_length(list_), kMost));
}

void Foreseen::note(const abi::PrepareInput& input, std::span<const abi::PreparePiece> pieces,
                    std::span<const std::byte> tail, std::span<const std::byte> plan) {
  if (key_.empty()) return;
  abi::ForeseenText head{};
  head.input = input;
  head.tail_size = tail.size();
  head.plan_size = plan.size();
  head.size = head.needed();
  if (head.size > kMost) return;
  Record record(head.size);
  std::memcpy(record.data(), &head, sizeof head);
  std::memcpy(record.data() + head.pieces(), pieces.data(), pieces.size_bytes());
  std::copy(tail.begin(), tail.end(), record.begin() + static_cast<std::ptrdiff_t>(head.tail()));
  std::copy(plan.begin(), plan.end(), record.begin() + static_cast<std::ptrdiff_t>(head.plan()));
  std::lock_guard guard(mutex_);
  news_.push_back(std::move(record));
}

void Foreseen::keep() {
  std::lock_guard guard(mutex_);
  if (news_.empty()) return;
  // What was asked for now comes first, and the oldest make room.
  std::vector<std::byte> list;
  const auto add = [&list](std::span<const std::byte> record) {
    if (list.size() + record.size() <= kMost) list.insert(list.end(), record.begin(), record.end());
  };
  for (const Record& record : news_) add(record);
  for (std::span<const std::byte> rest = list_; !rest.empty();
       rest = rest.subspan(first_record(rest).size())) {
    add(first_record(rest));
  }
  cache_.store(key_, list);
  news_.clear();
}

}  // namespace teacup::host
