#include "loader/elf.h"

#include <algorithm>
#include <bit>

#include "kernel/abi/elf.h"
#include "kernel/abi/mm.h"
#include "kernel/mm/elf_layout.h"

namespace teacup {

namespace {

constexpr u32 kMaxHeaders = 65536 / sizeof(abi::ElfProgramHeader);

u32 prot_of(u32 flags) {
  u32 prot = 0;
  if ((flags & abi::kPF_R) != 0) prot |= abi::kPROT_READ;
  if ((flags & abi::kPF_W) != 0) prot |= abi::kPROT_WRITE;
  if ((flags & abi::kPF_X) != 0) prot |= abi::kPROT_EXEC;
  return prot;
}

Result<u64> size_of(fs::File& file) {
  abi::Stat stat{};
  TRY(file.stat(stat));
  return static_cast<u64>(stat.size);
}

Result<void> add_segment(ElfImage& image, const abi::ElfProgramHeader& header, u64 file_size) {
  u64 end = header.vaddr + header.memsz;
  if (header.memsz == 0) return {};
  if (header.filesz > header.memsz || end < header.vaddr) return Errno::INVAL;
  if (end > kGuestHighEnd) return Errno::NOMEM;
  if (header.filesz > 0) {
    if ((header.vaddr - header.offset) % kPageSize != 0) return Errno::INVAL;
    if (header.offset > file_size || header.filesz > file_size - header.offset) return Errno::NOEXEC;
  }
  if (image.segment_count == ElfImage::kMaxSegments) return Errno::NOEXEC;
  if (image.segment_count > 0) {
    const ElfImage::Segment& last = image.segments[image.segment_count - 1];
    if (header.vaddr < last.address + last.memory_size) return Errno::INVAL;  // gABI: in rising order
  } else {
    image.low = page_down(header.vaddr);
  }
  image.high = page_up(end);
  if (std::has_single_bit(header.align)) image.align = std::max(image.align, header.align);
  image.segments[image.segment_count++] = {header.vaddr, header.offset, header.filesz, header.memsz,
                                           prot_of(header.flags)};
  return {};
}

Result<void> read_interpreter(fs::File& file, const abi::ElfProgramHeader& header, std::span<char> path) {
  if (header.filesz < 2 || header.filesz > path.size()) return Errno::NOEXEC;
  if (!mm::read_exactly(file, header.offset, path.data(), header.filesz)) return Errno::IO;
  if (path[header.filesz - 1] != '\0') return Errno::NOEXEC;
  return {};
}

Result<void> check_span(const ElfImage& image, const abi::ElfHeader& header) {
  if (image.segment_count == 0) return Errno::NOEXEC;
  if (image.is_pie) {
    if (image.high - image.low > kGuestLowEnd / 4) return Errno::NOMEM;
    if (header.entry < image.low || header.entry >= image.high) return Errno::INVAL;
    return {};
  }
  bool fits = is_guest_range(image.low, image.high - image.low) && image.low >= kGuestLowStart;
  if (!fits) return Errno::NOMEM;
  if (!is_guest_range(header.entry, 1)) return Errno::INVAL;
  return {};
}

}  // namespace

Result<void> read_elf(fs::File& file, ElfImage& image, std::span<char> interpreter_path) {
  image = {};
  image.align = kPageSize;
  if (!interpreter_path.empty()) interpreter_path[0] = '\0';
  abi::ElfHeader header;
  if (!mm::read_exactly(file, 0, &header, sizeof(header))) return Errno::NOEXEC;
  if (header.magic != abi::kElfMagic || header.elf_class != abi::kELFCLASS64 ||
      header.data != abi::kELFDATA2LSB || header.machine != abi::kEM_X86_64) {
    return Errno::NOEXEC;
  }
  if (header.type != abi::kET_EXEC && header.type != abi::kET_DYN) return Errno::NOEXEC;
  if (header.phentsize != sizeof(abi::ElfProgramHeader) || header.phnum == 0 || header.phnum > kMaxHeaders) {
    return Errno::NOEXEC;
  }
  image.is_pie = header.type == abi::kET_DYN;
  image.entry = header.entry;
  image.header_size = header.phentsize;
  image.header_count = header.phnum;
  u64 file_size = TRY(size_of(file));
  if (header.phoff > file_size) return Errno::NOEXEC;
  bool has_interpreter = false;
  for (u32 i = 0; i < header.phnum; i++) {
    abi::ElfProgramHeader entry;
    if (!mm::read_exactly(file, header.phoff + i * sizeof(entry), &entry, sizeof(entry))) {
      return Errno::NOEXEC;
    }
    if (entry.type == abi::kPT_LOAD) {
      TRY(add_segment(image, entry, file_size));
      bool holds_headers = header.phoff >= entry.offset && header.phoff - entry.offset < entry.filesz;
      if (holds_headers) image.headers_address = entry.vaddr + (header.phoff - entry.offset);
    } else if (entry.type == abi::kPT_PHDR) {
      image.headers_address = entry.vaddr;
    } else if (entry.type == abi::kPT_GNU_STACK) {
      image.executable_stack = (entry.flags & abi::kPF_X) != 0;
    } else if (entry.type == abi::kPT_INTERP && !interpreter_path.empty() && !has_interpreter) {
      TRY(read_interpreter(file, entry, interpreter_path));
      has_interpreter = true;
    }
  }
  return check_span(image, header);
}

}  // namespace teacup
