#include "images/archive_source.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstring>
#include <set>

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

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

// What a layer has put into the tree, and what it takes away of those below, in whatever order.
class Layer {
 public:
  explicit Layer(Tree& tree) : tree_(tree) {}

  // Whether the entry was a whiteout, which is no file.
  bool take(std::string_view path) {
    while (path.ends_with('/')) path.remove_suffix(1);
    const size_t slash = path.rfind('/');
    const std::string_view directory = slash == path.npos ? "" : path.substr(0, slash);
    const std::string_view name = slash == path.npos ? path : path.substr(slash + 1);
    if (!name.starts_with(kWhiteout)) return false;
    if (name == kOpaque) {
      if (const auto node = tree_.find(directory)) prune(*node);
    } else if (name.starts_with(".wh..wh.")) {
      // Other marks of aufs's are not about files.
    } else {
      const std::string target = std::string(directory) + "/" + std::string(name.substr(kWhiteout.size()));
      if (const auto node = tree_.find(target)) {
        if (!own_.contains(node)) {
          tree_.remove(target);
        } else {
          prune(*node);
        }
      }
    }
    return true;
  }
  // The parents too: they are the layer's now, whatever comes of those below.
  void added(std::string_view path) {
    for (;;) {
      if (const auto node = tree_.find(path)) own_.insert(node);
      const size_t slash = path.rfind('/');
      if (slash == path.npos) return;
      path = path.substr(0, slash);
    }
  }

 private:
  // Only what this layer has put there stays.
  void prune(Node& directory) {
    for (auto at = directory.children.begin(); at != directory.children.end();) {
      if (!own_.contains(at->second)) {
        at = directory.children.erase(at);
      } else {
        if (at->second->is_directory()) prune(*at->second);
        ++at;
      }
    }
  }

  Tree& tree_;
  std::set<std::shared_ptr<Node>> own_;
};

void add_entries(Tree& tree, archive* a, const std::string& path, Spool& spool, OnDirectory on_directory) {
  Layer layer(tree);
  const bool is_layer = on_directory == OnDirectory::kLayer;
  while (archive_entry* entry = next_entry(a, path)) {
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr) throw Error(path + ": an entry has no readable name");
    if (is_layer && layer.take(name)) continue;
    if (const char* target = archive_entry_hardlink(entry)) {
      tree.link(name, target);
      if (is_layer) layer.added(name);
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
    if (is_layer) layer.added(name);
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

// The same for bytes that lie somewhere.
struct Bytes {
  u64 size;
  const std::function<void(u64, std::span<std::byte>)>& read;
  u64 done = 0;
  std::vector<std::byte> buffer = std::vector<std::byte>(256 * KiB);
};

la_ssize_t read_bytes(archive* a, void* data, const void** block) {
  auto* bytes = static_cast<Bytes*>(data);
  const std::span<std::byte> part(bytes->buffer.data(),
                                  std::min<u64>(bytes->buffer.size(), bytes->size - bytes->done));
  *block = part.data();
  try {
    if (!part.empty()) bytes->read(bytes->done, part);
  } catch (const Error& error) {
    archive_set_error(a, EIO, "%s", error.what());
    return -1;
  }
  bytes->done += part.size();
  return static_cast<la_ssize_t>(part.size());
}

}  // namespace

void add_layer(Tree& tree, u64 size, const std::function<void(u64, std::span<std::byte>)>& read,
               const std::string& name, const std::shared_ptr<Spool>& spool) {
  const ArchiveHandle a = open_tar_reader();
  Bytes bytes{size, read};
  if (archive_read_open(a.get(), &bytes, nullptr, read_bytes, nullptr) != ARCHIVE_OK) fail(a.get(), name);
  add_entries(tree, a.get(), name, *spool, OnDirectory::kLayer);
}

void add_tar(Tree& tree, const std::string& path, const std::shared_ptr<Spool>& spool) {
  const ArchiveHandle a = open_tar_reader();
  const std::string name = path.empty() ? "standard input" : path;
  if (archive_read_open_filename(a.get(), path.empty() ? nullptr : path.c_str(), 256 * KiB) != ARCHIVE_OK) {
    fail(a.get(), name);
  }
  add_entries(tree, a.get(), name, *spool, OnDirectory::kReplace);
}

namespace {

void mark_whiteouts(Node& directory) {
  for (auto at = directory.children.begin(); at != directory.children.end();) {
    const std::string name = at->first;
    if (at->second->is_directory()) mark_whiteouts(*at->second);
    if (!name.starts_with(kWhiteout)) {
      ++at;
      continue;
    }
    at = directory.children.erase(at);
    if (name == kOpaque) directory.xattrs["trusted.overlay.opaque"] = "y";
    if (name.starts_with(".wh..wh.") || name.size() == kWhiteout.size()) continue;
    const std::string target = name.substr(kWhiteout.size());
    if (const auto own = directory.children.find(target); own != directory.children.end()) {
      // What the layer itself puts there, over nothing of what lies below.
      if (own->second->is_directory()) own->second->xattrs["trusted.overlay.opaque"] = "y";
      continue;
    }
    auto node = std::make_shared<Node>();
    node->type = NodeType::kCharDevice;
    node->permissions = 0;
    directory.children[target] = std::move(node);
  }
}

}  // namespace

void mark_whiteouts(Tree& tree) {
  mark_whiteouts(tree.root());
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
