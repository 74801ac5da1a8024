// One squashfs 4.0 image, read through libsquashfs. Runs in the importer process, and in its tests.
//
// An inode's number is where it lies in the inode table (what squashfs calls its reference) plus one: found
// without the export table, which an image need not have, and never 0. Data are always read through here,
// decompressed: kDataByRead is set on every file; of one with blocks of zeros, which are not stored, where
// there are others can be asked for. Whole blocks, which is what is asked for, are decompressed
// by libsquashfs's codecs straight to where they are wanted, several at a time by a crew; its own reader,
// which keeps the last block and the last fragment block and copies, reads the rest.
#pragma once

#include "host/importer/crew.h"
#include "host/importer/imported_image.h"
#include "host/importer/libsquashfs.h"

namespace teacup::importer {

class SquashImage final : public ImportedImage {
 public:
  // As ImportedImage::open(); load_libsquashfs() was called. Refused: versions other than 4.0, compressors
  // that libsquashfs lacks (lzo), named; a file shorter than its file system; a damaged super block or id
  // table.
  static std::unique_ptr<ImportedImage> open(int fd, std::string& error, Crew* crew);

 private:
  struct Destroy {
    void operator()(void* object) const { sqfs_destroy(object); }
  };
  struct Free {
    void operator()(void* memory) const { sqfs_free(memory); }
  };
  template <typename T>
  using Object = std::unique_ptr<T, Destroy>;
  using InodePtr = std::unique_ptr<sqfs_inode_generic_t, Free>;

  // libsquashfs's way to the file.
  struct Input : sqfs_file_t {
    int fd;
    u64 size;
  };

  SquashImage(int fd, Crew* crew);
  bool start(std::string& error);

  s64 info(ResponseWriter& out) override;
  s64 read_directory(const abi::ImporterRequest& request, ResponseWriter& out) override;
  s64 lookup(const abi::ImporterRequest& request, std::string_view name, ResponseWriter& out) override;
  s64 inode(const abi::ImporterRequest& request, ResponseWriter& out) override;
  s64 extents(const abi::ImporterRequest& request, ResponseWriter& out) override;
  s64 read(const abi::ImporterRequest& request, ResponseWriter& out) override;
  s64 read_link(const abi::ImporterRequest& request, ResponseWriter& out) override;
  s64 xattrs(const abi::ImporterRequest& request, ResponseWriter& out) override;

  // These yield 0 or a positive errno.
  int load_inode(u64 number, InodePtr& inode);
  int load_recent(u64 number);
  int check_inode(u64 block, u64 offset);
  int describe(u64 number, const sqfs_inode_generic_t& inode, abi::ImporterInode& out);
  int link_target(const sqfs_inode_generic_t& inode, std::string& target);
  int start_directory(u64 number, sqfs_readdir_state_t& state);
  bool add_entry(ResponseWriter& out, std::string_view name, u64 number, u16 type, u64 cursor);
  int load_xattr_table();
  struct Block {
    u64 at;      // in the image
    u32 stored;  // bytes there
    bool compressed;
    std::span<std::byte> into;
  };
  int read_blocks(u64 offset, u64 size, std::span<std::byte> into, u64& done);
  int read_block(unsigned hand, const Block& block);

  Input input_{};
  sqfs_super_t super_{};
  Object<sqfs_compressor_t> compressor_;
  // Of the crew, each member's own codec and room for a block as stored.
  struct Hand {
    Object<sqfs_compressor_t> codec;
    std::unique_ptr<std::byte[]> stored;
  };
  Crew* crew_;
  std::vector<Hand> hands_;
  Object<sqfs_id_table_t> ids_;
  Object<sqfs_meta_reader_t> inodes_;
  Object<sqfs_meta_reader_t> directories_;
  Object<sqfs_data_reader_t> data_;
  Object<sqfs_xattr_reader_t> xattrs_;  // when first wanted
  bool has_fragment_table_ = false;     // loaded, when first wanted

  // The file that was read last: its block list is not to be parsed again for each piece of it.
  u64 recent_number_ = 0;
  InodePtr recent_;
  u64 recent_block_ = 0;  // whose place in the image is known
  u64 recent_at_ = 0;
  // Where the last listing stopped, in which directory, and the cursor that goes on there.
  struct Position {
    u64 directory = 0;
    u64 cursor = 0;
    sqfs_readdir_state_t state;
  } position_{};
};

}  // namespace teacup::importer
