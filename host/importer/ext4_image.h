// One ext2, ext3 or ext4 image, read through libext2fs. Runs in the importer process, and in its tests.
//
// What libext2fs is trusted with: the super block, group descriptors, inodes, extent trees, indirect blocks,
// extended attributes, inline data, and their checksums. Directory blocks are walked here, since a listing
// must be able to stop and go on, and every block number is checked before it is handed out.
#pragma once

#include "host/importer/imported_image.h"

struct struct_ext2_filsys;

namespace teacup::importer {

struct RawInode;

class Ext4Image final : public ImportedImage {
 public:
  // `fd` is an image file, read with pread(2) only and not closed. Null, with the reason and what to do in
  // `error`, when it is no ext2/3/4 file system or one that cannot be read: features we do not know (named),
  // a journal that must be replayed first, a file shorter than its file system, a damaged super block.
  static std::unique_ptr<Ext4Image> open(int fd, std::string& error);
  ~Ext4Image() override;

 private:
  Ext4Image(struct_ext2_filsys* fs, int fd) : fs_(fs), fd_(fd) {}

  s64 info(ResponseWriter& out) override;
  s64 read_directory(const abi::ImporterRequest& request, ResponseWriter& out) override;
  s64 lookup(const abi::ImporterRequest& request, std::string_view name, ResponseWriter& out) override;
  s64 inode(const abi::ImporterRequest& request, ResponseWriter& out) override;
  s64 extents(const abi::ImporterRequest& request, ResponseWriter& out) override;
  s64 read(const abi::ImporterRequest& request, ResponseWriter& out) override;
  s64 read_link(const abi::ImporterRequest& request, ResponseWriter& out) override;
  s64 xattrs(const abi::ImporterRequest& request, ResponseWriter& out) override;

  // These yield 0 or a positive errno.
  int load_inode(u64 number, RawInode& inode);
  int load_directory(u64 number, RawInode& inode);
  int load_regular(u64 number, RawInode& inode);
  int describe(u64 number, const RawInode& inode, abi::ImporterInode& out);
  int link_target(u64 number, const RawInode& inode, std::string& target);
  int read_range(u64 number, const RawInode& inode, u64 offset, std::span<std::byte> bytes);
  int inline_data(u64 number, const RawInode& inode, std::string& data);
  bool has_xattrs(const RawInode& inode) const;
  // False when the entry does not fit.
  bool add_entry(ResponseWriter& out, std::string_view name, u32 number, u8 type, u64 cursor);

  // Calls use(name, inode number, type, cursor after it) for entries from `cursor` on, until it returns
  // false.
  template <typename Use>
  int walk_directory(u64 number, const RawInode& inode, u64 cursor, Use use);
  template <typename Use>
  int walk_inline_directory(u64 number, const RawInode& inode, u64 cursor, Use& use);

  // Calls use(extent) for stretches of data that end after `offset`, in order, neighbours on disk merged,
  // until it returns false.
  template <typename Use>
  int walk_extents(u64 number, const RawInode& inode, u64 offset, Use use);
  // Calls use(file block, disk block, blocks) for what the inode maps, as it stands, until it returns false.
  template <typename Use>
  int walk_block_map(u64 number, const RawInode& inode, Use& use);
  template <typename Use>
  int walk_extent_tree(u64 number, const RawInode& inode, Use& use);

  struct_ext2_filsys* fs_;
  int fd_;
};

}  // namespace teacup::importer
