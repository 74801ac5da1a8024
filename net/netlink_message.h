// Netlink messages as they are written (netlink(7)): answers, made of messages with attributes.
#pragma once

#include <algorithm>
#include <span>
#include <string_view>

#include "kernel/abi/netlink.h"
#include "kernel/base/list.h"
#include "kernel/base/memory.h"
#include "kernel/base/result.h"

namespace teacup::net {

// One datagram for the asker: some messages.
struct Answer {
  static constexpr size_t kSize = 4000;
  ListNode node;
  u32 size = 0;
  alignas(8) std::byte bytes[kSize];
  bool has_room_for(size_t more) const { return size + more <= kSize; }
};

// Where answers go.
class AnswerSink {
 public:
  // ENOBUFS: too many that nobody reads.
  virtual Result<Answer*> new_answer() = 0;
  virtual void push(Answer* answer) = 0;
  virtual void drop(Answer* answer) = 0;

 protected:
  ~AnswerSink() = default;
};

// Messages with attributes, one behind the other.
class Writer {
 public:
  Writer(Answer& answer, u32 sequence, u32 port) : answer_(answer), sequence_(sequence), port_(port) {}
  template <typename Header>
  void begin(u16 type, u16 flags, const Header& header) {
    start_ = answer_.size;
    abi::NlMsgHdr message{0, type, flags, sequence_, port_};
    put(&message, sizeof message);
    put(&header, sizeof header);
  }
  void attribute(u16 type, const void* data, size_t size) {
    abi::RtAttr header{static_cast<u16>(sizeof(abi::RtAttr) + size), type};
    put(&header, sizeof header);
    put(data, size);
  }
  void number(u16 type, u32 value) { attribute(type, &value, sizeof value); }
  void text(u16 type, std::string_view value) {
    char buffer[32] = {};
    memcpy(buffer, value.data(), std::min(value.size(), sizeof buffer - 1));
    attribute(type, buffer, value.size() + 1);
  }
  void end() {
    u32 length = answer_.size - start_;
    memcpy(answer_.bytes + start_, &length, sizeof length);
  }

 private:
  void put(const void* data, size_t size) {
    size_t room = std::min(size, Answer::kSize - answer_.size);
    memcpy(answer_.bytes + answer_.size, data, room);
    answer_.size = static_cast<u32>(std::min<u64>(align_up(u64{answer_.size} + size, u64{4}), Answer::kSize));
  }

  Answer& answer_;
  u32 sequence_, port_;
  u32 start_ = 0;
};

// The data of the last attribute of a type; empty: there is none.
inline Result<std::span<const std::byte>> find_attribute(std::span<const std::byte> attributes, u16 type) {
  std::span<const std::byte> found;
  while (attributes.size() >= sizeof(abi::RtAttr)) {
    abi::RtAttr attribute;
    memcpy(&attribute, attributes.data(), sizeof attribute);
    if (attribute.length < sizeof attribute || attribute.length > attributes.size()) return Errno::INVAL;
    if (attribute.type == type)
      found = attributes.subspan(sizeof attribute, attribute.length - sizeof attribute);
    attributes =
        attributes.subspan(std::min<size_t>(align_up(u64{attribute.length}, u64{4}), attributes.size()));
  }
  return found;
}

}  // namespace teacup::net
