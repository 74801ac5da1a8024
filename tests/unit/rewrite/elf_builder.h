// Small ELF files for tests: one executable segment of given bytes, read-only data, symbols, and if asked for
// relocations and unwind tables.
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/base/types.h"

namespace teacup::test {

inline constexpr u64 kText = 0x1000;  // where the text is, in the file and in memory

class ElfBuilder {
 public:
  std::vector<u8> text;
  std::vector<u8> data;      // follows the text on its own page, read-only
  std::string data_section;  // its section's name, none if empty
  u16 type = ET_DYN;
  u32 text_flags = PF_R | PF_X;
  u64 bias = 0;  // added to all addresses

  ElfBuilder& add(std::initializer_list<u8> bytes) {
    text.insert(text.end(), bytes);
    return *this;
  }
  ElfBuilder& pad(size_t to, u8 byte = 0xcc) {
    if (text.size() < to) text.resize(to, byte);
    return *this;
  }
  u64 here() const { return bias + kText + text.size(); }
  void function(std::string name, u64 begin, u64 end) {
    symbols_.push_back({name, begin, end - begin, STT_FUNC});
  }
  void label(std::string name, u64 at) { symbols_.push_back({name, at, 0, STT_NOTYPE}); }
  // A relocation that writes down the address `target` (R_X86_64_RELATIVE), that far into the data.
  void relocation(u64 target, u64 into = 0) {
    relocations_.push_back({data_address() + into, R_X86_64_RELATIVE, static_cast<s64>(target)});
  }
  // An FDE for [begin, end); `lsda` is the address of its exception table, 0 for none. Call when the text is
  // complete.
  void frame(u64 begin, u64 end, u64 lsda = 0, bool signal_frame = false) {
    frames_.push_back({begin, end, lsda, signal_frame});
  }
  u64 data_address() const { return bias + kText + page_up(text.size()); }

  std::vector<std::byte> build() const {
    std::vector<std::byte> file(kText);
    auto append = [&](const void* from, size_t size) {
      u64 at = file.size();
      file.resize(at + size);
      if (size) std::memcpy(file.data() + at, from, size);
      return at;
    };
    append(text.data(), text.size());
    file.resize(page_up(file.size()));
    u64 data_at = append(data.data(), data.size());
    Elf64_Dyn dynamic[3] = {};
    dynamic[0] = {DT_RELA, {data_address() + data.size()}};
    dynamic[1] = {DT_RELASZ, {relocations_.size() * sizeof(Elf64_Rela)}};
    append(relocations_.data(), dynamic[1].d_un.d_val);
    u64 unwind_address = data_address() + (file.size() - data_at);
    std::vector<u8> unwind = unwind_table();
    u64 unwind_at = append(unwind.data(), unwind.size());
    u64 data_size = file.size() - data_at;
    u64 dynamic_at = append(dynamic, sizeof dynamic);

    std::string names(".\0.eh_frame\0", 12);
    std::vector<Elf64_Sym> symbols(1);
    for (const Named& named : symbols_) {
      Elf64_Sym symbol{};
      symbol.st_name = static_cast<u32>(names.size());
      symbol.st_info = ELF64_ST_INFO(STB_GLOBAL, named.type);
      symbol.st_shndx = 1;
      symbol.st_value = named.value;
      symbol.st_size = named.size;
      names += named.name + '\0';
      symbols.push_back(symbol);
    }
    std::vector<Elf64_Shdr> sections(4);
    sections[1].sh_type = SHT_SYMTAB;
    sections[1].sh_link = 2;
    sections[1].sh_size = symbols.size() * sizeof(Elf64_Sym);
    sections[1].sh_offset = append(symbols.data(), sections[1].sh_size);
    sections[3].sh_type = SHT_PROGBITS;
    sections[3].sh_name = 2;
    sections[3].sh_addr = unwind_address;
    sections[3].sh_offset = unwind_at;
    sections[3].sh_size = unwind.size();
    if (!data_section.empty()) {
      Elf64_Shdr& section = sections.emplace_back();
      section.sh_type = SHT_PROGBITS;
      section.sh_name = static_cast<u32>(names.size());
      section.sh_addr = data_address();
      section.sh_offset = data_at;
      section.sh_size = data.size();
      names += data_section + '\0';
    }
    sections[2].sh_type = SHT_STRTAB;
    sections[2].sh_size = names.size();
    sections[2].sh_offset = append(names.data(), names.size());

    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = type;
    header.e_machine = EM_X86_64;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = data_size == 0 ? 1 : 3;
    header.e_shstrndx = 2;
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = static_cast<u16>(sections.size());
    header.e_shoff = append(sections.data(), sections.size() * sizeof(Elf64_Shdr));
    std::memcpy(file.data(), &header, sizeof header);
    Elf64_Phdr segments[3] = {};
    segments[0] = {PT_LOAD,      text_flags,  kText,       bias + kText,
                   bias + kText, text.size(), text.size(), kPageSize};
    segments[1] = {PT_LOAD, PF_R, data_at, data_address(), data_address(), data_size, data_size, kPageSize};
    segments[2] = {PT_DYNAMIC, PF_R, dynamic_at, 0, 0, sizeof dynamic, sizeof dynamic, 8};
    std::memcpy(file.data() + sizeof header, segments, sizeof segments);
    return file;
  }

 private:
  struct Frame {
    u64 begin;
    u64 end;
    u64 lsda;
    bool signal_frame;
  };
  // A CIE (absolute pointers throughout) and an FDE for each frame.
  std::vector<u8> unwind_table() const {
    std::vector<u8> out;
    auto put = [&](const auto& value) {
      auto* bytes = reinterpret_cast<const u8*>(&value);
      out.insert(out.end(), bytes, bytes + sizeof value);
    };
    for (const Frame& frame : frames_) {
      u32 cie = static_cast<u32>(out.size());
      put(u32{20});  // length
      put(u32{0});
      put(u8{1});
      for (char c : frame.signal_frame ? std::string_view("zLRS\0", 5) : std::string_view("zLR\0\0", 5))
        put(c);
      if (!frame.signal_frame) out.pop_back();
      for (u8 byte : {1, 0x78, 16, 2, 0, 0})
        put(byte);  // alignments, return address, length of: L and R absolute
      while (out.size() - cie < 24) put(u8{0});
      u32 fde = static_cast<u32>(out.size());
      put(u32{4 + 16 + 1 + 8 + 3});
      put(fde + 4 - cie);
      put(frame.begin);
      put(frame.end - frame.begin);
      put(u8{8});
      put(frame.lsda);
      while (out.size() - fde < 36) put(u8{0});
    }
    if (!frames_.empty()) put(u32{0});
    return out;
  }

  struct Named {
    std::string name;
    u64 value;
    u64 size;
    u8 type;
  };
  std::vector<Named> symbols_;
  std::vector<Elf64_Rela> relocations_;
  std::vector<Frame> frames_;
};

}  // namespace teacup::test
