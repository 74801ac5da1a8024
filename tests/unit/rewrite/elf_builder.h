// Small ELF files for tests: one executable segment of given bytes, read-only data, symbols.
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "kernel/base/types.h"

namespace teacup::test {

inline constexpr u64 kText = 0x1000;  // where the text is, in the file and in memory

class ElfBuilder {
 public:
  std::vector<u8> text;
  std::vector<u8> data;  // follows the text on its own page, read-only
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

    std::string names("\0", 1);
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
    std::vector<Elf64_Shdr> sections(3);
    sections[1].sh_type = SHT_SYMTAB;
    sections[1].sh_link = 2;
    sections[1].sh_size = symbols.size() * sizeof(Elf64_Sym);
    sections[1].sh_offset = append(symbols.data(), sections[1].sh_size);
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
    header.e_phnum = data.empty() ? 1 : 2;
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = static_cast<u16>(sections.size());
    header.e_shoff = append(sections.data(), sections.size() * sizeof(Elf64_Shdr));
    std::memcpy(file.data(), &header, sizeof header);
    Elf64_Phdr segments[2] = {};
    segments[0] = {PT_LOAD,      text_flags,  kText,       bias + kText,
                   bias + kText, text.size(), text.size(), kPageSize};
    segments[1] = {PT_LOAD,        PF_R,        data_at,     data_address(),
                   data_address(), data.size(), data.size(), kPageSize};
    std::memcpy(file.data() + sizeof header, segments, sizeof segments);
    return file;
  }

 private:
  struct Named {
    std::string name;
    u64 value;
    u64 size;
    u8 type;
  };
  std::vector<Named> symbols_;
};

}  // namespace teacup::test
