// libsquashfs (squashfs-tools-ng), loaded when there is a squashfs image: it brings four codecs' libraries,
// which no other run is to pay for at its start. Only the importer's processes load it, and who
// writes one.
//
// The names below are its functions, for code in this namespace; include this instead of <sqfs/…>, and call
// load_libsquashfs() before the first of them.
#pragma once

#include <sqfs/block.h>
#include <sqfs/block_processor.h>
#include <sqfs/block_writer.h>
#include <sqfs/compressor.h>
#include <sqfs/data_reader.h>
#include <sqfs/dir.h>
#include <sqfs/dir_writer.h>
#include <sqfs/error.h>
#include <sqfs/frag_table.h>
#include <sqfs/id_table.h>
#include <sqfs/inode.h>
#include <sqfs/io.h>
#include <sqfs/meta_reader.h>
#include <sqfs/meta_writer.h>
#include <sqfs/super.h>
#include <sqfs/xattr.h>
#include <sqfs/xattr_reader.h>
#include <sqfs/xattr_writer.h>

#include <string>

#define TEACUP_LIBSQUASHFS(F)             \
  F(sqfs_block_processor_append)          \
  F(sqfs_block_processor_begin_file)      \
  F(sqfs_block_processor_create)          \
  F(sqfs_block_processor_end_file)        \
  F(sqfs_block_processor_finish)          \
  F(sqfs_block_writer_create)             \
  F(sqfs_compressor_config_init)          \
  F(sqfs_compressor_create)               \
  F(sqfs_compressor_name_from_id)         \
  F(sqfs_data_reader_create)              \
  F(sqfs_data_reader_load_fragment_table) \
  F(sqfs_data_reader_read)                \
  F(sqfs_dir_writer_add_entry)            \
  F(sqfs_dir_writer_begin)                \
  F(sqfs_dir_writer_create)               \
  F(sqfs_dir_writer_create_inode)         \
  F(sqfs_dir_writer_end)                  \
  F(sqfs_dir_writer_write_export_table)   \
  F(sqfs_frag_table_create)               \
  F(sqfs_frag_table_write)                \
  F(sqfs_free)                            \
  F(sqfs_id_table_create)                 \
  F(sqfs_id_table_id_to_index)            \
  F(sqfs_id_table_index_to_id)            \
  F(sqfs_id_table_read)                   \
  F(sqfs_id_table_write)                  \
  F(sqfs_inode_get_file_block_start)      \
  F(sqfs_inode_get_file_size)             \
  F(sqfs_inode_get_frag_location)         \
  F(sqfs_inode_get_xattr_index)           \
  F(sqfs_inode_make_extended)             \
  F(sqfs_inode_set_xattr_index)           \
  F(sqfs_meta_reader_create)              \
  F(sqfs_meta_reader_read)                \
  F(sqfs_meta_reader_read_inode)          \
  F(sqfs_meta_reader_readdir)             \
  F(sqfs_meta_reader_seek)                \
  F(sqfs_meta_write_write_to_file)        \
  F(sqfs_meta_writer_create)              \
  F(sqfs_meta_writer_flush)               \
  F(sqfs_meta_writer_get_position)        \
  F(sqfs_meta_writer_write_inode)         \
  F(sqfs_open_file)                       \
  F(sqfs_readdir_state_init)              \
  F(sqfs_super_init)                      \
  F(sqfs_super_read)                      \
  F(sqfs_super_write)                     \
  F(sqfs_xattr_reader_create)             \
  F(sqfs_xattr_reader_get_desc)           \
  F(sqfs_xattr_reader_load)               \
  F(sqfs_xattr_reader_read_key)           \
  F(sqfs_xattr_reader_read_value)         \
  F(sqfs_xattr_reader_seek_kv)            \
  F(sqfs_xattr_writer_add)                \
  F(sqfs_xattr_writer_begin)              \
  F(sqfs_xattr_writer_create)             \
  F(sqfs_xattr_writer_end)                \
  F(sqfs_xattr_writer_flush)

namespace teacup::importer {

#define TEACUP_DECLARE(name) extern decltype(&::name) name;
TEACUP_LIBSQUASHFS(TEACUP_DECLARE)
#undef TEACUP_DECLARE

// False, with what to install in `error`, where there is none. Cheap when called again; one thread.
bool load_libsquashfs(std::string& error);

}  // namespace teacup::importer
