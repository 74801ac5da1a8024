// DirTable: the entries of a directory that the memory layer holds: found by name, listed in order of making,
// stable under change (a position stays behind what it was behind, whatever comes and goes). An entry without
// an inode is a whiteout: the name exists in the image below, and is gone.
//
// Locks: none of its own; under the file system's tree lock.
#pragma once

#include <string_view>

#include "fs/inode.h"
#include "kernel/frame/heap.h"

namespace teacup::fs {

class DirTable {
 public:
  struct Entry {
    Entry* next;   // in the bucket
    Inode* inode;  // counted; null: whiteout
    u64 position;  // rising with each entry made
    u32 hash;
    bool covers;  // the image has an entry of this name
    u8 name_length;
    // Its text follows.
    char* text() { return reinterpret_cast<char*>(this + 1); }
    std::string_view name() { return {text(), name_length}; }
  };

  ~DirTable();

  Entry* find(std::string_view name) const;
  bool empty() const { return count_ == 0; }  // of entries, whiteouts included
  u64 live() const { return live_; }          // entries that are not whiteouts
  // The name must not be there. `inode` null: a whiteout. NOSPC.
  Result<Entry*> insert(std::string_view name, Ref<Inode> inode, bool covers);
  // Changes what the name stands for; the old inode goes to the caller, to be dropped after the lock.
  Ref<Inode> replace(Entry& entry, Ref<Inode> inode);
  Ref<Inode> erase(Entry& entry);
  // The first live entry with a position >= `position`; null: none.
  Entry* at_or_after(u64 position) const;
  // All entries, whiteouts included, in order of making.
  template <typename Visit>
  void visit(Visit visit) const {
    for (size_t i = 0; i < order_used_; i++) {
      if (order_.data()[i].entry != nullptr) visit(*order_.data()[i].entry);
    }
  }

 private:
  struct Slot {
    u64 position;
    Entry* entry;  // null: erased
  };
  Result<void> grow_buckets();
  Result<void> append(Entry& entry);
  size_t lower_bound(u64 position) const;

  HeapArray<Entry*> buckets_;
  HeapArray<Slot> order_;
  size_t order_used_ = 0;
  size_t erased_ = 0;
  u64 count_ = 0;
  u64 live_ = 0;
  u64 next_position_ = 0;
};

}  // namespace teacup::fs
