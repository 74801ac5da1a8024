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
  list_.resize(sound_length(std::span(list_).first(std::min(list_.size(), kMost))));
}

void Foreseen::note(const abi::PrepareInput& input, std::span<const abi::PreparePiece> pieces,
                    std::span<const std::byte> tail, std::span<const std::byte> plan) {
  if (key_.empty()) return;
  abi::ForeseenText head{};
  head.input = input;
  head.tail_size = tail.size();
  head.plan_size = plan.size();
  head.size = head.needed();
  std::lock_guard guard(mutex_);
  // What is asked for first is what the next machine begins with, too.
  if (head.size > kMost - news_.size()) return;
  const std::size_t at = news_.size();
  news_.resize(at + head.size);
  const auto put = [&](u64 offset, const void* bytes, std::size_t size) {
    if (size > 0) std::memcpy(news_.data() + at + offset, bytes, size);
  };
  put(0, &head, sizeof head);
  put(head.pieces(), pieces.data(), pieces.size_bytes());
  put(head.tail(), tail.data(), tail.size());
  put(head.plan(), plan.data(), plan.size());
}

void Foreseen::keep() {
  std::lock_guard guard(mutex_);
  if (news_.empty()) return;
  // Of what was known before, as much as there is room for.
  std::span<const std::byte> rest = list_;
  while (!rest.empty()) {
    const std::span<const std::byte> record = first_record(rest);
    if (record.size() <= kMost - news_.size()) news_.insert(news_.end(), record.begin(), record.end());
    rest = rest.subspan(record.size());
  }
  cache_.store(key_, news_);
  news_.clear();
}

}  // namespace teacup::host
