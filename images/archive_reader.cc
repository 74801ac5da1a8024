#include "images/archive_reader.h"

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "images/error.h"
#include "images/libarchive.h"

namespace teacup::images {

namespace {

struct ArchiveClose {
  void operator()(archive* a) const { archive_read_free(a); }
};
using ArchiveHandle = std::unique_ptr<archive, ArchiveClose>;

constexpr s64 kTarBlock = 512;

[[noreturn]] void fail(archive* a, const std::string& path) {
  const char* text = archive_error_string(a);
  throw Error(path + ": " + (text != nullptr ? text : "unreadable archive"));
}

// The next entry, or null at the end. Warnings (a name that is not UTF-8, say) lose nothing we use.
archive_entry* next_entry(archive* a, const std::string& path) {
  archive_entry* entry = nullptr;
  const int status = archive_read_next_header(a, &entry);
  if (status == ARCHIVE_EOF) {
    // libarchive takes an archive that just stops behind an entry for a whole one: see that blocks of zeros
    // end it.
    bool is_tar = (archive_format(a) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
    if (is_tar && archive_filter_bytes(a, 0) - archive_read_header_position(a) < kTarBlock) {
      throw Error(path + ": it is cut off: an archive ends with blocks of zeros (tar cf makes them)");
    }
    return nullptr;
  }
  if (status != ARCHIVE_OK && status != ARCHIVE_WARN) fail(a, path);
  return entry;
}

NodeType type_of(archive_entry* entry, const std::string& path) {
  const u32 mode = archive_entry_filetype(entry);  // AE_IFREG and so on are S_IFREG and so on
  const NodeType type = node_type(mode);
  if (type != NodeType::kRegular || mode == AE_IFREG) return type;
  throw Error(path + ": entry " + archive_entry_pathname(entry) + " has an unknown type");
}

void read_data(archive* a, ArchiveEntries& entries, const std::string& path) {
  for (;;) {
    const void* block = nullptr;
    size_t length = 0;
    la_int64_t offset = 0;
    const int status = archive_read_data_block(a, &block, &length, &offset);
    if (status == ARCHIVE_EOF) return;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) fail(a, path);
    if (length > 0) entries.data(static_cast<u64>(offset), {static_cast<const std::byte*>(block), length});
  }
}

ArchiveEntry describe(archive_entry* entry, const std::string& path) {
  ArchiveEntry found;
  const char* name = archive_entry_pathname(entry);
  if (name == nullptr) throw Error(path + ": an entry has no readable name");
  found.name = name;
  if (const char* target = archive_entry_hardlink(entry)) {
    found.is_link = true;
    found.target = target;
    return found;
  }
  found.type = type_of(entry, path);
  found.permissions = static_cast<u16>(archive_entry_perm(entry) & 07777);
  found.uid = static_cast<u32>(archive_entry_uid(entry));
  found.gid = static_cast<u32>(archive_entry_gid(entry));
  found.mtime = archive_entry_mtime(entry);
  found.mtime_nsec = static_cast<u32>(archive_entry_mtime_nsec(entry));
  archive_entry_xattr_reset(entry);
  const char* key = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  while (archive_entry_xattr_next(entry, &key, &value, &size) == ARCHIVE_OK) {
    found.xattrs[key] = std::string(static_cast<const char*>(value), size);
  }
  if (found.type == NodeType::kRegular) {
    found.size = static_cast<u64>(archive_entry_size(entry));
  } else if (found.type == NodeType::kSymlink) {
    const char* target = archive_entry_symlink(entry);
    if (target == nullptr) throw Error(path + ": symlink " + found.name + " has no target");
    found.target = target;
  } else if (found.type == NodeType::kCharDevice || found.type == NodeType::kBlockDevice) {
    found.device_major = static_cast<u32>(archive_entry_rdevmajor(entry));
    found.device_minor = static_cast<u32>(archive_entry_rdevminor(entry));
  }
  return found;
}

void read_entries(archive* a, const std::string& path, ArchiveEntries& entries) {
  while (archive_entry* entry = next_entry(a, path)) {
    ArchiveEntry found = describe(entry, path);
    const bool has_data = !found.is_link && found.type == NodeType::kRegular;
    entries.entry(std::move(found));
    if (has_data) read_data(a, entries, path);
  }
}

ArchiveHandle make_reader() {
  load_libarchive();
  ArchiveHandle a(archive_read_new());
  if (a == nullptr) throw Error("out of memory");
  return a;
}

ArchiveHandle make_tar_reader() {
  ArchiveHandle a = make_reader();
  // Not all filters there are: some would start a program.
  archive_read_support_filter_bzip2(a.get());
  archive_read_support_filter_compress(a.get());
  archive_read_support_filter_gzip(a.get());
  archive_read_support_filter_lz4(a.get());
  archive_read_support_filter_lzip(a.get());
  archive_read_support_filter_lzma(a.get());
  archive_read_support_filter_xz(a.get());
  archive_read_support_filter_zstd(a.get());
  archive_read_support_format_tar(a.get());
  archive_read_support_format_gnutar(a.get());
  // Names are bytes to us; without this libarchive would interpret them in the locale.
  archive_read_set_option(a.get(), "tar", "hdrcharset", "BINARY");
  return a;
}

// Where an archive's bytes come from.
struct Source {
  const ArchiveInput& input;
  std::vector<std::byte> buffer = std::vector<std::byte>(256 * KiB);
};

la_ssize_t read_source(archive* a, void* data, const void** block) {
  auto* source = static_cast<Source*>(data);
  *block = source->buffer.data();
  try {
    return static_cast<la_ssize_t>(source->input(source->buffer));
  } catch (const Error& error) {
    archive_set_error(a, EIO, "%s", error.what());
    return -1;
  }
}

void open(archive* a, Source& source, const std::string& name) {
  if (archive_read_open(a, &source, nullptr, read_source, nullptr) != ARCHIVE_OK) fail(a, name);
}

}  // namespace

void read_archive(ArchiveKind kind, const ArchiveInput& input, const std::string& name,
                  ArchiveEntries& entries) {
  Source source{input};
  if (kind == ArchiveKind::kTar) {
    const ArchiveHandle a = make_tar_reader();
    open(a.get(), source, name);
    read_entries(a.get(), name, entries);
    return;
  }
  const ArchiveHandle outer = make_reader();
  archive_read_support_format_ar(outer.get());
  open(outer.get(), source, name);
  while (archive_entry* entry = next_entry(outer.get(), name)) {
    const char* member = archive_entry_pathname(entry);
    if (member == nullptr || std::strncmp(member, "data.tar", 8) != 0) continue;
    const ArchiveInput content = [&](std::span<std::byte> bytes) {
      const la_ssize_t got = archive_read_data(outer.get(), bytes.data(), bytes.size());
      if (got < 0) fail(outer.get(), name);
      return static_cast<size_t>(got);
    };
    Source inner_source{content};
    const ArchiveHandle inner = make_tar_reader();
    open(inner.get(), inner_source, name);
    read_entries(inner.get(), name, entries);
    return;
  }
  throw Error(name + " has no data member: it is not a Debian package");
}

}  // namespace teacup::images
