#include "host/importer/ext4_image.h"

#include <unistd.h>

#include <algorithm>

#include "host/importer/ext4_walk.h"
#include "host/importer/fd_io.h"
#include "host/importer/response.h"

namespace teacup::importer {

namespace {

constexpr u32 kSuperMagic = 0xEF53;
constexpr u64 kMaxTarget = 4095;  // of a symlink: PATH_MAX less its NUL
constexpr u64 kMaxInlineData = 64 * KiB;

struct Feature {
  u32 bit;
  const char* name;
  bool readable;
};
// The incompatible features there are, by mke2fs's names.
constexpr Feature kFeatures[] = {
    {EXT2_FEATURE_INCOMPAT_COMPRESSION, "compression", false},
    {EXT2_FEATURE_INCOMPAT_FILETYPE, "filetype", true},
    {EXT3_FEATURE_INCOMPAT_RECOVER, "needs_recovery", true},  // has its own message
    {EXT3_FEATURE_INCOMPAT_JOURNAL_DEV, "journal_dev", false},
    {EXT2_FEATURE_INCOMPAT_META_BG, "meta_bg", true},
    {EXT3_FEATURE_INCOMPAT_EXTENTS, "extent", true},
    {EXT4_FEATURE_INCOMPAT_64BIT, "64bit", true},
    {EXT4_FEATURE_INCOMPAT_MMP, "mmp", true},
    {EXT4_FEATURE_INCOMPAT_FLEX_BG, "flex_bg", true},
    {EXT4_FEATURE_INCOMPAT_EA_INODE, "ea_inode", true},
    {EXT4_FEATURE_INCOMPAT_DIRDATA, "dirdata", false},
    {EXT4_FEATURE_INCOMPAT_CSUM_SEED, "metadata_csum_seed", true},
    {EXT4_FEATURE_INCOMPAT_LARGEDIR, "large_dir", true},
    {EXT4_FEATURE_INCOMPAT_INLINE_DATA, "inline_data", true},
    {EXT4_FEATURE_INCOMPAT_ENCRYPT, "encrypt", false},
    {EXT4_FEATURE_INCOMPAT_CASEFOLD, "casefold", false},
};

std::string unreadable_features(u32 features) {
  std::string names;
  const auto add = [&names](const std::string& name) { names += (names.empty() ? "" : ", ") + name; };
  for (const Feature& feature : kFeatures) {
    if ((features & feature.bit) != 0 && !feature.readable) add(feature.name);
    features &= ~feature.bit;
  }
  for (u32 bit = 0; bit < 32; ++bit) {
    if ((features & (u32{1} << bit)) != 0) add("FEATURE_I" + std::to_string(bit));
  }
  return names;
}

// What must hold before libext2fs is let at the image; its own checks follow in ext2fs_open2().
std::string check_super_block(const ext2_super_block& super, u64 size) {
  if (super.s_magic != kSuperMagic) return "it is not an ext2, ext3 or ext4 file system";
  if (const std::string names = unreadable_features(super.s_feature_incompat); !names.empty()) {
    return "its ext4 file system uses features teacup cannot read: " + names;
  }
  if ((super.s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER) != 0) {
    return "its journal was not replayed, as after a crash; make a copy of the image and run: e2fsck -fy "
           "COPY";
  }
  if (super.s_log_block_size > 6) {
    return "its super block is damaged (block size); make a copy of the image and run: e2fsck -fy COPY";
  }
  u64 blocks = super.s_blocks_count;
  if ((super.s_feature_incompat & EXT4_FEATURE_INCOMPAT_64BIT) != 0)
    blocks |= u64{super.s_blocks_count_hi} << 32;
  if (blocks > size >> (10 + super.s_log_block_size)) {
    return "it is truncated: it has " + std::to_string(size) + " bytes, its file system " +
           std::to_string(blocks) + " blocks of " + std::to_string(1024 << super.s_log_block_size);
  }
  return {};
}

}  // namespace

std::unique_ptr<Ext4Image> Ext4Image::open(int fd, std::string& error) {
  initialize_ext2_error_table();
  ext2_super_block super{};
  if (::pread(fd, &super, sizeof(super), SUPERBLOCK_OFFSET) != sizeof(super)) {
    error = "it is too short for a file system";
    return nullptr;
  }
  error = check_super_block(super, file_size(fd));
  if (!error.empty()) return nullptr;
  ext2_filsys fs = nullptr;
  const errcode_t result =
      ext2fs_open2(std::to_string(fd).c_str(), nullptr, EXT2_FLAG_64BITS, 0, 0, fd_io_manager(), &fs);
  if (result != 0) {
    error = std::string("its ext4 file system is damaged (") + error_message(result) +
            "); make a copy of the image and run: e2fsck -fy COPY";
    return nullptr;
  }
  return std::unique_ptr<Ext4Image>(new Ext4Image(fs, fd));
}

Ext4Image::~Ext4Image() {
  ext2fs_free(fs_);
}

s64 Ext4Image::info(ResponseWriter& out) {
  abi::ImporterInfo info{};
  info.root = EXT2_ROOT_INO;
  info.blocks = ext2fs_blocks_count(fs_->super);
  info.free_blocks = ext2fs_free_blocks_count(fs_->super);
  info.inodes = fs_->super->s_inodes_count;
  info.free_inodes = fs_->super->s_free_inodes_count;
  info.block_size = fs_->blocksize;
  info.magic = kSuperMagic;
  std::copy(std::begin(fs_->super->s_uuid), std::end(fs_->super->s_uuid), info.uuid);
  info.name_limit = EXT2_NAME_LEN;
  info.extents_map = 1;
  return out.add(info) ? out.finish() : -ERANGE;
}

int Ext4Image::load_inode(u64 number, RawInode& inode) {
  if (number == 0 || number > fs_->super->s_inodes_count) return ENOENT;
  if (number < EXT2_FIRST_INODE(fs_->super) && number != EXT2_ROOT_INO) return ENOENT;
  inode = {};
  const errcode_t error =
      ext2fs_read_inode_full(fs_, static_cast<ext2_ino_t>(number), inode.raw(), sizeof(inode));
  if (error != 0) return errno_of(error);
  if (EXT2_INODE_SIZE(fs_->super) <= EXT2_GOOD_OLD_INODE_SIZE) inode.i_extra_isize = 0;
  return inode.i_links_count == 0 ? ENOENT : 0;
}

int Ext4Image::load_directory(u64 number, RawInode& inode) {
  if (const int error = load_inode(number, inode)) return error;
  return LINUX_S_ISDIR(inode.i_mode) ? 0 : ENOTDIR;
}

int Ext4Image::load_regular(u64 number, RawInode& inode) {
  if (const int error = load_inode(number, inode)) return error;
  return LINUX_S_ISREG(inode.i_mode) ? 0 : EINVAL;
}

namespace {

// Two bits of the extra field extend the seconds, the others are nanoseconds. `end` is where the extra field
// ends in the inode: it is only there when the inode's extra size reaches so far.
abi::ImporterTime time_of(const RawInode& inode, u32 seconds, u32 extra, size_t end) {
  abi::ImporterTime time{};
  time.seconds = static_cast<s32>(seconds);
  if (EXT2_GOOD_OLD_INODE_SIZE + size_t{inode.i_extra_isize} < end) return time;
  time.seconds += static_cast<s64>(extra & 3) << 32;
  time.nanoseconds = std::min<u32>(extra >> 2, 999'999'999);
  return time;
}

#define EXTRA_END(field) (offsetof(ext2_inode_large, field) + sizeof(u32))

void describe_times(const RawInode& inode, abi::ImporterInode& out) {
  out.accessed = time_of(inode, inode.i_atime, inode.i_atime_extra, EXTRA_END(i_atime_extra));
  out.modified = time_of(inode, inode.i_mtime, inode.i_mtime_extra, EXTRA_END(i_mtime_extra));
  out.changed = time_of(inode, inode.i_ctime, inode.i_ctime_extra, EXTRA_END(i_ctime_extra));
  if (EXT2_GOOD_OLD_INODE_SIZE + size_t{inode.i_extra_isize} >= EXTRA_END(i_crtime_extra)) {
    out.born = time_of(inode, inode.i_crtime, inode.i_crtime_extra, EXTRA_END(i_crtime_extra));
  }
}

}  // namespace

// In a block of their own, or behind the inode's fields, where a magic number says so.
bool Ext4Image::has_xattrs(const RawInode& inode) const {
  if (inode.i_file_acl != 0 || inode.osd2.linux2.l_i_file_acl_high != 0) return true;
  const size_t at = EXT2_GOOD_OLD_INODE_SIZE + size_t{inode.i_extra_isize};
  if (at + sizeof(u32) > EXT2_INODE_SIZE(fs_->super)) return false;
  if (at + sizeof(u32) > sizeof(RawInode)) return true;  // beyond what was read
  u32 magic;
  std::memcpy(&magic, reinterpret_cast<const char*>(&inode) + at, sizeof(magic));
  return magic == EXT2_EXT_ATTR_MAGIC;
}

int Ext4Image::describe(u64 number, const RawInode& inode, abi::ImporterInode& out) {
  out = {};
  out.number = number;
  out.size = inode.size();
  out.mode = inode.i_mode;
  out.links = inode.i_links_count;
  out.uid = inode.i_uid | u32{inode.osd2.linux2.l_i_uid_high} << 16;
  out.gid = inode.i_gid | u32{inode.osd2.linux2.l_i_gid_high} << 16;
  out.generation = inode.i_generation;
  out.blocks = inode.i_blocks | u64{inode.osd2.linux2.l_i_blocks_hi} << 32;
  if ((inode.i_flags & EXT4_HUGE_FILE_FL) != 0) out.blocks *= fs_->blocksize / 512;
  describe_times(inode, out);
  if (has_xattrs(inode)) out.flags |= abi::kImporterHasXattrs;
  if (LINUX_S_ISCHR(inode.i_mode) || LINUX_S_ISBLK(inode.i_mode)) {
    const u32 old = inode.i_block[0];
    const u32 wide = inode.i_block[1];
    out.device_major = old != 0 ? old >> 8 & 0xff : wide >> 8 & 0xfff;
    out.device_minor = old != 0 ? old & 0xff : (wide & 0xff) | (wide >> 12 & 0xfff00);
    return 0;
  }
  if (!LINUX_S_ISREG(inode.i_mode)) return 0;
  if (out.size > u64{1} << 62) return EUCLEAN;
  if ((inode.i_flags & EXT4_INLINE_DATA_FL) != 0) {
    out.flags |= abi::kDataByRead;
    return 0;
  }
  // Only where the inode itself holds them: no more blocks are read for an attribute.
  const auto* header = reinterpret_cast<const ext3_extent_header*>(inode.i_block);
  const bool here = (inode.i_flags & EXT4_EXTENTS_FL) != 0
                        ? header->eh_depth == 0
                        : out.size <= u64{EXT2_NDIR_BLOCKS} * fs_->blocksize;
  if (!here) return 0;
  bool complete = true;
  const int error = walk_extents(number, inode, 0, [&](const abi::ImporterExtent& extent) {
    if (out.extent_count == abi::kImporterInlineExtents) return complete = false;
    out.extents[out.extent_count++] = extent;
    return true;
  });
  if (error == 0 && complete) out.flags |= abi::kExtentsComplete;
  return error;
}

s64 Ext4Image::inode(const abi::ImporterRequest& request, ResponseWriter& out) {
  RawInode inode;
  abi::ImporterInode record;
  if (const int error = load_inode(request.inode, inode)) return -error;
  if (const int error = describe(request.inode, inode, record)) return -error;
  return out.add(record) ? out.finish() : -ERANGE;
}

s64 Ext4Image::extents(const abi::ImporterRequest& request, ResponseWriter& out) {
  RawInode inode;
  if (const int error = load_regular(request.inode, inode)) return -error;
  if ((inode.i_flags & EXT4_INLINE_DATA_FL) != 0) return -EOPNOTSUPP;
  u64 next = 0;
  const auto add = [&](const abi::ImporterExtent& extent) {
    if (out.add(extent)) return true;
    if (out.count() > 0) next = extent.file_offset;
    return false;
  };
  if (out.room() < sizeof(abi::ImporterExtent)) return -ERANGE;
  if (const int error = walk_extents(request.inode, inode, request.cursor, add)) return -error;
  out.set_next(next);
  return out.finish();
}

int Ext4Image::inline_data(u64 number, const RawInode& inode, std::string& data) {
  size_t size = 0;
  RawInode copy = inode;
  errcode_t error = ext2fs_inline_data_size(fs_, static_cast<ext2_ino_t>(number), &size);
  if (error != 0) return errno_of(error);
  if (size > kMaxInlineData) return EUCLEAN;
  data.assign(std::max<size_t>(size, sizeof(inode.i_block)), '\0');
  error = ext2fs_inline_data_get(fs_, static_cast<ext2_ino_t>(number), copy.raw(), data.data(), &size);
  if (error != 0) return errno_of(error);
  data.resize(std::min(size, data.size()));
  return 0;
}

int Ext4Image::read_range(u64 number, const RawInode& inode, u64 offset, std::span<std::byte> bytes) {
  std::memset(bytes.data(), 0, bytes.size());
  if ((inode.i_flags & EXT4_INLINE_DATA_FL) != 0) {
    std::string data;
    if (const int error = inline_data(number, inode, data)) return error;
    if (offset < data.size()) {
      std::memcpy(bytes.data(), data.data() + offset, std::min<u64>(bytes.size(), data.size() - offset));
    }
    return 0;
  }
  int failed = 0;
  const u64 end = offset + bytes.size();
  const int error = walk_extents(number, inode, offset, [&](const abi::ImporterExtent& extent) {
    if (extent.file_offset >= end) return false;
    const u64 from = std::max(offset, extent.file_offset);
    u64 left = std::min(end, extent.file_offset + extent.length) - from;
    u64 at = extent.image_offset + (from - extent.file_offset);
    std::byte* target = bytes.data() + (from - offset);
    while (left > 0) {
      const ssize_t got = ::pread(fd_, target, left, static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        failed = EIO;
        return false;
      }
      target += got;
      at += static_cast<u64>(got);
      left -= static_cast<u64>(got);
    }
    return true;
  });
  return error != 0 ? error : failed;
}

s64 Ext4Image::read(const abi::ImporterRequest& request, ResponseWriter& out) {
  RawInode inode;
  if (const int error = load_regular(request.inode, inode)) return -error;
  const u64 size = inode.size();
  if (size > u64{1} << 62) return -EUCLEAN;
  const u64 length = request.cursor < size ? std::min(request.length, size - request.cursor) : 0;
  const std::span<std::byte> bytes = out.bytes(length);
  if (!bytes.empty()) {
    if (const int error = read_range(request.inode, inode, request.cursor, bytes)) return -error;
  }
  return out.finish();
}

int Ext4Image::link_target(u64 number, const RawInode& inode, std::string& target) {
  if (!LINUX_S_ISLNK(inode.i_mode)) return EINVAL;
  const u64 size = inode.size();
  if (size == 0 || size > kMaxTarget || (inode.i_flags & EXT4_ENCRYPT_FL) != 0) return EUCLEAN;
  target.assign(size, '\0');
  RawInode copy = inode;
  if ((inode.i_flags & EXT4_INLINE_DATA_FL) == 0 && ext2fs_is_fast_symlink(copy.raw()) != 0) {
    if (size >= sizeof(inode.i_block)) return EUCLEAN;
    std::memcpy(target.data(), inode.i_block, size);
  } else if (const int error = read_range(number, inode, 0, std::as_writable_bytes(std::span(target)))) {
    return error;
  }
  // A NUL inside ends it, as for the host's kernel.
  target.resize(std::min(target.size(), target.find('\0')));
  return target.empty() ? EUCLEAN : 0;
}

s64 Ext4Image::read_link(const abi::ImporterRequest& request, ResponseWriter& out) {
  RawInode inode;
  if (const int error = load_inode(request.inode, inode)) return -error;
  std::string target;
  if (const int error = link_target(request.inode, inode, target)) return -error;
  if (out.room() < target.size()) return -ERANGE;
  std::memcpy(out.bytes(target.size()).data(), target.data(), target.size());
  return out.finish();
}

s64 Ext4Image::xattrs(const abi::ImporterRequest& request, ResponseWriter& out) {
  RawInode inode;
  if (const int error = load_inode(request.inode, inode)) return -error;
  ext2_xattr_handle* handle = nullptr;
  errcode_t error = ext2fs_xattrs_open(fs_, static_cast<ext2_ino_t>(request.inode), &handle);
  if (error != 0) return -errno_of(error);
  struct Context {
    ResponseWriter& out;
    bool full = false;
  } context{out};
  error = ext2fs_xattrs_read(handle);
  if (error == 0) {
    const auto visit = [](char* name, char* value, size_t size, void* data) -> int {
      auto* c = static_cast<Context*>(data);
      const std::string_view text(name);
      if (text == "system.data") return 0;  // inline file data, not an attribute
      abi::ImporterXattr record{};
      record.name_length = static_cast<u16>(text.size());
      record.value_length = static_cast<u32>(size);
      if (c->out.add(record, text, {value, size})) return 0;
      c->full = true;
      return XATTR_ABORT;
    };
    error = ext2fs_xattrs_iterate(handle, visit, &context);
  }
  ext2fs_xattrs_close(&handle);
  if (error != 0) return -errno_of(error);
  return context.full ? -ERANGE : out.finish();
}

}  // namespace teacup::importer
