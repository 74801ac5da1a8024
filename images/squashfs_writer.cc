// Data first, as they come, then the tables. A directory's entries say where the inodes of its children are,
// so these are written before it: first what is no directory, and may have names anywhere, then directories
// in the reverse of their order, in which one comes before those in it.
#include "images/squashfs_writer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <memory>

#include "host/importer/libsquashfs.h"
#include "images/error.h"
#include "images/file.h"
#include "images/inode_order.h"

namespace teacup::images {

namespace {

using namespace importer;  // libsquashfs's functions

constexpr size_t kDataBlockSize = 128 * KiB;
constexpr u32 kNoXattrs = 0xffffffff;
constexpr u64 kReadSize = 1 * MiB;

struct Destroy {
  template <typename T>
  void operator()(T* object) const {
    auto* base = reinterpret_cast<sqfs_object_t*>(object);
    base->destroy(base);
  }
};
template <typename T>
using Object = std::unique_ptr<T, Destroy>;

struct FreeInode {
  void operator()(sqfs_inode_generic_t* inode) const { sqfs_free(inode); }
};
using InodePointer = std::unique_ptr<sqfs_inode_generic_t, FreeInode>;

// Whether the library has it, is asked of the library.
SQFS_COMPRESSOR compressor_of(const std::string& name) {
  static const std::map<std::string, SQFS_COMPRESSOR> known = {
      {"gzip", SQFS_COMP_GZIP}, {"lz4", SQFS_COMP_LZ4}, {"xz", SQFS_COMP_XZ}, {"zstd", SQFS_COMP_ZSTD}};
  const auto found = known.find(name);
  if (found == known.end())
    throw Error("squashfs compression '" + name + "' is not known: gzip, lz4, xz or zstd");
  return found->second;
}

u32 time_of(s64 seconds) {
  return static_cast<u32>(std::clamp<s64>(seconds, 0, std::numeric_limits<u32>::max()));
}

class Writer {
 public:
  Writer(const Tree& tree, const std::string& path, const WriteOptions& options,
         const std::string& compression)
      : options_(options), output_(path), order_(tree) {
    std::string problem;
    if (!load_libsquashfs(problem)) throw Error(problem);
    make_objects(compressor_of(compression), compression);
  }
  ~Writer() {
    for (sqfs_inode_generic_t* inode : files_) {
      if (inode != nullptr) sqfs_free(inode);
    }
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void write();

 private:
  void check(int error, const std::string& what) const {
    if (error == 0) return;
    throw Error("cannot write " + what + " into " + output_.path() + " (libsquashfs error " +
                std::to_string(error) + ")" + (error == SQFS_ERROR_IO ? ": is there space for it?" : ""));
  }
  template <typename T>
  T* made(T* object, const char* what) const {
    if (object == nullptr) throw Error(std::string("cannot make libsquashfs's ") + what + ": out of memory");
    return object;
  }

  void make_objects(SQFS_COMPRESSOR id, const std::string& compression);
  void write_data(u32 index);
  void append(const File& file, const Content& content, u64 from, u64 to);
  InodePointer make_inode(u32 index);
  InodePointer make_directory_inode(u32 index);
  u32 write_xattrs(const Node& node);
  void set_links(sqfs_inode_generic_t& inode, u32 links) const;
  void write_inode(u32 index);
  void write_tables();

  u32 number_of(u32 index) const { return index + 1; }

  const WriteOptions& options_;
  OutputFile output_;
  InodeOrder order_;
  sqfs_super_t super_{};
  Object<sqfs_file_t> file_;
  Object<sqfs_compressor_t> compressor_;
  Object<sqfs_block_writer_t> blocks_;
  Object<sqfs_frag_table_t> fragments_;
  Object<sqfs_block_processor_t> data_;
  Object<sqfs_id_table_t> ids_;
  Object<sqfs_xattr_writer_t> xattrs_;
  Object<sqfs_meta_writer_t> inode_table_;
  Object<sqfs_meta_writer_t> directory_table_;
  Object<sqfs_dir_writer_t> directories_;
  std::vector<sqfs_inode_generic_t*> files_;  // of regular files, by index; what is not used up is freed
  std::vector<u64> references_;               // of inodes that are written
  std::vector<std::byte> buffer_;
  u64 data_total_ = 0;
  u64 data_done_ = 0;
};

void Writer::make_objects(SQFS_COMPRESSOR id, const std::string& compression) {
  sqfs_compressor_config_t config{};
  check(sqfs_compressor_config_init(&config, id, kDataBlockSize, 0), "the compressor's options");
  sqfs_compressor_t* compressor = nullptr;
  if (const int error = sqfs_compressor_create(&config, &compressor); error != 0) {
    throw Error("this libsquashfs has no " + compression + " (error " + std::to_string(error) + ")");
  }
  compressor_.reset(compressor);
  file_.reset(sqfs_open_file(output_.temporary_path().c_str(), SQFS_FILE_OPEN_OVERWRITE));
  if (file_ == nullptr) throw_errno("cannot write " + output_.path());
  check(sqfs_super_init(&super_, kDataBlockSize, time_of(options_.time), id), "the super block");
  check(sqfs_super_write(&super_, file_.get()), "the super block");
  const int written = compressor->write_options(compressor, file_.get());
  if (written < 0) check(written, "the compressor's options");
  if (written > 0) super_.flags |= SQFS_FLAG_COMPRESSOR_OPTIONS;
  blocks_.reset(made(sqfs_block_writer_create(file_.get(), kBlockSize, 0), "block writer"));
  fragments_.reset(made(sqfs_frag_table_create(0), "table of fragments"));
  data_.reset(
      made(sqfs_block_processor_create(kDataBlockSize, compressor, 1, 10, blocks_.get(), fragments_.get()),
           "block processor"));
  ids_.reset(made(sqfs_id_table_create(0), "table of owners"));
  xattrs_.reset(made(sqfs_xattr_writer_create(0), "attribute writer"));
  inode_table_.reset(made(sqfs_meta_writer_create(file_.get(), compressor, 0), "inode writer"));
  directory_table_.reset(made(
      sqfs_meta_writer_create(file_.get(), compressor, SQFS_META_WRITER_KEEP_IN_MEMORY), "directory writer"));
  directories_.reset(made(sqfs_dir_writer_create(directory_table_.get(), SQFS_DIR_WRITER_CREATE_EXPORT_TABLE),
                          "directory writer"));
}

void Writer::append(const File& file, const Content& content, u64 from, u64 to) {
  for (u64 at = from; at < to;) {
    buffer_.resize(std::min(to - at, kReadSize));
    content.read(file, at, buffer_);
    check(sqfs_block_processor_append(data_.get(), buffer_.data(), buffer_.size()), "file data");
    at += buffer_.size();
    data_done_ += buffer_.size();
    if (options_.progress) options_.progress(data_done_, data_total_);
  }
}

void Writer::write_data(u32 index) {
  const Content& content = order_.entries()[index].node->content;
  // The library recognises blocks of zeros: that is how holes are said.
  check(sqfs_block_processor_begin_file(data_.get(), &files_[index], nullptr, 0), "a file");
  if (content.store != nullptr) {
    append(*content.store->open(), content, 0, content.size);
  } else {
    append(File(), content, 0, content.size);
  }
  check(sqfs_block_processor_end_file(data_.get()), "file data");
}

u32 Writer::write_xattrs(const Node& node) {
  if (node.xattrs.empty()) return kNoXattrs;
  check(sqfs_xattr_writer_begin(xattrs_.get(), 0), "extended attributes");
  for (const auto& [name, value] : node.xattrs) {
    const int error = sqfs_xattr_writer_add(xattrs_.get(), name.c_str(), value.data(), value.size());
    if (error == SQFS_ERROR_UNSUPPORTED) {
      throw Error("extended attribute " + name + " is in a namespace squashfs does not have");
    }
    check(error, "extended attribute " + name);
  }
  u32 index = kNoXattrs;
  check(sqfs_xattr_writer_end(xattrs_.get(), &index), "extended attributes");
  return index;
}

InodePointer Writer::make_directory_inode(u32 index) {
  const InodeOrder::Entry& entry = order_.entries()[index];
  check(sqfs_dir_writer_begin(directories_.get(), 0), "a directory");
  for (const auto& [name, child] : entry.node->children) {
    const u32 of_child = order_.index_of(*child);
    check(sqfs_dir_writer_add_entry(directories_.get(), name.c_str(), number_of(of_child),
                                    references_[of_child], child->mode()),
          "a directory entry");
  }
  check(sqfs_dir_writer_end(directories_.get()), "a directory");
  const u32 parent =
      index == 0 ? number_of(static_cast<u32>(order_.entries().size())) : number_of(entry.parent);
  InodePointer inode(
      made(sqfs_dir_writer_create_inode(directories_.get(), 0, write_xattrs(*entry.node), parent),
           "directory inode"));
  set_links(*inode, entry.links);
  return inode;
}

void Writer::set_links(sqfs_inode_generic_t& inode, u32 links) const {
  switch (inode.base.type) {
    case SQFS_INODE_DIR:
      inode.data.dir.nlink = links;
      break;
    case SQFS_INODE_EXT_DIR:
      inode.data.dir_ext.nlink = links;
      break;
    case SQFS_INODE_FILE:
      if (links == 1) break;
      check(sqfs_inode_make_extended(&inode), "an inode");
      [[fallthrough]];
    case SQFS_INODE_EXT_FILE:
      inode.data.file_ext.nlink = links;
      break;
    case SQFS_INODE_SLINK:
      inode.data.slink.nlink = links;
      break;
    case SQFS_INODE_BDEV:
    case SQFS_INODE_CDEV:
      inode.data.dev.nlink = links;
      break;
    default:
      inode.data.ipc.nlink = links;
      break;
  }
}

u32 encode_device(const Node& node) {  // the kernel's new_encode_dev()
  return (node.device_minor & 0xff) | (node.device_major << 8) | ((node.device_minor & ~u32{0xff}) << 12);
}

InodePointer Writer::make_inode(u32 index) {
  const InodeOrder::Entry& entry = order_.entries()[index];
  const Node& node = *entry.node;
  if (node.is_directory()) return make_directory_inode(index);
  InodePointer inode(files_[index]);
  files_[index] = nullptr;
  if (inode == nullptr) {
    inode.reset(made(static_cast<sqfs_inode_generic_t*>(
                         std::calloc(1, sizeof(sqfs_inode_generic_t) + node.target.size() + 1)),
                     "inode"));
  }
  switch (node.type) {
    case NodeType::kSymlink:
      inode->base.type = SQFS_INODE_SLINK;
      inode->data.slink.target_size = static_cast<u32>(node.target.size());
      std::memcpy(inode->extra, node.target.data(), node.target.size());
      break;
    case NodeType::kCharDevice:
    case NodeType::kBlockDevice:
      inode->base.type = node.type == NodeType::kCharDevice ? SQFS_INODE_CDEV : SQFS_INODE_BDEV;
      inode->data.dev.devno = encode_device(node);
      break;
    case NodeType::kFifo:
      inode->base.type = SQFS_INODE_FIFO;
      break;
    case NodeType::kSocket:
      inode->base.type = SQFS_INODE_SOCKET;
      break;
    default:
      break;
  }
  set_links(*inode, entry.links);
  if (const u32 attributes = write_xattrs(node); attributes != kNoXattrs) {
    check(sqfs_inode_make_extended(inode.get()), "an inode");
    check(sqfs_inode_set_xattr_index(inode.get(), attributes), "an inode");
  }
  return inode;
}

void Writer::write_inode(u32 index) {
  const Node& node = *order_.entries()[index].node;
  const InodePointer inode = make_inode(index);
  inode->base.mode = node.mode();
  inode->base.mod_time = time_of(node.mtime);
  inode->base.inode_number = number_of(index);
  check(sqfs_id_table_id_to_index(ids_.get(), node.uid, &inode->base.uid_idx), "an owner");
  check(sqfs_id_table_id_to_index(ids_.get(), node.gid, &inode->base.gid_idx), "an owner");
  u64 block = 0;
  u32 offset = 0;
  sqfs_meta_writer_get_position(inode_table_.get(), &block, &offset);
  references_[index] = block << 16 | offset;
  check(sqfs_meta_writer_write_inode(inode_table_.get(), inode.get()), "an inode");
}

void Writer::write_tables() {
  sqfs_file_t* file = file_.get();
  check(sqfs_meta_writer_flush(inode_table_.get()), "inodes");
  super_.root_inode_ref = references_[0];
  super_.directory_table_start = file->get_size(file);
  check(sqfs_meta_writer_flush(directory_table_.get()), "directories");
  check(sqfs_meta_write_write_to_file(directory_table_.get()), "directories");
  super_.inode_count = static_cast<u32>(order_.entries().size());
  check(sqfs_frag_table_write(fragments_.get(), file, &super_, compressor_.get()), "fragments");
  check(sqfs_dir_writer_write_export_table(directories_.get(), file, compressor_.get(), number_of(0),
                                           references_[0], &super_),
        "the export table");
  check(sqfs_id_table_write(ids_.get(), file, &super_, compressor_.get()), "owners");
  check(sqfs_xattr_writer_flush(xattrs_.get(), file, &super_, compressor_.get()), "extended attributes");
  super_.bytes_used = file->get_size(file);
  check(sqfs_super_write(&super_, file), "the super block");
  check(file->truncate(file, align_up(super_.bytes_used, kBlockSize)), "the end");
}

void Writer::write() {
  const auto count = static_cast<u32>(order_.entries().size());
  files_.resize(count);
  references_.resize(count);
  for (const InodeOrder::Entry& entry : order_.entries()) {
    if (entry.node->type == NodeType::kRegular) data_total_ += entry.node->content.size;
  }
  for (u32 index = 0; index < count; ++index) {
    if (order_.entries()[index].node->type == NodeType::kRegular) write_data(index);
  }
  check(sqfs_block_processor_finish(data_.get()), "file data");
  super_.inode_table_start = file_->get_size(file_.get());
  for (const bool directories : {false, true}) {
    for (u32 index = count; index-- > 0;) {
      if (order_.entries()[index].node->is_directory() == directories) write_inode(index);
    }
  }
  write_tables();
  output_.commit();
}

}  // namespace

void write_squashfs(const Tree& tree, const std::string& path, const WriteOptions& options,
                    const std::string& compression) {
  Writer(tree, path, options, compression).write();
}

}  // namespace teacup::images
