// How a call's arguments look in --trace: as strace(1) prints them. A handler's parameter types say which
// printer shows which register (argument_types.h); the printers' tables and functions are in show_*.cc.
//
// A line is made in two steps, as strace makes it: the arguments up to the first that the call fills in are
// printed before it runs (it may change what they point at, or not return), the others afterwards. Guest
// memory is only read, by the copies that cannot fault; what cannot be read is shown as the pointer.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "kernel/abi/signal.h"
#include "kernel/base/errno.h"
#include "kernel/base/format.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

// A call on its way into a line.
struct CallText {
  TextBuffer& text;
  std::array<u64, 6> registers;
  s64 result = 0;  // once it has returned, -errno included
  bool returned = false;
  u64 remembered = 0;    // for a printer's `before`
  size_t result_at = 0;  // where the text of the result starts, for a printer's `note`

  bool failed() const { return result < 0 && result >= -4095; }
};

struct Name {
  u64 value;
  std::string_view text;
};

// The values of an integer: one of `choices` in the bits of `field`, then `flags`. A flag of value 0 names
// the value 0. What is left over is shown in hexadecimal, with `unknown` where nothing else was shown.
struct Names {
  std::span<const Name> choices = {};
  u64 field = 0;
  std::span<const Name> flags = {};
  std::string_view unknown = {};
};

// How one argument is shown. What prints nothing is left out, with its comma.
struct Printer {
  void (*print)(CallText& call, u32 index, const Printer& self);
  const Names* names = nullptr;
  bool after = false;                                   // the call fills it in
  void (*before)(CallText& call, u32 index) = nullptr;  // reads what the call is going to change
  void (*note)(CallText& call, u32 index) = nullptr;    // adds to the result
};

namespace show {

inline constexpr u64 kLongestShown = 32;  // bytes of a buffer, elements of an array

void names(TextBuffer& text, const Names& names, u64 value);
// The name of `value` among names.choices, empty if it has none.
std::string_view choice(const Names& names, u64 value);
void pointer(TextBuffer& text, u64 address);  // NULL or 0x…
void path(TextBuffer& text, u64 address);     // a string, whole
void string(TextBuffer& text, u64 address);   // a string, cut like a buffer
void quoted(TextBuffer& text, std::string_view bytes);
void bytes(TextBuffer& text, u64 address, u64 size, bool all_hexadecimal = false);
void signal(TextBuffer& text, s32 number);  // SIGTERM, SIGRT_2
void signal_set(TextBuffer& text, u64 set);
void signal_info(TextBuffer& text, const abi::SigInfo& info);
void mode(TextBuffer& text, u32 mode);       // 0644
void file_mode(TextBuffer& text, u32 mode);  // S_IFREG|0644
void device(TextBuffer& text, u64 number);   // makedev(0x88, 0x1)
void error(TextBuffer& text, Errno error);   // ENOENT (No such file or directory)
void wait_status(TextBuffer& text, u32 status);
void message_pieces(TextBuffer& text, u64 address, u64 count,
                    u64 limit);  // struct iovec; `limit` bytes of them
void open_flag_names(TextBuffer& text, u32 flags);

// Reads `size` bytes at `address`; shows the pointer and returns false if that cannot be done.
bool read_or_pointer(TextBuffer& text, u64 address, void* into, size_t size);
// The same for a call's argument that it fills in: what a failed call left there is not shown.
bool filled_or_pointer(CallText& call, u32 index, void* into, size_t size);

// Elements of a guest's array in brackets, no more than kLongestShown of them.
template <typename T, typename Show>
void array(TextBuffer& text, u64 address, u64 count, Show show_element) {
  T element;
  if (address == 0 || (count > 0 && !copy_from_guest(&element, address, sizeof element).ok())) {
    pointer(text, address);
    return;
  }
  text.add('[');
  for (u64 i = 0; i < count; i++) {
    if (i > 0) text.add(", ");
    if (i == kLongestShown || !copy_from_guest(&element, address + i * sizeof element, sizeof element).ok()) {
      text.add("...");
      break;
    }
    show_element(text, element);
  }
  text.add(']');
}

// --- For tables of printers.
void print_names(CallText& call, u32 index, const Printer& self);    // 32 bits by self.names
void print_nothing(CallText& call, u32 index, const Printer& self);  // another argument's printer shows it
constexpr Printer named(const Names& names) {
  return {&print_names, &names};
}

// --- What parameter types without a printer of their own are shown by.
extern const Printer descriptor, signed_number, unsigned_number, signed_32, unsigned_32, address, path_string;
extern const Printer bytes_in, bytes_out, raw, iovecs_in;

}  // namespace show

// A constant of kernel/abi under its name.
#define TEACUP_NAME(constant)                     \
  Name {                                          \
    static_cast<u64>(abi::k##constant), #constant \
  }

}  // namespace teacup
