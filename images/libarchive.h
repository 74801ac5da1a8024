// libarchive, loaded when the first archive is read. Linked in, it would bring 15 more libraries (xml, ICU,
// crypto) into every start of the command, also of `teacup run`, which reads none.
//
// The names below are its functions, for code in this namespace; include this instead of <archive.h>, and
// call load_libarchive() before the first of them.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#define TEACUP_LIBARCHIVE(F)              \
  F(archive_entry_filetype)               \
  F(archive_entry_hardlink)               \
  F(archive_entry_gid)                    \
  F(archive_entry_mtime)                  \
  F(archive_entry_mtime_nsec)             \
  F(archive_entry_pathname)               \
  F(archive_entry_perm)                   \
  F(archive_entry_rdevmajor)              \
  F(archive_entry_rdevminor)              \
  F(archive_entry_size)                   \
  F(archive_entry_symlink)                \
  F(archive_entry_uid)                    \
  F(archive_entry_xattr_next)             \
  F(archive_entry_xattr_reset)            \
  F(archive_error_string)                 \
  F(archive_read_data)                    \
  F(archive_read_data_block)              \
  F(archive_read_free)                    \
  F(archive_read_new)                     \
  F(archive_format)                       \
  F(archive_filter_bytes)                 \
  F(archive_read_header_position)         \
  F(archive_read_next_header)             \
  F(archive_read_open)                    \
  F(archive_read_set_option)              \
  F(archive_read_support_filter_bzip2)    \
  F(archive_read_support_filter_compress) \
  F(archive_read_support_filter_gzip)     \
  F(archive_read_support_filter_lz4)      \
  F(archive_read_support_filter_lzip)     \
  F(archive_read_support_filter_lzma)     \
  F(archive_read_support_filter_xz)       \
  F(archive_read_support_filter_zstd)     \
  F(archive_read_support_format_ar)       \
  F(archive_read_support_format_gnutar)   \
  F(archive_read_support_format_tar)      \
  F(archive_set_error)

namespace teacup::images {

#define TEACUP_DECLARE(name) extern decltype(&::name) name;
TEACUP_LIBARCHIVE(TEACUP_DECLARE)
#undef TEACUP_DECLARE

// Throws Error, with what to install, where there is no libarchive. Cheap when called again; any thread.
void load_libarchive();

}  // namespace teacup::images
