// Parsed by hand, not with libelf: the headers that matter here are few, libelf reads section headers first
// (which the loader never looks at and strippers remove), and every offset of a hostile file must be checked
// anyway.
#include "rewrite/elf_object.h"

#include <elf.h>

#include <algorithm>

namespace teacup::rewrite {
namespace {

constexpr u64 kAddressLimit = u64{1} << 47;
// Where all of an object's text can reach trampolines behind its end, with room for them.
constexpr u64 kReach = 2 * GiB - 64 * MiB;

std::string_view string_at(Bytes table, u64 offset) {
  if (offset >= table.size()) return {};
  const char* start = reinterpret_cast<const char*>(table.data() + offset);
  return {start, strnlen(start, table.size() - offset)};
}

}  // namespace

std::optional<ElfObject> ElfObject::create(Bytes file, abi::PreparedStatus& status, std::string& message) {
  status = abi::kPreparedNotElf;
  std::optional<Elf64_Ehdr> header = load<Elf64_Ehdr>(file, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) {
    message = "not an ELF file";
    return std::nullopt;
  }
  bool native = header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_ident[EI_DATA] == ELFDATA2LSB &&
                header->e_machine == EM_X86_64;
  if (!native || (header->e_type != ET_EXEC && header->e_type != ET_DYN)) {
    message = "not an x86-64 executable or shared object";
    return std::nullopt;
  }
  status = abi::kPreparedBadElf;
  ElfObject object;
  object.file_ = file;
  object.entry_ = header->e_entry;
  object.relocatable_ = header->e_type == ET_DYN;
  if (header->e_phentsize != sizeof(Elf64_Phdr)) {
    message = "program headers of an unknown size";
    return std::nullopt;
  }
  if (!object.read_segments(header->e_phoff, header->e_phnum, message)) return std::nullopt;
  if (header->e_shentsize == sizeof(Elf64_Shdr)) {
    object.read_sections(header->e_shoff, header->e_shnum, header->e_shstrndx);
  }
  status = abi::kPreparedPatched;
  return object;
}

bool ElfObject::read_segments(u64 table, u16 count, std::string& message) {
  Bytes headers = part(table, u64{count} * sizeof(Elf64_Phdr));
  if (count == 0 || headers.empty()) {
    message = "program headers lie outside the file";
    return false;
  }
  Bytes dynamic;
  for (u16 i = 0; i < count; i++) {
    Elf64_Phdr header = *load<Elf64_Phdr>(headers, i * sizeof(Elf64_Phdr));
    if (header.p_type == PT_GNU_EH_FRAME) eh_frame_header_ = header.p_vaddr;
    if (header.p_type == PT_INTERP) interpreted_ = true;
    if (header.p_type == PT_DYNAMIC) dynamic = part(header.p_offset, header.p_filesz);
    if (header.p_type != PT_LOAD || header.p_memsz == 0) continue;
    bool sound = header.p_filesz <= header.p_memsz && header.p_offset <= file_.size() &&
                 header.p_filesz <= file_.size() - header.p_offset && header.p_vaddr < kAddressLimit &&
                 header.p_memsz < kAddressLimit && (header.p_offset - header.p_vaddr) % kPageSize == 0;
    if (!sound) {
      message = "a segment lies outside the file or the address space";
      return false;
    }
    segments_.push_back({.file_offset = header.p_offset,
                         .file_size = header.p_filesz,
                         .vaddr = header.p_vaddr,
                         .memory_size = header.p_memsz,
                         .writable = (header.p_flags & PF_W) != 0,
                         .executable = (header.p_flags & PF_X) != 0});
  }
  if (segments_.empty()) {
    message = "nothing to load";
    return false;
  }
  for (size_t i = 1; i < segments_.size(); i++) {
    if (segments_[i].vaddr < segments_[i - 1].end()) {
      message = "segments overlap or are out of order";
      return false;
    }
  }
  // One byte of the file executed at two addresses cannot be patched for both.
  for (const Segment& a : segments_) {
    for (const Segment& b : segments_) {
      bool both = &a != &b && a.executable && b.executable && a.file_size && b.file_size;
      if (both && a.file_offset < b.file_offset + b.file_size &&
          b.file_offset < a.file_offset + a.file_size) {
        message = "two executable segments share bytes of the file";
        return false;
      }
    }
  }
  if (end() - base() > kReach) {
    message = "the object spans more than a jump reaches";
    return false;
  }
  for (size_t i = 0; i + sizeof(Elf64_Dyn) <= dynamic.size(); i += sizeof(Elf64_Dyn)) {
    Elf64_Dyn entry = *load<Elf64_Dyn>(dynamic, i);
    if (entry.d_tag == DT_NULL) break;
    dynamic_.emplace_back(entry.d_tag, entry.d_un.d_val);
  }
  return true;
}

void ElfObject::read_sections(u64 table, u16 count, u16 names) {
  Bytes headers = part(table, u64{count} * sizeof(Elf64_Shdr));
  if (headers.empty()) return;
  Bytes strings;
  if (names < count) {
    Elf64_Shdr header = *load<Elf64_Shdr>(headers, names * sizeof(Elf64_Shdr));
    strings = part(header.sh_offset, header.sh_size);
  }
  for (u16 i = 0; i < count; i++) {
    Elf64_Shdr header = *load<Elf64_Shdr>(headers, i * sizeof(Elf64_Shdr));
    bool in_file = header.sh_type != SHT_NOBITS && !(header.sh_flags & SHF_COMPRESSED);
    sections_.push_back({.name = string_at(strings, header.sh_name),
                         .type = header.sh_type,
                         .link = header.sh_link,
                         .vaddr = header.sh_addr,
                         .size = header.sh_size,
                         .code = (header.sh_flags & SHF_EXECINSTR) != 0,
                         .bytes = in_file ? part(header.sh_offset, header.sh_size) : Bytes{}});
  }
}

const Segment* ElfObject::segment_at(u64 vaddr) const {
  for (const Segment& segment : segments_) {
    if (vaddr >= segment.vaddr && vaddr < segment.end()) return &segment;
  }
  return nullptr;
}

bool ElfObject::may_be_code(u64 vaddr) const {
  bool any = false;
  for (const Section& section : sections_) {
    if (!section.code) continue;
    any = true;
    if (vaddr - section.vaddr < section.size) return true;
  }
  return !any;
}

Bytes ElfObject::from(u64 vaddr) const {
  const Segment* segment = segment_at(vaddr);
  if (!segment || vaddr >= segment->file_end()) return {};
  u64 into = vaddr - segment->vaddr;
  return file_.subspan(segment->file_offset + into, segment->file_size - into);
}

Bytes ElfObject::at(u64 vaddr, u64 size) const {
  Bytes bytes = from(vaddr);
  return bytes.size() < size ? Bytes{} : bytes.first(size);
}

u64 ElfObject::dynamic(s64 tag) const {
  for (auto [t, value] : dynamic_) {
    if (t == tag) return value;
  }
  return 0;
}

u64 ElfObject::relocated(u64 vaddr) const {
  Bytes table = at(dynamic(DT_RELA), dynamic(DT_RELASZ));
  for (size_t i = 0; i + sizeof(Elf64_Rela) <= table.size(); i += sizeof(Elf64_Rela)) {
    Elf64_Rela entry = *load<Elf64_Rela>(table, i);
    if (entry.r_offset == vaddr && ELF64_R_TYPE(entry.r_info) == R_X86_64_RELATIVE) {
      return static_cast<u64>(entry.r_addend);
    }
  }
  return 0;
}

Bytes ElfObject::section(std::string_view name, u64* vaddr) const {
  for (const Section& section : sections_) {
    if (section.name != name) continue;
    if (vaddr) *vaddr = section.vaddr;
    return section.bytes;
  }
  return {};
}

std::vector<Symbol> ElfObject::text_symbols() const {
  std::vector<Symbol> symbols;
  for (size_t i = 0; i < sections_.size() && i < 256; i++) {
    const Section& section = sections_[i];
    if (section.type != SHT_SYMTAB && section.type != SHT_DYNSYM) continue;
    for (size_t at = 0; at + sizeof(Elf64_Sym) <= section.bytes.size(); at += sizeof(Elf64_Sym)) {
      Elf64_Sym symbol = *load<Elf64_Sym>(section.bytes, at);
      u8 type = ELF64_ST_TYPE(symbol.st_info);
      bool code = type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE;
      if (!code || symbol.st_shndx == SHN_UNDEF || symbol.st_shndx == SHN_ABS || !is_text(symbol.st_value))
        continue;
      u64 room = segment_at(symbol.st_value)->file_end();
      u64 size = symbol.st_value < room ? std::min(symbol.st_size, room - symbol.st_value) : 0;
      symbols.push_back({.value = symbol.st_value,
                         .size = size,
                         .name = symbol.st_name,
                         .table = static_cast<u8>(i),
                         .function = type != STT_NOTYPE});
    }
  }
  return symbols;
}

std::string_view ElfObject::symbol_name(const Symbol& symbol) const {
  u32 strings = sections_[symbol.table].link;
  return strings < sections_.size() ? string_at(sections_[strings].bytes, symbol.name) : std::string_view{};
}

}  // namespace teacup::rewrite
