#include "images/inode_order.h"

#include <algorithm>

#include "images/error.h"

namespace teacup::images {

u32 InodeOrder::add(const Node& node) {
  const auto [found, added] = index_.try_emplace(&node, static_cast<u32>(entries_.size()));
  if (added) entries_.push_back({&node, ~u32{0}});
  ++entries_[found->second].links;
  return found->second;
}

InodeOrder::InodeOrder(const Tree& tree) {
  std::vector<u32> todo{add(tree.root())};
  entries_[0].parent = 0;
  ++entries_[0].links;  // its "."
  while (!todo.empty()) {
    const u32 directory = todo.back();
    todo.pop_back();
    const size_t first = todo.size();
    for (const auto& [name, child] : entries_[directory].node->children) {
      if (name.size() > 255 || name.empty() || name == "." || name == "..") {
        throw Error("a file cannot be named '" + name + "'");
      }
      const u32 index = add(*child);
      if (!child->is_directory()) continue;
      if (entries_[index].parent != ~u32{0}) throw Error("directory " + name + " is in the tree twice");
      entries_[index].parent = directory;
      ++entries_[index].links;
      ++entries_[directory].links;  // the child's ".."
      todo.push_back(index);
    }
    std::reverse(todo.begin() + static_cast<std::ptrdiff_t>(first), todo.end());
  }
}

BlockRanges data_chunks(const Content& content, u32 chunk_bits) {
  BlockRanges ranges;
  const u64 chunk = u64{1} << chunk_bits;
  const u64 all = blocks_of(content.size);
  for (const Content::Piece& piece : content.pieces) {
    const u64 first = align_down(piece.offset / kBlockSize, chunk);
    const u64 end = std::min(align_up(blocks_of(piece.offset + piece.length), chunk), all);
    if (!ranges.empty() && first <= ranges.back().second) {
      ranges.back().second = std::max(ranges.back().second, end);
    } else {
      ranges.emplace_back(first, end);
    }
  }
  return ranges;
}

u64 total_blocks(const BlockRanges& ranges) {
  u64 blocks = 0;
  for (const auto& [first, end] : ranges) blocks += end - first;
  return blocks;
}

}  // namespace teacup::images
