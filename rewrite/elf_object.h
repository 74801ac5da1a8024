// An ELF file as the rewriter sees it: checked once, then safe to ask anything. The file may be hostile:
// whatever is read through this class lies inside the bytes it was given.
#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/abi/prepared.h"
#include "rewrite/isa.h"

namespace teacup::rewrite {

struct Segment {
  u64 file_offset = 0;
  u64 file_size = 0;
  u64 vaddr = 0;
  u64 memory_size = 0;
  bool writable = false;
  bool executable = false;

  u64 file_end() const { return vaddr + file_size; }  // address behind the last byte that comes from the file
  u64 end() const { return vaddr + memory_size; }
};

struct Symbol {
  u64 value = 0;
  u64 size = 0;
  u32 name = 0;
  u8 table = 0;
  bool function = false;
};

class ElfObject {
 public:
  // Checks the headers. On failure `status` and `message` say why the file is not to be patched.
  static std::optional<ElfObject> create(Bytes file, abi::PreparedStatus& status, std::string& message);

  const std::vector<Segment>& segments() const { return segments_; }  // all PT_LOADs, by address
  bool relocatable() const { return relocatable_; }  // ET_DYN: absolute addresses have relocations
  // Is it a program, not a library whose code others call? (A static PIE counts as a library.)
  bool is_program() const { return !relocatable_ || interpreted_; }
  // Is it a program that is linked with all it needs and loaded where it was linked?
  bool is_static() const { return !relocatable_ && !interpreted_; }
  u64 base() const { return page_down(segments_.front().vaddr); }
  u64 end() const { return page_up(segments_.back().end()); }
  u64 entry() const { return entry_; }

  // The file's bytes at an address up to the end of what its segment has from the file; empty where there is
  // none.
  Bytes from(u64 vaddr) const;
  // Exactly `size` bytes at an address; empty where the file has not all of them.
  Bytes at(u64 vaddr, u64 size) const;
  const Segment* segment_at(u64 vaddr) const;
  bool is_text(u64 vaddr) const {
    const Segment* segment = segment_at(vaddr);
    return segment && segment->executable;
  }

  // Whether the section headers, where there are any, call an address code. (Some linkers put all data into
  // the one executable segment.)
  bool may_be_code(u64 vaddr) const;

  u64 eh_frame_header() const { return eh_frame_header_; }  // its address, 0 without one
  // The value of a dynamic tag, 0 without it.
  u64 dynamic(s64 tag) const;
  // The address that a relative relocation (DT_RELA) has the loader add its base to and put at `vaddr`; 0
  // without one.
  u64 relocated(u64 vaddr) const;
  // A section's bytes by name, empty without one. `vaddr` receives its address.
  Bytes section(std::string_view name, u64* vaddr = nullptr) const;

  bool has_sections() const { return !sections_.empty(); }

  // All symbols with an address in text, unsorted. The tables' names live as long as the file.
  std::vector<Symbol> text_symbols() const;
  std::string_view symbol_name(const Symbol& symbol) const;

 private:
  bool read_segments(u64 table, u16 count, std::string& message);
  void read_sections(u64 table, u16 count, u16 names);
  Bytes part(u64 offset, u64 size) const {
    if (offset > file_.size() || file_.size() - offset < size) return {};
    return file_.subspan(offset, size);
  }

  struct Section {
    std::string_view name;
    u32 type;
    u32 link;
    u64 vaddr;
    u64 size;
    bool code;
    Bytes bytes;
  };

  Bytes file_;
  std::vector<Segment> segments_;
  std::vector<Section> sections_;
  std::vector<std::pair<s64, u64>> dynamic_;
  u64 entry_ = 0;
  u64 eh_frame_header_ = 0;
  bool relocatable_ = false;
  bool interpreted_ = false;
};

}  // namespace teacup::rewrite
