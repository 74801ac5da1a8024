// From registers to typed arguments and back: what a handler's signature says, done once for all handlers.
// The same signature says how --trace shows the call.
#pragma once

#include <array>
#include <type_traits>
#include <utility>

#include "kernel/syscall/argument_types.h"
#include "kernel/syscall/show_structures.h"
#include "kernel/syscall/table.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

template <typename T>
concept IsShownInteger = requires {
  requires std::is_integral_v<typename T::Base>;
};

template <typename T>
T argument_from(u64 value) {
  if constexpr (std::is_same_v<T, Fd>) {
    return Fd{static_cast<s32>(value)};
  } else if constexpr (std::is_same_v<T, GuestAddress>) {
    return GuestAddress{value};
  } else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
    return static_cast<T>(value);
  } else if constexpr (IsShownInteger<T>) {
    return T(static_cast<typename T::Base>(value));
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

// --- How arguments are shown: by the parameter's own printer, or by what its type points at.

template <typename T>
concept HasPrinter = requires {
  T::kPrinter;
};
template <typename T>
concept Structure = requires(TextBuffer& text, const T& value) {
  show::structure(text, value);
};

template <typename T>
struct Pointee;
template <typename T>
struct Pointee<GuestIn<T>> {
  using Type = T;
  static constexpr bool kFilled = false;
};
template <typename T>
struct Pointee<GuestInOut<T>> : Pointee<GuestIn<T>> {};
template <typename T>
struct Pointee<GuestOut<T>> {
  using Type = T;
  static constexpr bool kFilled = true;
};

template <typename T>
void print_structure(CallText& call, u32 index, const Printer& self) {
  T value;
  bool read = self.after ? show::filled_or_pointer(call, index, &value, sizeof value)
                         : show::read_or_pointer(call.text, call.registers[index], &value, sizeof value);
  if (read) show::structure(call.text, value);
}
template <typename T, bool filled>
inline constexpr Printer kStructurePrinter{&print_structure<T>, nullptr, filled};

template <typename T>
constexpr const Printer* printer_of() {
  if constexpr (HasPrinter<T>) {
    return T::kPrinter;
  } else if constexpr (std::is_same_v<T, Fd>) {
    return &show::descriptor;
  } else if constexpr (std::is_same_v<T, GuestString>) {
    return &show::path_string;
  } else if constexpr (std::is_integral_v<T>) {
    constexpr bool kWide = sizeof(T) == sizeof(u64);
    if constexpr (std::is_signed_v<T>) return kWide ? &show::signed_number : &show::signed_32;
    return kWide ? &show::unsigned_number : &show::unsigned_32;
  } else if constexpr (std::is_same_v<T, GuestAddress>) {
    return &show::address;
  } else {
    using P = Pointee<T>;
    using To = typename P::Type;
    if constexpr (std::is_same_v<To, std::byte> || std::is_same_v<To, char>) {
      return P::kFilled ? &show::bytes_out : &show::bytes_in;
    } else if constexpr (std::is_same_v<To, abi::IoVec>) {
      return &show::iovecs_in;
    } else if constexpr (Structure<To>) {
      return &kStructurePrinter<To, P::kFilled>;
    } else {
      return &show::address;
    }
  }
}

template <auto handler>
struct Signature;

template <typename R, typename... Arguments, Result<R> (*handler)(Task&, Arguments...)>
struct Signature<handler> {
  static_assert(sizeof...(Arguments) <= 6);
  static constexpr bool kIsControl = std::is_same_v<R, Control>;
  static constexpr ArgumentPrinters kPrinters = {printer_of<Arguments>()...};
  static constexpr ResultForm kForm = std::is_same_v<R, GuestAddress> ? ResultForm::kAddress
                                      : std::is_same_v<R, FileMode>   ? ResultForm::kMode
                                                                      : ResultForm::kDecimal;

  static s64 call(Task& task, const Frame& frame) {
    return call_with(task, call_registers(frame), std::index_sequence_for<Arguments...>{});
  }

 private:
  template <size_t... i>
  static s64 call_with(Task& task, [[maybe_unused]] const std::array<u64, 6>& registers,
                       std::index_sequence<i...>) {
    return register_from(handler(task, argument_from<Arguments>(registers[i])...));
  }
};

}  // namespace teacup
