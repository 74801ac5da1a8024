// The inodes of a tree in the order in which images store them, and what every format needs to know of them.
#pragma once

#include <unordered_map>
#include <utility>
#include <vector>

#include "images/tree.h"

namespace teacup::images {

// Children of one directory follow each other, so that listing and stating a directory touches neighbours;
// then each subdirectory's children in turn, depth first. The root is the first.
class InodeOrder {
 public:
  struct Entry {
    const Node* node;
    u32 parent;     // index of the parent, of a directory; the root's own
    u32 links = 0;  // st_nlink
  };

  // Error on names no file can have, and on a directory that is in the tree twice. The tree must outlive
  // this.
  explicit InodeOrder(const Tree& tree);

  const std::vector<Entry>& entries() const { return entries_; }
  u32 index_of(const Node& node) const { return index_.at(&node); }

 private:
  u32 add(const Node& node);

  std::vector<Entry> entries_;
  std::unordered_map<const Node*, u32> index_;
};

inline constexpr u32 kBlockBits = 12;  // of every image made here
inline constexpr u64 kBlockSize = u64{1} << kBlockBits;

inline u64 blocks_of(u64 bytes) {
  return (bytes + kBlockSize - 1) / kBlockSize;
}

using BlockRanges = std::vector<std::pair<u64, u64>>;  // [first, end) in blocks, in order, apart

// The runs of 2^chunk_bits blocks of the file that hold any data; the last one is cut at the end of the file.
BlockRanges data_chunks(const Content& content, u32 chunk_bits);

u64 total_blocks(const BlockRanges& ranges);

}  // namespace teacup::images
