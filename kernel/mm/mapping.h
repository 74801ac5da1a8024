// Mapping: one range of guest memory with one set of attributes, as /proc/PID/maps shows it; and MappingList,
// the sorted array of an address space's mappings.
//
// Why an array and not a tree: a process has tens to a few hundred mappings, at most 65 000. Binary search
// and the scan for a gap run over consecutive memory, an insertion moves half the array (200 mappings: 7 KB,
// 0.2 us, next to a host call of 3 us), and a fork copies it in one go. There is nothing to balance, and no
// allocation per mapping from a heap that the whole machine shares.
#pragma once

#include <utility>

#include "fs/file.h"
#include "kernel/base/ref.h"
#include "kernel/base/result.h"
#include "kernel/mm/text.h"

namespace teacup::mm {

enum class MappingKind : u8 {
  kNormal,
  kStack,  // the main stack
  kVdso,
  kTrampolines,  // of the object whose text is mapped elsewhere: to the guest, free address space
};

struct Mapping {
  u64 start = 0;
  u64 end = 0;
  u64 backed_end = 0;   // from here to end the host has nothing mapped: beyond the file's end (SIGBUS)
  u64 offset = 0;       // of `start` in the file, bytes
  Ref<fs::File> file;   // null: private anonymous memory
  Ref<Text> text;       // patched text: what is mapped is its frames, not the file's pages
  u64 object_base = 0;  // with text: where object offset 0 is
  u32 prot = 0;         // PROT_*
  bool shared = false;
  bool locked = false;
  bool no_fork = false;       // MADV_DONTFORK
  bool wipe_on_fork = false;  // MADV_WIPEONFORK
  bool no_reserve = false;
  bool may_write = true;  // mprotect may add PROT_WRITE: false for shared mappings of files open read-only
  bool grows_down = false;
  bool searched = false;  // for copies of patched text: copied_text.cc
  MappingKind kind = MappingKind::kNormal;

  u64 length() const { return end - start; }
  bool is_guest() const { return kind != MappingKind::kTrampolines; }
  bool is_anonymous() const { return !file && kind != MappingKind::kTrampolines; }
  // The same range cut to [from, to).
  Mapping slice(u64 from, u64 to) const;
  // True when `next`, which starts where this one ends, can be one mapping with it.
  bool joins(const Mapping& next) const;
};

class MappingList {
 public:
  MappingList() = default;
  MappingList(const MappingList&) = delete;
  MappingList& operator=(const MappingList&) = delete;
  ~MappingList();

  size_t size() const { return size_; }
  Mapping& operator[](size_t i) { return data_[i]; }
  const Mapping& operator[](size_t i) const { return data_[i]; }

  // Index of the first mapping that ends above `address`; size() if there is none.
  size_t find(u64 address) const;
  // The mapping that holds `address`, or null.
  Mapping* at(u64 address);
  const Mapping* at(u64 address) const { return const_cast<MappingList*>(this)->at(address); }
  bool is_free(u64 start, u64 end) const;

  // Room for `count` more, so that the insertions that follow cannot fail. ENOMEM.
  Result<void> reserve(size_t count);
  // Both need room (reserve). insert: nothing may overlap; it is joined with its neighbours where it can be.
  void insert(Mapping mapping);
  void insert_at(size_t index, Mapping mapping);
  void erase(size_t first, size_t count);
  // Cuts the mapping that spans `address` in two there. Needs room for one.
  void split(u64 address);
  // Joins what lies side by side and belongs together in [start, end], borders included.
  void join(u64 start, u64 end);
  void clear();

 private:
  Mapping* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace teacup::mm
