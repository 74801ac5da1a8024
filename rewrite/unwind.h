// What .eh_frame says about functions: where they begin and end, which is the best knowledge a stripped
// binary holds, and where exceptions land in them. LSB 5 "Exception Frames", Itanium C++ ABI "Exception
// Handling Tables".
#pragma once

#include <optional>
#include <vector>

#include "rewrite/elf_object.h"

namespace teacup::rewrite {

// One FDE.
struct Frame {
  u64 begin = 0;
  u64 end = 0;
  u64 lsda = 0;               // language-specific data (landing pads), 0 without
  u64 fde = 0;                // its address
  bool signal_frame = false;  // a signal trampoline: `begin` is one byte before the first instruction
};

class UnwindTable {
 public:
  explicit UnwindTable(const ElfObject& object);

  size_t size() const { return table_.empty() ? entries_.size() : table_.size() / 8; }
  // Where the i-th function begins, in rising order.
  u64 begin(size_t i) const { return table_.empty() ? entries_[i].begin : header_ + field(i * 8); }
  // The FDE that covers an address.
  std::optional<Frame> find(u64 address) const;
  // The end of the last FDE before an address that none covers, and the beginning of the next; 0 and ~0
  // without one.
  u64 end_before(u64 address) const;
  u64 begin_after(u64 address) const;
  // Where exceptions land in a function.
  std::vector<u64> landing_pads(const Frame& frame) const;

 private:
  struct Entry {
    u64 begin;
    u64 fde;  // its address
  };

  bool read_header();
  void read_all();
  std::optional<Frame> parse(u64 fde) const;
  std::optional<Frame> frame(size_t i) const {
    return parse(table_.empty() ? entries_[i].fde : header_ + field(i * 8 + 4));
  }
  u64 field(size_t at) const { return static_cast<u64>(s64{*load<s32>(table_, at)}); }
  size_t index_after(u64 address) const;

  const ElfObject& object_;
  // The linker's table is searched in place: large libraries have hundreds of thousands of entries, and most
  // are asked about a handful of addresses. Without that table, entries_.
  u64 header_ = 0;
  Bytes table_;
  std::vector<Entry> entries_;
};

}  // namespace teacup::rewrite
