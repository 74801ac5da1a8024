#include "host/importer/squash_image.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "host/importer/response.h"

namespace teacup::importer {

namespace {

constexpr u64 kMaxTarget = 4095;  // of a symlink: PATH_MAX less its NUL
constexpr u64 kMaxFileSize = u64{1} << 50;
constexpr u64 kMaxListedBlocks = 1 << 20;  // of a file whose holes are told
constexpr u64 kSmallestHole = 64 * KiB;    // that is; smaller ones are read as zeros with what is around
constexpr u32 kNoXattrs = ~u32{0};
constexpr u32 kMagic = 0x73717368;  // statfs(2)'s f_type, and the super block's

int errno_of(int error) {
  switch (error) {
    case SQFS_ERROR_ALLOC:
      return ENOMEM;
    case SQFS_ERROR_IO:
      return EIO;
    default:
      return EUCLEAN;
  }
}

std::string damaged(const char* what) {
  return std::string("its squashfs file system is damaged (") + what + ")";
}

u32 mode_of_type(u16 type) {
  static constexpr u32 kModes[] = {0, S_IFDIR, S_IFREG, S_IFLNK, S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK};
  if (type >= SQFS_INODE_EXT_DIR) type = static_cast<u16>(type - (SQFS_INODE_EXT_DIR - SQFS_INODE_DIR));
  return type < std::size(kModes) ? kModes[type] : 0;
}

bool is_good_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." && name.find('/') == name.npos &&
         name.find('\0') == name.npos;
}

}  // namespace

SquashImage::SquashImage(int fd, Crew* crew) : crew_(crew) {
  input_.fd = fd;
  input_.size = file_size(fd);
  input_.read_at = [](sqfs_file_t* file, sqfs_u64 offset, void* buffer, size_t size) -> int {
    const auto* input = static_cast<const Input*>(file);
    if (offset > input->size || size > input->size - offset) return SQFS_ERROR_OUT_OF_BOUNDS;
    for (size_t done = 0; done < size;) {
      const ssize_t got = ::pread(input->fd, static_cast<char*>(buffer) + done, size - done,
                                  static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return SQFS_ERROR_IO;
      done += static_cast<size_t>(got);
    }
    return 0;
  };
  input_.write_at = [](sqfs_file_t*, sqfs_u64, const void*, size_t) -> int { return SQFS_ERROR_UNSUPPORTED; };
  input_.get_size = [](const sqfs_file_t* file) -> sqfs_u64 { return static_cast<const Input*>(file)->size; };
  input_.truncate = [](sqfs_file_t*, sqfs_u64) -> int { return SQFS_ERROR_UNSUPPORTED; };
}

std::unique_ptr<ImportedImage> SquashImage::open(int fd, std::string& error, Crew* crew) {
  auto image = std::unique_ptr<SquashImage>(new SquashImage(fd, crew));
  if (!image->start(error)) return nullptr;
  return image;
}

bool SquashImage::start(std::string& error) {
  error = damaged("super block");
  if (input_.size < sizeof(super_)) {
    error = "it is too short for a file system";
    return false;
  }
  if (::pread(input_.fd, &super_, sizeof(super_), 0) != sizeof(super_)) return false;
  if (super_.version_major != 4 || super_.version_minor != 0) {
    error = "it is squashfs " + std::to_string(super_.version_major) + "." +
            std::to_string(super_.version_minor) + ", and teacup reads 4.0; make it anew with mksquashfs";
    return false;
  }
  if (super_.bytes_used > input_.size) {
    error = "it is truncated: it has " + std::to_string(input_.size) + " bytes, its file system " +
            std::to_string(super_.bytes_used);
    return false;
  }
  if (sqfs_super_read(&super_, &input_) != 0) return false;
  // libsquashfs makes room for as many as the super block says, 64 GiB at most.
  if (super_.fragment_entry_count > super_.bytes_used) return false;
  sqfs_compressor_config_t config;
  sqfs_compressor_t* compressor = nullptr;
  const auto codec = static_cast<SQFS_COMPRESSOR>(super_.compression_id);
  if (sqfs_compressor_config_init(&config, codec, super_.block_size, SQFS_COMP_FLAG_UNCOMPRESS) != 0 ||
      sqfs_compressor_create(&config, &compressor) != 0) {
    const char* name = sqfs_compressor_name_from_id(codec);
    error = std::string("it is compressed with ") +
            (name != nullptr ? name : "codec " + std::to_string(super_.compression_id)) +
            ", which this host's libsquashfs cannot read; make it anew with mksquashfs -comp zstd";
    return false;
  }
  compressor_.reset(compressor);
  if ((super_.flags & SQFS_FLAG_COMPRESSOR_OPTIONS) != 0 &&
      compressor->read_options(compressor, &input_) != 0) {
    error = damaged("compressor options");
    return false;
  }
  error = damaged("tables");
  ids_.reset(sqfs_id_table_create(0));
  if (ids_ == nullptr || sqfs_id_table_read(ids_.get(), &input_, &super_, compressor) != 0) return false;
  // A table's blocks end where the next table that there is starts.
  u64 end = super_.id_table_start;
  for (const u64 start : {super_.fragment_table_start, super_.export_table_start}) {
    if (start >= super_.directory_table_start) end = std::min<u64>(end, start);
  }
  inodes_.reset(
      sqfs_meta_reader_create(&input_, compressor, super_.inode_table_start, super_.directory_table_start));
  directories_.reset(sqfs_meta_reader_create(&input_, compressor, super_.directory_table_start, end));
  data_.reset(sqfs_data_reader_create(&input_, super_.block_size, compressor, 0));
  if (inodes_ == nullptr || directories_ == nullptr || data_ == nullptr) {
    error = "there is not enough memory to read it";
    return false;
  }
  error.clear();
  return true;
}

s64 SquashImage::info(ResponseWriter& out) {
  abi::ImporterInfo info{};
  info.root = super_.root_inode_ref + 1;
  info.block_size = super_.block_size;
  info.blocks = (super_.bytes_used + super_.block_size - 1) >> super_.block_log;
  info.inodes = super_.inode_count;
  info.magic = kMagic;
  info.name_limit = 255;
  return out.add(info) ? out.finish() : -ERANGE;
}

// --- Inodes.

// libsquashfs makes room for a symlink's target and for a file's list of blocks before it reads them, as
// large as the inode says: gigabytes for each name in a directory. They are in the inode table, of whose
// bytes a block of 8 KiB takes no fewer than three.
int SquashImage::check_inode(u64 block, u64 offset) {
  struct {
    sqfs_inode_t base;
    union {
      sqfs_inode_file_t file;
      sqfs_inode_file_ext_t file_ext;
      sqfs_inode_slink_t slink;
    };
  } inode;
  static_assert(sizeof inode.base == 16 && sizeof inode.file == 16 && sizeof inode.file_ext == 40);
  const auto take = [this](void* into, size_t size) {
    return sqfs_meta_reader_read(inodes_.get(), into, size);
  };
  int error = sqfs_meta_reader_seek(inodes_.get(), super_.inode_table_start + block, offset);
  if (error == 0) error = take(&inode.base, sizeof inode.base);
  if (error != 0) return errno_of(error);
  const u64 table =
      super_.directory_table_start - std::min(super_.inode_table_start, super_.directory_table_start);
  const u64 room = (table / 3 + 1) * 8 * KiB;
  u64 size = 0;
  switch (inode.base.type) {
    case SQFS_INODE_FILE:
      error = take(&inode.file, sizeof inode.file);
      size = inode.file.file_size;
      break;
    case SQFS_INODE_EXT_FILE:
      error = take(&inode.file_ext, sizeof inode.file_ext);
      size = inode.file_ext.file_size;
      break;
    case SQFS_INODE_SLINK:
    case SQFS_INODE_EXT_SLINK:
      error = take(&inode.slink, sizeof inode.slink);
      return error != 0 ? errno_of(error) : inode.slink.target_size > kMaxTarget ? EUCLEAN : 0;
    default:
      return 0;
  }
  if (error != 0) return errno_of(error);
  return size > kMaxFileSize || size / super_.block_size > room / sizeof(sqfs_u32) ? EUCLEAN : 0;
}

int SquashImage::load_inode(u64 number, InodePtr& inode) {
  const u64 place = number - 1;
  if (number == 0 || place >> 48 != 0) return ENOENT;
  if (const int error = check_inode(place >> 16, place & 0xffff)) return error;
  sqfs_inode_generic_t* raw = nullptr;
  const int error = sqfs_meta_reader_read_inode(inodes_.get(), &super_, place >> 16, place & 0xffff, &raw);
  if (error != 0) return errno_of(error);
  inode.reset(raw);
  return 0;
}

int SquashImage::link_target(const sqfs_inode_generic_t& inode, std::string& target) {
  if (!S_ISLNK(inode.base.mode)) return EINVAL;
  const u64 size = inode.data.slink.target_size;
  if (size == 0 || size > kMaxTarget || size > inode.payload_bytes_used) return EUCLEAN;
  target.assign(reinterpret_cast<const char*>(inode.extra), size);
  target.resize(std::min(target.size(), target.find('\0')));
  return target.empty() ? EUCLEAN : 0;
}

int SquashImage::describe(u64 number, const sqfs_inode_generic_t& inode, abi::ImporterInode& out) {
  out = {};
  out.number = number;
  out.mode = mode_of_type(inode.base.type) | (inode.base.mode & 07777);
  u32 id;
  if (out.mode >> 12 == 0 || sqfs_id_table_index_to_id(ids_.get(), inode.base.uid_idx, &id) != 0)
    return EUCLEAN;
  out.uid = id;
  if (sqfs_id_table_index_to_id(ids_.get(), inode.base.gid_idx, &id) != 0) return EUCLEAN;
  out.gid = id;
  out.modified.seconds = inode.base.mod_time;
  out.accessed = out.changed = out.modified;
  out.links = 1;
  u32 device = 0;
  switch (inode.base.type) {
    case SQFS_INODE_DIR:
      out.links = inode.data.dir.nlink;
      out.size = inode.data.dir.size;
      break;
    case SQFS_INODE_EXT_DIR:
      out.links = inode.data.dir_ext.nlink;
      out.size = inode.data.dir_ext.size;
      break;
    case SQFS_INODE_FILE:
      out.size = inode.data.file.file_size;
      break;
    case SQFS_INODE_EXT_FILE:
      out.links = inode.data.file_ext.nlink;
      out.size = inode.data.file_ext.file_size;
      if (inode.data.file_ext.sparse > 0 && out.size / super_.block_size < kMaxListedBlocks)
        out.flags |= abi::kHasHoles;
      break;
    case SQFS_INODE_SLINK:
    case SQFS_INODE_EXT_SLINK:
      out.links = inode.data.slink.nlink;
      out.size = inode.data.slink.target_size;
      break;
    case SQFS_INODE_BDEV:
    case SQFS_INODE_CDEV:
    case SQFS_INODE_EXT_BDEV:
    case SQFS_INODE_EXT_CDEV:
      out.links = inode.data.dev.nlink;
      device = inode.data.dev.devno;
      break;
    default:
      out.links = inode.data.ipc.nlink;
      break;
  }
  // As the kernel's new_encode_dev() has it.
  out.device_major = device >> 8 & 0xfff;
  out.device_minor = (device & 0xff) | (device >> 12 & 0xfff00);
  if (out.size > kMaxFileSize) return EUCLEAN;
  out.blocks = (out.size + 511) / 512;
  if (S_ISREG(out.mode)) out.flags |= abi::kDataByRead;
  if (sqfs_inode_get_xattr_index(&inode, &id) == 0 && id != kNoXattrs) out.flags |= abi::kImporterHasXattrs;
  return 0;
}

s64 SquashImage::inode(const abi::ImporterRequest& request, ResponseWriter& out) {
  InodePtr inode;
  abi::ImporterInode record;
  if (const int error = load_inode(request.inode, inode)) return -error;
  if (const int error = describe(request.inode, *inode, record)) return -error;
  return out.add(record) ? out.finish() : -ERANGE;
}

s64 SquashImage::read_link(const abi::ImporterRequest& request, ResponseWriter& out) {
  InodePtr inode;
  std::string target;
  if (const int error = load_inode(request.inode, inode)) return -error;
  if (const int error = link_target(*inode, target)) return -error;
  if (out.room() < target.size()) return -ERANGE;
  std::memcpy(out.bytes(target.size()).data(), target.data(), target.size());
  return out.finish();
}

// --- Directories. The cursor of an entry is how many come before it, and itself.

int SquashImage::start_directory(u64 number, sqfs_readdir_state_t& state) {
  InodePtr inode;
  if (const int error = load_inode(number, inode)) return error;
  if (mode_of_type(inode->base.type) != S_IFDIR) return ENOTDIR;
  const int error = sqfs_readdir_state_init(&state, &super_, inode.get());
  return error != 0 ? errno_of(error) : 0;
}

bool SquashImage::add_entry(ResponseWriter& out, std::string_view name, u64 number, u16 type, u64 cursor) {
  abi::ImporterEntry entry{};
  InodePtr inode;
  std::string target;
  int error = load_inode(number, inode);
  if (error == 0) error = describe(number, *inode, entry.inode);
  if (error == 0 && S_ISLNK(entry.inode.mode)) error = link_target(*inode, target);
  if (error != 0) {
    entry.inode = {};
    entry.inode.number = number;
    entry.inode.mode = mode_of_type(type);
    entry.error = static_cast<u32>(error == ENOENT ? EUCLEAN : error);
    target.clear();
  }
  entry.name_length = static_cast<u16>(name.size());
  entry.target_length = static_cast<u16>(target.size());
  entry.cursor = cursor;
  return out.add(entry, name, target);
}

s64 SquashImage::read_directory(const abi::ImporterRequest& request, ResponseWriter& out) {
  Position at{request.inode, 0, {}};
  if (position_.directory == request.inode && position_.cursor == request.cursor && request.cursor != 0) {
    at = position_;
  } else if (const int error = start_directory(request.inode, at.state)) {
    return -error;
  }
  for (;;) {
    const sqfs_readdir_state_t before = at.state;
    sqfs_dir_entry_t* raw = nullptr;
    sqfs_u32 inode_number;
    sqfs_u64 place;
    const int status = sqfs_meta_reader_readdir(directories_.get(), &at.state, &raw, &inode_number, &place);
    const std::unique_ptr<sqfs_dir_entry_t, Free> entry(raw);
    if (status > 0) break;
    if (status < 0) {
      // What comes before damage is delivered; the next request meets it again.
      if (out.count() == 0) return -errno_of(status);
      out.set_next(at.cursor);
      break;
    }
    ++at.cursor;
    if (at.cursor <= request.cursor) continue;
    const std::string_view name(reinterpret_cast<const char*>(entry->name), size_t{entry->size} + 1);
    if (!is_good_name(name)) return -EUCLEAN;
    if (add_entry(out, name, place + 1, entry->type, at.cursor)) continue;
    if (out.count() == 0) return -ERANGE;
    position_ = {request.inode, at.cursor - 1, before};
    out.set_next(at.cursor - 1);
    break;
  }
  return out.finish();
}

s64 SquashImage::lookup(const abi::ImporterRequest& request, std::string_view wanted, ResponseWriter& out) {
  sqfs_readdir_state_t state;
  if (const int error = start_directory(request.inode, state)) return -error;
  for (u64 cursor = 1;; ++cursor) {
    sqfs_dir_entry_t* raw = nullptr;
    sqfs_u32 inode_number;
    sqfs_u64 place;
    const int status = sqfs_meta_reader_readdir(directories_.get(), &state, &raw, &inode_number, &place);
    const std::unique_ptr<sqfs_dir_entry_t, Free> entry(raw);
    if (status > 0) return -ENOENT;
    if (status < 0) return -errno_of(status);
    const std::string_view name(reinterpret_cast<const char*>(entry->name), size_t{entry->size} + 1);
    if (name == wanted) return add_entry(out, name, place + 1, entry->type, cursor) ? out.finish() : -ERANGE;
  }
}

// --- Data.

// Where there are data of a file with holes, from block cursor / block size on.
s64 SquashImage::extents(const abi::ImporterRequest& request, ResponseWriter& out) {
  if (const int error = load_recent(request.inode)) return -error;
  abi::ImporterInode record;
  if (const int error = describe(request.inode, *recent_, record)) return -error;
  if (!S_ISREG(record.mode)) return -EINVAL;
  if ((record.flags & abi::kHasHoles) == 0) return -EOPNOTSUPP;
  const u64 block_size = super_.block_size;
  const u64 blocks = sqfs_inode_get_file_block_count(recent_.get());
  abi::ImporterExtent extent{};
  const auto extend = [&](u64 start, u64 end) {
    if (extent.length != 0 && start - (extent.file_offset + extent.length) >= kSmallestHole) {
      if (!out.add(extent)) return false;
      extent.length = 0;
    }
    if (extent.length == 0) extent.file_offset = start;
    extent.length = end - extent.file_offset;
    return true;
  };
  bool fits = true;
  for (u64 i = request.cursor / block_size; fits && i < blocks; ++i) {
    if ((recent_->extra[i] & ((u32{1} << 24) - 1)) != 0) fits = extend(i * block_size, (i + 1) * block_size);
  }
  // What is not in blocks is in a fragment.
  const u64 tail = std::max(blocks * block_size, align_down(request.cursor, block_size));
  if (fits && tail < record.size) fits = extend(tail, record.size);
  if (extent.length != 0 && (!fits || !out.add(extent))) {
    if (out.count() == 0) return -ERANGE;
    out.set_next(extent.file_offset);
  }
  return out.finish();
}

int SquashImage::read_block(unsigned number, const Block& block) {
  if (block.stored == 0) {
    std::memset(block.into.data(), 0, block.into.size());
    return 0;
  }
  if (!block.compressed) {
    if (block.stored != block.into.size()) return EUCLEAN;
    const int error = input_.read_at(&input_, block.at, block.into.data(), block.stored);
    return error != 0 ? errno_of(error) : 0;
  }
  Hand& hand = hands_[number];
  if (hand.stored == nullptr) {
    hand.codec.reset(static_cast<sqfs_compressor_t*>(sqfs_copy(compressor_.get())));
    hand.stored.reset(new (std::nothrow) std::byte[super_.block_size]);
    if (hand.codec == nullptr || hand.stored == nullptr) {
      hand.stored.reset();
      return ENOMEM;
    }
  }
  const int error = input_.read_at(&input_, block.at, hand.stored.get(), block.stored);
  if (error != 0) return errno_of(error);
  const sqfs_s32 got = hand.codec->do_block(
      hand.codec.get(), reinterpret_cast<const sqfs_u8*>(hand.stored.get()), block.stored,
      reinterpret_cast<sqfs_u8*>(block.into.data()), static_cast<sqfs_u32>(block.into.size()));
  if (got < 0) return errno_of(got);
  return static_cast<size_t>(got) == block.into.size() ? 0 : EUCLEAN;
}

// As much of `into`, which starts at `offset` of the recent file, as whole blocks make: `done` bytes.
int SquashImage::read_blocks(u64 offset, u64 size, std::span<std::byte> into, u64& done) {
  const u64 block_size = super_.block_size;
  if (offset % block_size != 0) return 0;
  sqfs_u32 fragment = 0;
  sqfs_u32 place = 0;
  if (sqfs_inode_get_frag_location(recent_.get(), &fragment, &place) != 0) return EUCLEAN;
  const bool has_fragment = fragment != ~sqfs_u32{0};
  const u64 blocks = std::min<u64>(sqfs_inode_get_file_block_count(recent_.get()),
                                   has_fragment ? size / block_size : (size + block_size - 1) / block_size);
  u64 number = offset / block_size;
  if (number < recent_block_) {
    recent_block_ = 0;
    sqfs_inode_get_file_block_start(recent_.get(), &recent_at_);
  }
  std::vector<Block> wanted;
  for (u64 i = recent_block_, at = recent_at_; i < blocks; ++i) {
    if (i == number) {
      recent_block_ = i;
      recent_at_ = at;
    }
    const u32 word = recent_->extra[i];
    const u32 stored = word & ((u32{1} << 24) - 1);
    if (stored > block_size) return EUCLEAN;
    if (i >= number) {
      const u64 length = std::min(block_size, size - i * block_size);
      if (length > into.size() - done) break;
      wanted.push_back({at, stored, SQFS_IS_BLOCK_COMPRESSED(word), into.subspan(done, length)});
      done += length;
    }
    at += stored;
  }
  if (hands_.empty()) hands_.resize(crew_ != nullptr ? crew_->hands() : 1);
  std::vector<int> errors(wanted.size(), 0);
  const auto read_one = [&](unsigned hand, size_t i) { errors[i] = read_block(hand, wanted[i]); };
  if (crew_ != nullptr) {
    crew_->share(wanted.size(), read_one);
  } else {
    for (size_t i = 0; i < wanted.size(); ++i) read_one(0, i);
  }
  const auto bad = std::find_if(errors.begin(), errors.end(), [](int error) { return error != 0; });
  return bad != errors.end() ? *bad : 0;
}

int SquashImage::load_recent(u64 number) {
  if (recent_ != nullptr && recent_number_ == number) return 0;
  recent_.reset();
  if (const int error = load_inode(number, recent_)) return error;
  recent_number_ = number;
  recent_block_ = 0;
  sqfs_inode_get_file_block_start(recent_.get(), &recent_at_);
  return 0;
}

s64 SquashImage::read(const abi::ImporterRequest& request, ResponseWriter& out) {
  if (const int error = load_recent(request.inode)) return -error;
  if (mode_of_type(recent_->base.type) != S_IFREG) return -EINVAL;
  sqfs_u64 size = 0;
  if (sqfs_inode_get_file_size(recent_.get(), &size) != 0 || size > kMaxFileSize) return -EUCLEAN;
  if (!has_fragment_table_ && super_.fragment_entry_count > 0) {
    if (const int error = sqfs_data_reader_load_fragment_table(data_.get(), &super_)) return -errno_of(error);
    has_fragment_table_ = true;
  }
  const u64 length = request.cursor < size ? std::min<u64>(request.length, size - request.cursor) : 0;
  const std::span<std::byte> bytes = out.bytes(length);
  u64 done = 0;
  if (const int error = read_blocks(request.cursor, size, bytes, done)) return -error;
  if (const std::span<std::byte> rest = bytes.subspan(done); !rest.empty()) {
    const sqfs_s32 got = sqfs_data_reader_read(data_.get(), recent_.get(), request.cursor + done, rest.data(),
                                               static_cast<sqfs_u32>(rest.size()));
    if (got < 0) return -errno_of(got);
    if (static_cast<size_t>(got) != rest.size()) return -EUCLEAN;
  }
  return out.finish();
}

// --- Extended attributes.

int SquashImage::load_xattr_table() {
  if (xattrs_ != nullptr) return 0;
  Object<sqfs_xattr_reader_t> reader(sqfs_xattr_reader_create(0));
  if (reader == nullptr) return ENOMEM;
  if (const int error = sqfs_xattr_reader_load(reader.get(), &super_, &input_, compressor_.get())) {
    return errno_of(error);
  }
  xattrs_ = std::move(reader);
  return 0;
}

s64 SquashImage::xattrs(const abi::ImporterRequest& request, ResponseWriter& out) {
  InodePtr inode;
  if (const int error = load_inode(request.inode, inode)) return -error;
  sqfs_u32 index = kNoXattrs;
  if (sqfs_inode_get_xattr_index(inode.get(), &index) != 0 || index == kNoXattrs) return out.finish();
  if (const int error = load_xattr_table()) return -error;
  sqfs_xattr_id_t description;
  int error = sqfs_xattr_reader_get_desc(xattrs_.get(), index, &description);
  // Of an image without a table the library describes attributes 0 as none, and has nothing to look for them
  // in.
  if (error == 0 && description.count == 0) return out.finish();
  if (error == 0) error = sqfs_xattr_reader_seek_kv(xattrs_.get(), &description);
  for (u32 i = 0; error == 0 && i < description.count; ++i) {
    sqfs_xattr_entry_t* raw_key = nullptr;
    sqfs_xattr_value_t* raw_value = nullptr;
    error = sqfs_xattr_reader_read_key(xattrs_.get(), &raw_key);
    const std::unique_ptr<sqfs_xattr_entry_t, Free> key(raw_key);
    if (error != 0) break;
    error = sqfs_xattr_reader_read_value(xattrs_.get(), raw_key, &raw_value);
    const std::unique_ptr<sqfs_xattr_value_t, Free> value(raw_value);
    if (error != 0) break;
    // The library has put the prefix before the name, and a NUL behind it.
    const std::string_view name(reinterpret_cast<const char*>(key->key));
    if (name.size() > 255 || value->size > 64 * KiB) return -EUCLEAN;
    abi::ImporterXattr record{};
    record.name_length = static_cast<u16>(name.size());
    record.value_length = value->size;
    if (!out.add(record, name, {reinterpret_cast<const char*>(value->value), value->size})) return -ERANGE;
  }
  return error != 0 ? -errno_of(error) : out.finish();
}

}  // namespace teacup::importer
