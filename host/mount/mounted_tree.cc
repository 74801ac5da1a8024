#include "host/mount/mounted_tree.h"

#include <algorithm>
#include <cstring>

namespace teacup::mount {

namespace {

constexpr u64 kAllCapabilities = ~u64{0};

struct OpenFile {
  Ref<fs::File> file;
  std::mutex lock;  // of a directory's position
};

OpenFile& file_of(FileId id) {
  return *reinterpret_cast<OpenFile*>(id);
}
FileId id_of(Ref<fs::File> file) {
  return reinterpret_cast<FileId>(new OpenFile{std::move(file), {}});
}

// What the kernel has done already, or keeps to itself.
constexpr u32 kOpenFlags = abi::kO_ACCMODE | abi::kO_TRUNC | abi::kO_NOATIME | abi::kO_DIRECTORY;

}  // namespace

Result<std::unique_ptr<MountedTree>> MountedTree::create(bool everybody_is_root) {
  std::unique_ptr<MountedTree> tree(new MountedTree(everybody_is_root));
  tree->context_ = TRY(fs::FsContext::create());
  tree->context_->set_umask(0);  // whoever asks has applied his
  return tree;
}

MountedTree::~MountedTree() {
  for (const auto& [inode, node] : nodes_) delete node;
}

Credentials MountedTree::credentials_of(const User& user) const {
  Credentials credentials;
  if (everybody_is_root_ || user.uid == 0) {
    credentials.effective = credentials.permitted = kAllCapabilities;
    if (everybody_is_root_) return credentials;
  }
  credentials.uid = credentials.euid = credentials.suid = credentials.fsuid = user.uid;
  credentials.gid = credentials.egid = credentials.sgid = credentials.fsgid = user.gid;
  credentials.group_count = static_cast<u32>(std::min(user.groups.size(), credentials.groups.size()));
  std::copy_n(user.groups.begin(), credentials.group_count, credentials.groups.begin());
  return credentials;
}

Result<fs::Path> MountedTree::path_of(NodeId id) {
  if (id == kRootNode) return fs::root_path();
  const std::lock_guard guard(lock_);
  return reinterpret_cast<Node*>(id)->path;
}

Result<Entry> MountedTree::give_out(fs::Path path) {
  Entry entry;
  TRY(path.inode().stat(entry.stat));
  if (path == fs::root_path()) {
    entry.node = kRootNode;
    return entry;
  }
  const std::lock_guard guard(lock_);
  Node*& node = nodes_[&path.inode()];
  if (node == nullptr) {
    node = new Node{std::move(path), 0};
  } else if (node->path.dentry().is_deleted()) {
    node->path = std::move(path);  // by a name that it still has
  }
  node->count++;
  entry.node = reinterpret_cast<NodeId>(node);
  return entry;
}

void MountedTree::forget(NodeId id, u64 count) {
  if (id == kRootNode) return;
  auto* node = reinterpret_cast<Node*>(id);
  {
    const std::lock_guard guard(lock_);
    node->count -= std::min(count, node->count);
    if (node->count > 0) return;
    nodes_.erase(&node->path.inode());
  }
  delete node;  // drops references, which may free an inode: without the lock
}

// --- Names.

Result<Entry> MountedTree::lookup(const User& user, NodeId parent, std::string_view name) {
  const Credentials credentials = credentials_of(user);
  fs::Path directory = TRY(path_of(parent));
  return give_out(TRY(fs::resolve({*context_, credentials}, &directory, name, 0)));
}

Result<Entry> MountedTree::make_node(const User& user, NodeId parent, std::string_view name, u32 mode,
                                     u64 device) {
  const Credentials credentials = credentials_of(user);
  fs::Path directory = TRY(path_of(parent));
  return give_out(TRY(fs::make_node({*context_, credentials}, &directory, name, mode, device)));
}

Result<Entry> MountedTree::make_directory(const User& user, NodeId parent, std::string_view name, u32 mode) {
  const Credentials credentials = credentials_of(user);
  fs::Path directory = TRY(path_of(parent));
  TRY(fs::make_directory({*context_, credentials}, &directory, name, mode));
  return lookup(user, parent, name);
}

Result<Entry> MountedTree::make_symlink(const User& user, std::string_view target, NodeId parent,
                                        std::string_view name) {
  const Credentials credentials = credentials_of(user);
  fs::Path directory = TRY(path_of(parent));
  TRY(fs::make_symlink({*context_, credentials}, target, &directory, name));
  return lookup(user, parent, name);
}

Result<Entry> MountedTree::link(const User& user, NodeId node, NodeId parent, std::string_view name) {
  const Credentials credentials = credentials_of(user);
  fs::Path existing = TRY(path_of(node));
  fs::Path directory = TRY(path_of(parent));
  TRY(fs::make_link({*context_, credentials}, existing, &directory, name));
  return lookup(user, parent, name);
}

Result<void> MountedTree::unlink(const User& user, NodeId parent, std::string_view name) {
  const Credentials credentials = credentials_of(user);
  fs::Path directory = TRY(path_of(parent));
  return fs::remove_name({*context_, credentials}, &directory, name);
}

Result<void> MountedTree::remove_directory(const User& user, NodeId parent, std::string_view name) {
  const Credentials credentials = credentials_of(user);
  fs::Path directory = TRY(path_of(parent));
  return fs::remove_directory({*context_, credentials}, &directory, name);
}

Result<void> MountedTree::rename(const User& user, NodeId parent, std::string_view name, NodeId new_parent,
                                 std::string_view new_name, u32 flags) {
  const Credentials credentials = credentials_of(user);
  fs::Path from = TRY(path_of(parent));
  fs::Path to = TRY(path_of(new_parent));
  return fs::rename_path({*context_, credentials}, &from, name, &to, new_name, flags);
}

// --- Attributes.

Result<abi::Stat> MountedTree::stat(NodeId node) {
  abi::Stat stat{};
  TRY(TRY(path_of(node)).inode().stat(stat));
  return stat;
}

Result<abi::Stat> MountedTree::change(const User& user, NodeId node, const Changes& changes, FileId file) {
  const Credentials credentials = credentials_of(user);
  const fs::Caller caller{*context_, credentials};
  fs::Path path = TRY(path_of(node));
  if ((changes.mask & Changes::kMode) != 0) TRY(fs::change_mode(caller, path, changes.mode));
  if ((changes.mask & (Changes::kUid | Changes::kGid)) != 0) {
    TRY(fs::change_owner(caller, path, (changes.mask & Changes::kUid) != 0 ? changes.uid : fs::kKeepId,
                         (changes.mask & Changes::kGid) != 0 ? changes.gid : fs::kKeepId));
  }
  if ((changes.mask & Changes::kSize) != 0) {
    TRY(file != 0 ? file_of(file).file->truncate(changes.size)
                  : fs::truncate_path(caller, path, changes.size));
  }
  if ((changes.mask & (Changes::kAtime | Changes::kMtime)) != 0) {
    TRY(fs::change_times(caller, path, changes.atime, changes.mtime));
  }
  return stat(node);
}

Result<void> MountedTree::check_access(const User& user, NodeId node, u32 may) {
  return fs::check_access(TRY(path_of(node)), credentials_of(user), may);
}

Result<std::string> MountedTree::read_link(NodeId node) {
  std::string target(abi::kPATH_MAX, '\0');
  target.resize(TRY(TRY(path_of(node)).inode().readlink(target)));
  return target;
}

Result<abi::Statfs> MountedTree::statfs() {
  abi::Statfs statfs{};
  TRY(fs::root_path().inode().file_system().statfs(statfs));
  return statfs;
}

Result<std::string> MountedTree::get_xattr(const User& user, NodeId node, std::string_view name) {
  fs::Path path = TRY(path_of(node));
  TRY(fs::check_xattr(credentials_of(user), path, name, false));
  std::string value(abi::kXATTR_SIZE_MAX, '\0');
  value.resize(TRY(path.inode().get_xattr(name, std::as_writable_bytes(std::span(value)))));
  return value;
}

Result<std::string> MountedTree::list_xattrs(const User& user, NodeId node) {
  fs::Path path = TRY(path_of(node));
  std::string all(64 * KiB, '\0');
  all.resize(TRY(path.inode().list_xattrs(all)));
  if (credentials_of(user).has(abi::kCAP_SYS_ADMIN)) return all;
  std::string shown;  // without those that are not for everybody
  for (size_t at = 0; at < all.size();) {
    const size_t end = std::min(all.find('\0', at), all.size() - 1);
    const std::string_view name(all.data() + at, end - at);
    if (!name.starts_with("trusted.")) shown.append(name).push_back('\0');
    at = end + 1;
  }
  return shown;
}

Result<void> MountedTree::set_xattr(const User& user, NodeId node, std::string_view name,
                                    std::span<const std::byte> value, u32 flags) {
  fs::Path path = TRY(path_of(node));
  TRY(fs::check_xattr(credentials_of(user), path, name, true));
  return path.inode().set_xattr(name, value, flags);
}

Result<void> MountedTree::remove_xattr(const User& user, NodeId node, std::string_view name) {
  fs::Path path = TRY(path_of(node));
  TRY(fs::check_xattr(credentials_of(user), path, name, true));
  return path.inode().remove_xattr(name);
}

// --- Open files.

Result<FileId> MountedTree::open(const User& user, NodeId node, u32 flags) {
  const Credentials credentials = credentials_of(user);
  fs::Path path = TRY(path_of(node));
  return id_of(TRY(fs::open_existing({*context_, credentials}, path, flags & kOpenFlags)));
}

Result<std::pair<Entry, FileId>> MountedTree::create_file(const User& user, NodeId parent,
                                                          std::string_view name, u32 mode, u32 flags) {
  const Credentials credentials = credentials_of(user);
  fs::Path directory = TRY(path_of(parent));
  const u32 how = (flags & (kOpenFlags | abi::kO_EXCL)) | abi::kO_CREAT | abi::kO_NOFOLLOW;
  Ref<fs::File> file = TRY(fs::open_path({*context_, credentials}, &directory, name, how, mode));
  Entry entry = TRY(give_out(*file->path()));
  return std::pair(entry, id_of(std::move(file)));
}

void MountedTree::close(FileId file) {
  delete &file_of(file);
}

Result<size_t> MountedTree::read(FileId file, u64 offset, std::span<std::byte> into) {
  return fs::read_at(*file_of(file).file, offset, into);
}

Result<size_t> MountedTree::write(const User& user, FileId file, u64 offset,
                                  std::span<const std::byte> from) {
  fs::File& open = *file_of(file).file;
  size_t done = 0;
  while (done < from.size()) {
    IoSource source(from.subspan(done));
    const auto written = open.write(source, offset + done);
    if (!written.ok() && done == 0) return written.error();
    if (!written.ok() || written.value() == 0) break;
    done += written.value();
  }
  if (fs::Inode* inode = open.inode(); inode != nullptr)
    fs::drop_privilege_bits(*inode, credentials_of(user));
  return done;
}

Result<void> MountedTree::sync(FileId file) {
  return file_of(file).file->sync();
}

Result<void> MountedTree::allocate(FileId file, int mode, u64 offset, u64 length) {
  return file_of(file).file->allocate(mode, offset, length);
}

Result<u64> MountedTree::seek(FileId file, u64 offset, int whence) {
  return file_of(file).file->inode()->seek_data(offset, whence == abi::kSEEK_HOLE);
}

Result<void> MountedTree::read_directory(FileId directory, u64 position, const AddEntry& add) {
  struct Sink final : fs::DirSink {
    explicit Sink(const AddEntry& add) : add_(add) {}
    bool add(std::string_view name, u64 inode, u8 type, u64 next) override {
      if (!add_(name, inode, type, next)) return false;
      taken++;
      last = next;
      return true;
    }
    const AddEntry& add_;
    u64 taken = 0;
    u64 last = 0;
  } sink(add);
  OpenFile& open = file_of(directory);
  const std::lock_guard guard(open.lock);
  TRY(open.file->seek(static_cast<s64>(position), abi::kSEEK_SET));
  return open.file->read_directory(sink);
}

}  // namespace teacup::mount
