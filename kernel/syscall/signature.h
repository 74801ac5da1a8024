// From registers to typed arguments and back: what a handler's signature says, done once for all handlers.
// The same signature prints the call for --trace.
#pragma once

#include <array>
#include <type_traits>
#include <utility>

#include "kernel/base/format.h"
#include "kernel/syscall/table.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

template <typename T>
T argument_from(u64 value) {
  if constexpr (std::is_same_v<T, Fd>) {
    return Fd{static_cast<s32>(value)};
  } else if constexpr (std::is_same_v<T, GuestAddress>) {
    return GuestAddress{value};
  } else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
    return static_cast<T>(value);
  } else {
    return T(value);
  }
}

template <typename R>
s64 register_from(Result<R>&& result) {
  if (!result.ok()) return -static_cast<s64>(result.error());
  if constexpr (std::is_void_v<R> || std::is_same_v<R, Control>) {
    return 0;
  } else if constexpr (std::is_same_v<R, Fd>) {
    return result.value().value;
  } else if constexpr (std::is_same_v<R, GuestAddress>) {
    return static_cast<s64>(result.value().value);
  } else {
    return static_cast<s64>(result.value());
  }
}

inline std::array<u64, 6> call_registers(const Frame& frame) {
  return {frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8, frame.r9};
}

// One argument as strace shows it. `next` is the following register: a buffer's size, when the argument is a
// buffer.
void print_string(TextBuffer& text, GuestString string);
void print_bytes(TextBuffer& text, u64 address, u64 size);
template <typename T>
void print_argument(TextBuffer& text, u64 value, u64 next) {
  if constexpr (std::is_same_v<T, GuestString>) {
    print_string(text, GuestString(value));
  } else if constexpr (std::is_same_v<T, GuestIn<std::byte>>) {
    print_bytes(text, value, next);
  } else if constexpr (std::is_same_v<T, Fd>) {
    if (static_cast<s32>(value) == abi::kAT_FDCWD) {
      text.add("AT_FDCWD");
    } else {
      text.dec(static_cast<s32>(value));
    }
  } else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
    if constexpr (std::is_signed_v<T>) {
      text.dec(static_cast<s64>(static_cast<T>(value)));
    } else if (static_cast<u64>(static_cast<T>(value)) > 0xffff) {
      text.add("0x").hex(static_cast<u64>(static_cast<T>(value)));
    } else {
      text.udec(static_cast<u64>(static_cast<T>(value)));
    }
  } else {
    if (value == 0) {
      text.add("NULL");
    } else {
      text.add("0x").hex(value);
    }
  }
}

template <auto handler>
struct Signature;

template <typename R, typename... Arguments, Result<R> (*handler)(Task&, Arguments...)>
struct Signature<handler> {
  static_assert(sizeof...(Arguments) <= 6);
  static constexpr bool kIsControl = std::is_same_v<R, Control>;

  static s64 call(Task& task, const Frame& frame) {
    return call_with(task, call_registers(frame), std::index_sequence_for<Arguments...>{});
  }
  static void print(TextBuffer& text, const std::array<u64, 6>& registers) {
    print_with(text, registers, std::index_sequence_for<Arguments...>{});
  }

 private:
  template <size_t... i>
  static s64 call_with(Task& task, [[maybe_unused]] const std::array<u64, 6>& registers,
                       std::index_sequence<i...>) {
    return register_from(handler(task, argument_from<Arguments>(registers[i])...));
  }
  template <size_t... i>
  static void print_with(TextBuffer& text, [[maybe_unused]] const std::array<u64, 6>& registers,
                         std::index_sequence<i...>) {
    ((text.add(i == 0 ? "" : ", "),
      print_argument<Arguments>(text, registers[i], i < 5 ? registers[i + 1] : 0)),
     ...);
  }
};

}  // namespace teacup
