// EROFS directories and extended attributes. See erofs.cc.
//
// A directory is blocks of: entries of 12 bytes, then their names, sorted by name across all blocks. How many
// entries follows from where the first name starts; a name ends where the next starts, the last one at a NUL
// or the block's end.
#include <algorithm>

#include "fs/erofs.h"
#include "kernel/base/memory.h"

namespace teacup::fs {

using namespace erofs;

namespace {

// Linux: include/linux/xattr.h's prefixes, by e_name_index.
constexpr std::string_view kPrefixes[] = {
    "", "user.", "system.posix_acl_access", "system.posix_acl_default", "trusted.", "lustre.", "security."};

u8 entry_type(u8 type) {
  constexpr u8 kTypes[] = {abi::kDT_UNKNOWN, abi::kDT_REG,  abi::kDT_DIR,  abi::kDT_CHR,
                           abi::kDT_BLK,     abi::kDT_FIFO, abi::kDT_SOCK, abi::kDT_LNK};
  return type < std::size(kTypes) ? kTypes[type] : abi::kDT_UNKNOWN;
}

// As the image sorts them: bytewise, a prefix first.
int compare(std::string_view a, std::string_view b) {
  int order = memcmp(a.data(), b.data(), std::min(a.size(), b.size()));
  if (order != 0) return order;
  return a.size() < b.size() ? -1 : a.size() > b.size() ? 1 : 0;
}

constexpr u64 kOnes = 0x0101010101010101;
constexpr bool has_zero(u64 word) {
  return ((word - kOnes) & ~word & kOnes << 7) != 0;
}

// What the guest may see as a name.
bool is_good_name(std::string_view name) {
  if (name.empty() || name.size() > static_cast<size_t>(abi::kNAME_MAX)) return false;
  size_t i = 0;
  for (; i + 8 <= name.size(); i += 8) {
    u64 word;
    __builtin_memcpy(&word, name.data() + i, 8);
    if (has_zero(word) || has_zero(word ^ '/' * kOnes)) return false;
  }
  for (; i < name.size(); i++) {
    if (name[i] == '/' || name[i] == '\0') return false;
  }
  return true;
}

}  // namespace

Result<ErofsImage::Block> ErofsImage::directory_block(const Inode& inode, u64 index) const {
  u64 offset = index << block_bits_;
  u64 size = std::min(block_size(), inode.node.size - offset);
  ImageSpan span = TRY(span_at(inode, offset));
  if (span.kind != ImageSpan::kMapped || span.length < size) return Errno::UCLEAN;
  TRY(present(span.host_offset, size));
  Block block{span.data, static_cast<u32>(size), 0};
  if (size < sizeof(DirectoryEntry)) return Errno::UCLEAN;
  DirectoryEntry first;
  __builtin_memcpy(&first, block.data, sizeof first);
  if (first.name_offset < sizeof(DirectoryEntry) || first.name_offset >= size) return Errno::UCLEAN;
  block.entries = first.name_offset / sizeof(DirectoryEntry);
  return block;
}

Result<DirectoryEntry> ErofsImage::entry(const Block& block, u32 index) const {
  u64 offset = u64{index} * sizeof(DirectoryEntry);
  if (offset + sizeof(DirectoryEntry) > block.size) return Errno::UCLEAN;
  DirectoryEntry entry;
  __builtin_memcpy(&entry, block.data + offset, sizeof entry);
  return entry;
}

Result<std::string_view> ErofsImage::entry_name(const Block& block, u32 index) const {
  u32 start = TRY(entry(block, index)).name_offset;
  u32 end = block.size;
  if (index + 1 < block.entries) end = TRY(entry(block, index + 1)).name_offset;
  if (start >= end || end > block.size) return Errno::UCLEAN;
  const char* text = reinterpret_cast<const char*>(block.data) + start;
  std::string_view name(text, end - start);
  if (index + 1 == block.entries) name = name.substr(0, name.find('\0'));
  return name;
}

// `behind`: as read_directory's cursor.
void ErofsImage::remember(u64 directory, u64 behind) {
  if (directory >> 32 == 0 && behind >> 32 == 0)
    last_found_.store(directory << 32 | behind, std::memory_order_relaxed);
}

// Whether `name` is the one behind that which was found last, or that one again; NOENT: it may be elsewhere.
Result<u64> ErofsImage::lookup_near(const Inode& inode, u64 directory, std::string_view name) {
  u64 last = last_found_.load(std::memory_order_relaxed);
  if (last >> 32 != directory) return Errno::NOENT;
  u64 index = (last & 0xffff'ffff) >> block_bits_;
  u32 behind = static_cast<u32>(last & (block_size() - 1));
  if (index << block_bits_ >= inode.node.size) return Errno::NOENT;
  Block block = TRY(directory_block(inode, index));
  auto is_at = [&](const Block& in, u32 place) -> Result<bool> {
    return place < in.entries && compare(TRY(entry_name(in, place)), name) == 0;
  };
  if (TRY(is_at(block, behind))) {
    remember(directory, (index << block_bits_) + behind + 1);
    return TRY(entry(block, behind)).nid;
  }
  if (behind > 0 && TRY(is_at(block, behind - 1))) return TRY(entry(block, behind - 1)).nid;
  if (behind < block.entries || ++index << block_bits_ >= inode.node.size) return Errno::NOENT;
  block = TRY(directory_block(inode, index));
  if (!TRY(is_at(block, 0))) return Errno::NOENT;
  remember(directory, (index << block_bits_) + 1);
  return TRY(entry(block, 0)).nid;
}

Result<u64> ErofsImage::lookup(u64 directory, std::string_view name) {
  Inode inode = TRY(this->inode(directory));
  if ((inode.node.mode & abi::kS_IFMT) != abi::kS_IFDIR) return Errno::UCLEAN;
  if (auto near = lookup_near(inode, directory, name); !near.is(Errno::NOENT)) return near;
  // The last block whose first name is not behind ours; then within it.
  u64 low = 0;
  u64 high = (inode.node.size + block_size() - 1) >> block_bits_;
  while (low < high) {
    u64 middle = low + (high - low) / 2;
    Block block = TRY(directory_block(inode, middle));
    if (compare(TRY(entry_name(block, 0)), name) <= 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0) return Errno::NOENT;
  Block block = TRY(directory_block(inode, low - 1));
  u32 first = 0;
  u32 last = block.entries;
  while (first < last) {
    u32 middle = first + (last - first) / 2;
    int order = compare(TRY(entry_name(block, middle)), name);
    if (order == 0) {
      u64 found = TRY(entry(block, middle)).nid;
      remember(directory, ((low - 1) << block_bits_) + middle + 1);
      return found;
    }
    if (order < 0) {
      first = middle + 1;
    } else {
      last = middle;
    }
  }
  return Errno::NOENT;
}

// The cursor is a place in the directory: block offset + index of the entry.
Result<void> ErofsImage::read_directory(u64 directory, ImageDirSink& sink, u64& cursor) {
  Inode inode = TRY(this->inode(directory));
  if ((inode.node.mode & abi::kS_IFMT) != abi::kS_IFDIR) return Errno::UCLEAN;
  for (;;) {
    u64 index = cursor >> block_bits_;
    u64 in_block = cursor & (block_size() - 1);
    if (cursor >= page_up(inode.node.size + block_size()) || index << block_bits_ >= inode.node.size)
      return {};
    Block block = TRY(directory_block(inode, index));
    for (u64 i = in_block; i < block.entries; i++) {
      DirectoryEntry found = TRY(entry(block, static_cast<u32>(i)));
      std::string_view name = TRY(entry_name(block, static_cast<u32>(i)));
      u64 next = (index << block_bits_) + i + 1;
      // A name that no call could use is not shown.
      if (is_good_name(name) && name != "." && name != ".." &&
          !sink.add(name, found.nid, entry_type(found.type), next)) {
        return {};
      }
      cursor = next;
    }
    cursor = (index + 1) << block_bits_;
  }
}

Result<ErofsImage::Xattr> ErofsImage::xattr_at(u64 offset, u64 limit, u64& next) const {
  auto raw = TRY(load<XattrEntry>(offset));
  u64 size = sizeof(raw) + raw.name_length + raw.value_size;
  if (offset + size > limit) return Errno::UCLEAN;
  auto all = TRY(present(offset, size));
  if (raw.name_index >= std::size(kPrefixes)) return Errno::UCLEAN;
  Xattr xattr;
  xattr.prefix = kPrefixes[raw.name_index];
  xattr.name = {reinterpret_cast<const char*>(all.data()) + sizeof(raw), raw.name_length};
  xattr.value = all.subspan(sizeof(raw) + raw.name_length, raw.value_size);
  next = offset + align_up(size, 4);
  return xattr;
}

// Calls visit(xattr) -> bool (true: stop) for each; true if stopped.
template <typename Visit>
Result<bool> ErofsImage::each_xattr(u64 node, Visit visit) const {
  Inode inode = TRY(this->inode(node));
  if (inode.xattr_size == 0) return false;
  u64 end = inode.end + inode.xattr_size;
  auto header = TRY(load<XattrHeader>(inode.end));
  u64 at = inode.end + sizeof(header) + u64{header.shared_count} * 4;
  if (at > end) return Errno::UCLEAN;
  u64 next;
  for (u32 i = 0; i < header.shared_count; i++) {
    u32 id = TRY(load<u32>(inode.end + sizeof(header) + u64{i} * 4));
    Xattr xattr = TRY(xattr_at(xattr_offset_ + u64{id} * 4, size_, next));
    if (TRY(visit(xattr))) return true;
  }
  while (at + sizeof(XattrEntry) <= end) {
    Xattr xattr = TRY(xattr_at(at, end, next));
    if (TRY(visit(xattr))) return true;
    at = next;
  }
  return false;
}

Result<size_t> ErofsImage::get_xattr(u64 node, std::string_view name, std::span<std::byte> value) {
  size_t size = 0;
  bool found = TRY(each_xattr(node, [&](const Xattr& xattr) -> Result<bool> {
    if (name.size() != xattr.prefix.size() + xattr.name.size() || !name.starts_with(xattr.prefix) ||
        !name.ends_with(xattr.name)) {
      return false;
    }
    size = xattr.value.size();
    if (value.empty()) return true;
    if (value.size() < size) return Errno::RANGE;
    if (size > 0) memcpy(value.data(), xattr.value.data(), size);
    return true;
  }));
  if (!found) return Errno::NODATA;
  return size;
}

Result<size_t> ErofsImage::list_xattrs(u64 node, std::span<char> names) {
  size_t total = 0;
  TRY(each_xattr(node, [&](const Xattr& xattr) -> Result<bool> {
    size_t size = xattr.prefix.size() + xattr.name.size() + 1;
    if (!names.empty()) {
      if (total + size > names.size()) return Errno::RANGE;
      memcpy(names.data() + total, xattr.prefix.data(), xattr.prefix.size());
      memcpy(names.data() + total + xattr.prefix.size(), xattr.name.data(), xattr.name.size());
      names[total + size - 1] = '\0';
    }
    total += size;
    return false;
  }));
  return total;
}

}  // namespace teacup::fs
