#include "kernel/syscall/show.h"

#include "kernel/abi/signal.h"

namespace teacup {

namespace show {

namespace {

void escaped(TextBuffer& text, unsigned char c, unsigned char next, bool hexadecimal) {
  if (hexadecimal) {
    text.add("\\x").hex(c, 2);
    return;
  }
  switch (c) {
    case '"':
    case '\\':
      text.add('\\').add(static_cast<char>(c));
      return;
    case '\t':
      text.add("\\t");
      return;
    case '\n':
      text.add("\\n");
      return;
    case '\v':
      text.add("\\v");
      return;
    case '\f':
      text.add("\\f");
      return;
    case '\r':
      text.add("\\r");
      return;
    default:
      break;
  }
  if (c >= 0x20 && c < 0x7f) {
    text.add(static_cast<char>(c));
  } else {
    // As short as what follows allows.
    text.add('\\').oct(c, next >= '0' && next <= '9' ? 3 : 0);
  }
}

// A string up to its NUL, at most `limit` bytes of it.
void string_up_to(TextBuffer& text, u64 address, u64 limit) {
  constexpr size_t kStep = 128;
  unsigned char step[kStep + 1];
  if (address == 0) return pointer(text, address);
  size_t start = text.length();
  text.add('"');
  for (u64 done = 0;;) {
    auto read = copy_from_guest_partly(step, address + done, kStep);
    if (!read.ok() || read.value() == 0) {
      text.cut(start);
      return pointer(text, address);
    }
    step[read.value()] = 0;
    for (size_t i = 0; i < read.value(); i++, done++) {
      if (step[i] == 0) {
        text.add('"');
        return;
      }
      if (done == limit) {
        text.add("\"...");
        return;
      }
      escaped(text, step[i], step[i + 1], false);
    }
  }
}

}  // namespace

std::string_view choice(const Names& names, u64 value) {
  for (const Name& name : names.choices) {
    if (name.value == value) return name.text;
  }
  return {};
}

void names(TextBuffer& text, const Names& names, u64 value) {
  u64 left = value;
  bool any = false;
  auto add = [&](std::string_view name) {
    if (any) text.add('|');
    text.add(name);
    any = true;
  };
  if (names.field != 0) {
    std::string_view name = choice(names, value & names.field);
    if (!name.empty()) {
      add(name);
      left &= ~names.field;
    }
  }
  for (const Name& name : names.flags) {
    bool is_set = name.value == 0 ? value == 0 && !any : (left & name.value) == name.value;
    if (!is_set) continue;
    add(name.text);
    left &= ~name.value;
  }
  if (any && left == 0) return;
  if (any) {
    text.add("|0x").hex(left);
    return;
  }
  if (left == 0) {
    text.add('0');
    return;
  }
  text.add("0x").hex(left);
  if (!names.unknown.empty()) text.add(" /* ").add(names.unknown).add(" */");
}

void pointer(TextBuffer& text, u64 address) {
  if (address == 0) {
    text.add("NULL");
  } else {
    text.add("0x").hex(address);
  }
}

void path(TextBuffer& text, u64 address) {
  string_up_to(text, address, abi::kPATH_MAX);
}
void string(TextBuffer& text, u64 address) {
  string_up_to(text, address, kLongestShown);
}

void quoted(TextBuffer& text, std::string_view bytes) {
  text.add('"');
  for (size_t i = 0; i < bytes.size(); i++) {
    escaped(text, static_cast<unsigned char>(bytes[i]),
            i + 1 < bytes.size() ? static_cast<unsigned char>(bytes[i + 1]) : 0, false);
  }
  text.add('"');
}

void bytes(TextBuffer& text, u64 address, u64 size, bool all_hexadecimal) {
  unsigned char shown[kLongestShown + 1];
  u64 count = size < kLongestShown ? size : kLongestShown;
  if (address == 0 || !copy_from_guest(shown, address, count).ok()) return pointer(text, address);
  shown[count] = 0;
  text.add('"');
  for (u64 i = 0; i < count; i++) escaped(text, shown[i], shown[i + 1], all_hexadecimal);
  text.add(size > count ? "\"..." : "\"");
}

void mode(TextBuffer& text, u32 mode) {
  if (mode == 0) {
    text.add("000");
  } else {
    text.add('0').oct(mode, mode < 8 ? 2 : 0);
  }
}

void error(TextBuffer& text, Errno error) {
  text.add(errno_name(error)).add(" (").add(errno_text(error)).add(')');
}

bool read_or_pointer(TextBuffer& text, u64 address, void* into, size_t size) {
  if (address != 0 && copy_from_guest(into, address, size).ok()) return true;
  pointer(text, address);
  return false;
}

bool filled_or_pointer(CallText& call, u32 index, void* into, size_t size) {
  if (!call.failed()) return read_or_pointer(call.text, call.registers[index], into, size);
  pointer(call.text, call.registers[index]);
  return false;
}

void print_names(CallText& call, u32 index, const Printer& self) {
  names(call.text, *self.names, static_cast<u32>(call.registers[index]));
}
void print_nothing(CallText&, u32, const Printer&) {}

namespace {

void print_descriptor(CallText& call, u32 index, const Printer&) {
  s32 fd = static_cast<s32>(call.registers[index]);
  if (fd == abi::kAT_FDCWD) {
    call.text.add("AT_FDCWD");
  } else {
    call.text.dec(fd);
  }
}
void print_signed(CallText& call, u32 index, const Printer&) {
  call.text.dec(static_cast<s64>(call.registers[index]));
}
void print_unsigned(CallText& call, u32 index, const Printer&) {
  call.text.udec(call.registers[index]);
}
void print_signed_32(CallText& call, u32 index, const Printer&) {
  call.text.dec(static_cast<s32>(call.registers[index]));
}
void print_unsigned_32(CallText& call, u32 index, const Printer&) {
  call.text.udec(static_cast<u32>(call.registers[index]));
}
void print_pointer(CallText& call, u32 index, const Printer&) {
  pointer(call.text, call.registers[index]);
}
void print_raw(CallText& call, u32 index, const Printer&) {
  call.text.add("0x").hex(call.registers[index]);
}
void print_path(CallText& call, u32 index, const Printer&) {
  path(call.text, call.registers[index]);
}
// The next register is the buffer's size.
void print_bytes_in(CallText& call, u32 index, const Printer&) {
  bytes(call.text, call.registers[index], call.registers[index + 1]);
}
// The result is how much of the buffer was filled; with a size of 0 it may be how much would be.
void print_bytes_out(CallText& call, u32 index, const Printer&) {
  if (call.failed()) return pointer(call.text, call.registers[index]);
  u64 size = call.registers[index + 1];
  u64 filled = static_cast<u64>(call.result);
  bytes(call.text, call.registers[index], filled < size ? filled : size);
}

}  // namespace

constinit const Printer descriptor{&print_descriptor};
constinit const Printer signed_number{&print_signed};
constinit const Printer unsigned_number{&print_unsigned};
constinit const Printer signed_32{&print_signed_32};
constinit const Printer unsigned_32{&print_unsigned_32};
constinit const Printer address{&print_pointer};
constinit const Printer raw{&print_raw};
constinit const Printer path_string{&print_path};
constinit const Printer bytes_in{&print_bytes_in};
constinit const Printer bytes_out{&print_bytes_out, nullptr, true};

}  // namespace show

}  // namespace teacup
