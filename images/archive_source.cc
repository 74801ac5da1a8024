#include "images/archive_source.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstring>

#include "images/error.h"
#include "images/libarchive.h"

namespace teacup::images {

namespace {

struct ArchiveClose {
  void operator()(archive* a) const { archive_read_free(a); }
};
using ArchiveHandle = std::unique_ptr<archive, ArchiveClose>;

[[noreturn]] void fail(archive* a, const std::string& path) {
  const char* text = archive_error_string(a);
  throw Error(path + ": " + (text != nullptr ? text : "unreadable archive"));
}

// The next entry, or null at the end. Warnings (a name that is not UTF-8, say) lose nothing we use.
archive_entry* next_entry(archive* a, const std::string& path) {
  archive_entry* entry = nullptr;
  const int status = archive_read_next_header(a, &entry);
  if (status == ARCHIVE_EOF) return nullptr;
  if (status != ARCHIVE_OK && status != ARCHIVE_WARN) fail(a, path);
  return entry;
}

NodeType type_of(archive_entry* entry, const std::string& path) {
  switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
      return NodeType::kRegular;
    case AE_IFDIR:
      return NodeType::kDirectory;
    case AE_IFLNK:
      return NodeType::kSymlink;
    case AE_IFCHR:
      return NodeType::kCharDevice;
    case AE_IFBLK:
      return NodeType::kBlockDevice;
    case AE_IFIFO:
      return NodeType::kFifo;
    case AE_IFSOCK:
      return NodeType::kSocket;
  }
  throw Error(path + ": entry " + archive_entry_pathname(entry) + " has an unknown type");
}

void read_content(archive* a, archive_entry* entry, Content& content, Spool& spool, const std::string& path) {
  for (;;) {
    const void* block = nullptr;
    size_t length = 0;
    la_int64_t offset = 0;
    const int status = archive_read_data_block(a, &block, &length, &offset);
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) fail(a, path);
    spool.append(content, static_cast<u64>(offset), {static_cast<const std::byte*>(block), length});
  }
  const auto size = static_cast<u64>(archive_entry_size(entry));
  if (content.size > size)
    throw Error(path + ": entry " + archive_entry_pathname(entry) + " is inconsistent");
  content.size = size;
}

void read_xattrs(archive_entry* entry, Node& node) {
  archive_entry_xattr_reset(entry);
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
    node.xattrs[name] = std::string(static_cast<const char*>(value), size);
  }
}

void add_entries(Tree& tree, archive* a, const std::string& path, Spool& spool, OnDirectory on_directory) {
  while (archive_entry* entry = next_entry(a, path)) {
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr) throw Error(path + ": an entry has no readable name");
    if (const char* target = archive_entry_hardlink(entry)) {
      tree.link(name, target);
      continue;
    }
    auto node = std::make_shared<Node>();
    node->type = type_of(entry, path);
    node->permissions = static_cast<u16>(archive_entry_perm(entry) & 07777);
    node->uid = static_cast<u32>(archive_entry_uid(entry));
    node->gid = static_cast<u32>(archive_entry_gid(entry));
    node->mtime = archive_entry_mtime(entry);
    node->mtime_nsec = static_cast<u32>(archive_entry_mtime_nsec(entry));
    read_xattrs(entry, *node);
    if (node->type == NodeType::kRegular) {
      read_content(a, entry, node->content, spool, path);
    } else if (node->type == NodeType::kSymlink) {
      const char* target = archive_entry_symlink(entry);
      if (target == nullptr) throw Error(path + ": symlink " + name + " has no target");
      node->target = target;
    } else if (node->type == NodeType::kCharDevice || node->type == NodeType::kBlockDevice) {
      node->device_major = static_cast<u32>(archive_entry_rdevmajor(entry));
      node->device_minor = static_cast<u32>(archive_entry_rdevminor(entry));
    }
    tree.insert(name, std::move(node), on_directory);
  }
}

ArchiveHandle open_tar_reader() {
  load_libarchive();
  ArchiveHandle a(archive_read_new());
  if (a == nullptr) throw Error("out of memory");
  archive_read_support_filter_all(a.get());
  archive_read_support_format_tar(a.get());
  archive_read_support_format_gnutar(a.get());
  // Names are bytes to us; without this libarchive would interpret them in the locale.
  archive_read_set_option(a.get(), "tar", "hdrcharset", "BINARY");
  return a;
}

// Hands the current entry of one archive to another as its input.
struct Member {
  archive* outer;
  const void* block = nullptr;
  std::vector<char> buffer = std::vector<char>(256 * KiB);
};

la_ssize_t read_member(archive* inner, void* data, const void** block) {
  auto* member = static_cast<Member*>(data);
  const la_ssize_t got = archive_read_data(member->outer, member->buffer.data(), member->buffer.size());
  if (got < 0) archive_set_error(inner, EIO, "%s", archive_error_string(member->outer));
  *block = member->buffer.data();
  return got;
}

}  // namespace

void add_tar(Tree& tree, const std::string& path, const std::shared_ptr<Spool>& spool) {
  const ArchiveHandle a = open_tar_reader();
  const std::string name = path.empty() ? "standard input" : path;
  if (archive_read_open_filename(a.get(), path.empty() ? nullptr : path.c_str(), 256 * KiB) != ARCHIVE_OK) {
    fail(a.get(), name);
  }
  add_entries(tree, a.get(), name, *spool, OnDirectory::kReplace);
}

void add_deb(Tree& tree, const std::string& path, const std::shared_ptr<Spool>& spool) {
  load_libarchive();
  const ArchiveHandle outer(archive_read_new());
  if (outer == nullptr) throw Error("out of memory");
  archive_read_support_format_ar(outer.get());
  if (archive_read_open_filename(outer.get(), path.c_str(), 256 * KiB) != ARCHIVE_OK) fail(outer.get(), path);
  while (archive_entry* entry = next_entry(outer.get(), path)) {
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr || std::strncmp(name, "data.tar", 8) != 0) continue;
    const ArchiveHandle inner = open_tar_reader();
    Member member{outer.get()};
    if (archive_read_open(inner.get(), &member, nullptr, read_member, nullptr) != ARCHIVE_OK) {
      fail(inner.get(), path);
    }
    add_entries(tree, inner.get(), path, *spool, OnDirectory::kKeep);
    return;
  }
  throw Error(path + " has no data member: it is not a Debian package");
}

}  // namespace teacup::images
