// Directories of ext2/3/4: walked block by block, whether they are hashed or not (the index of a hashed one
// looks like blocks of unused entries). The cursor of an entry is its byte offset in the directory.

#include <cstring>
#include <utility>

#include "host/importer/ext4_walk.h"
#include "host/importer/response.h"

namespace teacup::importer {

namespace {

u32 mode_of_type(u8 type) {
  static constexpr u32 kModes[] = {0,
                                   LINUX_S_IFREG,
                                   LINUX_S_IFDIR,
                                   LINUX_S_IFCHR,
                                   LINUX_S_IFBLK,
                                   LINUX_S_IFIFO,
                                   LINUX_S_IFSOCK,
                                   LINUX_S_IFLNK};
  return type < std::size(kModes) ? kModes[type] : 0;
}

// Calls use() for the entries of one stretch of directory data, from byte `skip` of it on; the stretch starts
// at `base` of the directory. `more` receives whether to go on. Zero, or EUCLEAN.
template <typename Use>
int walk_entries(std::string_view data, u64 skip, u64 base, Use& use, bool& more) {
  constexpr u64 kHeader = 8;
  for (u64 at = 0; more && at + kHeader <= data.size();) {
    ext2_dir_entry entry;
    std::memcpy(static_cast<void*>(&entry), data.data() + at, kHeader);
    u64 length = entry.rec_len;
    if (data.size() >= 65536 && (length == 65535 || length == 0)) length = 65536;  // does not fit 16 bits
    const u64 name_length = entry.name_len & 0xff;
    if (length < kHeader || length % 4 != 0 || length > data.size() - at || kHeader + name_length > length) {
      return EUCLEAN;
    }
    if (entry.inode != 0 && at >= skip) {
      const std::string_view name = data.substr(at + kHeader, name_length);
      if (name.empty() || name.find('/') != name.npos || name.find('\0') != name.npos) return EUCLEAN;
      more = use(name, entry.inode, static_cast<u8>(entry.name_len >> 8), base + at + length);
    }
    at += length;
  }
  return 0;
}

}  // namespace

// The parent's number, then entries in two stretches, in the inode's block array and behind it; "." and ".."
// are only implied. Their cursors are 1 and 2; the data's own offsets start at 4.
template <typename Use>
int Ext4Image::walk_inline_directory(u64 number, const RawInode& inode, u64 cursor, Use& use) {
  std::string data;
  if (const int error = inline_data(number, inode, data)) return error;
  u32 parent;
  if (data.size() < sizeof(parent)) return EUCLEAN;
  std::memcpy(&parent, data.data(), sizeof(parent));
  bool more = true;
  if (cursor < 1) more = use(".", static_cast<u32>(number), EXT2_FT_DIR, 1);
  if (more && cursor < 2) more = use("..", parent, EXT2_FT_DIR, 2);
  const u64 middle = std::min<u64>(sizeof(inode.i_block), data.size());
  for (const auto& [start, end] :
       {std::pair<u64, u64>{sizeof(parent), middle}, std::pair<u64, u64>{middle, data.size()}}) {
    if (!more || cursor >= end) continue;
    const std::string_view stretch = std::string_view(data).substr(start, end - start);
    if (const int error = walk_entries(stretch, cursor > start ? cursor - start : 0, start, use, more)) {
      return error;
    }
  }
  return 0;
}

template <typename Use>
int Ext4Image::walk_directory(u64 number, const RawInode& inode, u64 cursor, Use use) {
  if ((inode.i_flags & EXT4_INLINE_DATA_FL) != 0) return walk_inline_directory(number, inode, cursor, use);
  const u64 block_size = fs_->blocksize;
  std::vector<char> block(block_size);
  bool more = true;
  int failed = 0;
  const int error = walk_extents(number, inode, cursor, [&](const abi::ImporterExtent& extent) {
    for (u64 done = 0; more && done < extent.length; done += block_size) {
      const u64 base = extent.file_offset + done;
      if (base >= inode.size()) return false;
      if (base + block_size <= cursor) continue;
      failed = errno_of(ext2fs_read_dir_block4(fs_, (extent.image_offset + done) / block_size, block.data(),
                                               0, static_cast<ext2_ino_t>(number)));
      if (failed == 0) {
        failed = walk_entries({block.data(), block_size}, cursor > base ? cursor - base : 0, base, use, more);
      }
      if (failed != 0) return false;
    }
    return more;
  });
  return error != 0 ? error : failed;
}

bool Ext4Image::add_entry(ResponseWriter& out, std::string_view name, u32 number, u8 type, u64 cursor) {
  abi::ImporterEntry entry{};
  RawInode inode;
  std::string target;
  int error = load_inode(number, inode);
  if (error == 0) error = describe(number, inode, entry.inode);
  if (error == 0 && LINUX_S_ISLNK(inode.i_mode)) error = link_target(number, inode, target);
  if (error != 0) {
    entry.inode = {};
    entry.inode.number = number;
    entry.inode.mode = mode_of_type(type);
    // An entry that names no inode in use is damage here, not an answer.
    entry.error = static_cast<u32>(error == ENOENT ? EUCLEAN : error);
    target.clear();
  }
  entry.name_length = static_cast<u16>(name.size());
  entry.target_length = static_cast<u16>(target.size());
  entry.cursor = cursor;
  return out.add(entry, name, target);
}

s64 Ext4Image::read_directory(const abi::ImporterRequest& request, ResponseWriter& out) {
  RawInode inode;
  if (const int error = load_directory(request.inode, inode)) return -error;
  bool full = false;
  u64 last = request.cursor;
  const int error = walk_directory(request.inode, inode, request.cursor,
                                   [&](std::string_view name, u32 number, u8 type, u64 cursor) {
                                     full = !add_entry(out, name, number, type, cursor);
                                     if (!full) last = cursor;
                                     return !full;
                                   });
  if (out.count() == 0 && error != 0) return -error;
  if (out.count() == 0 && full) return -ERANGE;
  // What comes before damage is delivered; the next request meets it again.
  if (full || error != 0) out.set_next(last);
  return out.finish();
}

s64 Ext4Image::lookup(const abi::ImporterRequest& request, std::string_view wanted, ResponseWriter& out) {
  RawInode inode;
  if (const int error = load_directory(request.inode, inode)) return -error;
  bool found = false;
  bool fits = true;
  const int error =
      walk_directory(request.inode, inode, 0, [&](std::string_view name, u32 number, u8 type, u64 cursor) {
        found = name == wanted;
        if (found) fits = add_entry(out, name, number, type, cursor);
        return !found;
      });
  if (!found) return error != 0 ? -error : -ENOENT;
  return fits ? out.finish() : -ERANGE;
}

}  // namespace teacup::importer
