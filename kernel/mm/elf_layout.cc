#include "kernel/mm/elf_layout.h"

#include <algorithm>

#include "kernel/abi/elf.h"

namespace teacup::mm {

namespace {

constexpr u32 kMaxHeaders = 32;

struct Span {
  u64 low = ~u64{0};
  u64 high = 0;
  bool executable = false;
};

// Nothing is trusted: what makes no sense gives an empty span, and the file is then just a file.
Span span_of(fs::File& file, bool objects_only) {
  Span span;
  abi::ElfHeader header;
  abi::ElfProgramHeader headers[kMaxHeaders];
  if (!read_exactly(file, 0, &header, sizeof(header))) return span;
  bool fits = header.magic == abi::kElfMagic && header.elf_class == abi::kELFCLASS64 &&
              header.machine == abi::kEM_X86_64 && header.phentsize == sizeof(abi::ElfProgramHeader) &&
              header.phnum != 0;
  if (!fits || (header.type != abi::kET_DYN && (objects_only || header.type != abi::kET_EXEC))) return span;
  for (u32 first = 0; first < header.phnum; first += kMaxHeaders) {
    u32 count = std::min<u32>(kMaxHeaders, header.phnum - first);
    u64 at = header.phoff + first * sizeof(headers[0]);
    if (!read_exactly(file, at, headers, count * sizeof(headers[0]))) return {};
    for (u32 i = 0; i < count; i++) {
      if (headers[i].type != abi::kPT_LOAD) continue;
      span.low = std::min(span.low, page_down(headers[i].vaddr));
      span.high = std::max(span.high, page_up(headers[i].vaddr + headers[i].memsz));
      span.executable = span.executable || (headers[i].flags & abi::kPF_X) != 0;
    }
  }
  return span;
}

}  // namespace

bool read_exactly(fs::File& file, u64 offset, void* into, size_t size) {
  IoDest dest(std::span(static_cast<std::byte*>(into), size));
  while (dest.remaining() > 0) {
    auto count = file.read(dest, offset + dest.done());
    if (!count.ok() || count.value() == 0) return false;
  }
  return true;
}

bool looks_like_object(fs::File& file, u64 length) {
  Span span = span_of(file, true);
  return span.executable && span.high > span.low && span.high - span.low == page_up(length);
}

bool has_text(fs::File& file) {
  return span_of(file, false).executable;
}

}  // namespace teacup::mm
