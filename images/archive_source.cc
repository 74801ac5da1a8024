#include "images/archive_source.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "images/archive_process.h"
#include "images/error.h"

namespace teacup::images {

namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

// Other marks of aufs's are not about files, and these names would be the directory itself or the one above.
bool hides_a_name(std::string_view whiteout) {
  const std::string_view name = whiteout.substr(kWhiteout.size());
  return !name.starts_with(kWhiteout) && !name.empty() && name != "." && name != "..";
}

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
    } else if (hides_a_name(name)) {
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

// What an archive holds, into a tree.
class TreeEntries final : public ArchiveEntries {
 public:
  TreeEntries(Tree& tree, Spool& spool, const std::string& name, OnDirectory on_directory)
      : tree_(tree), layer_(tree), spool_(spool), archive_(name), on_directory_(on_directory) {}

  void entry(ArchiveEntry found) override {
    finish();
    const bool is_layer = on_directory_ == OnDirectory::kLayer;
    if (is_layer && layer_.take(found.name)) return;
    if (found.is_link) {
      tree_.link(found.name, found.target);
      if (is_layer) layer_.added(found.name);
      return;
    }
    node_ = std::make_shared<Node>();
    node_->type = found.type;
    node_->permissions = found.permissions;
    node_->uid = found.uid;
    node_->gid = found.gid;
    node_->mtime = found.mtime;
    node_->mtime_nsec = found.mtime_nsec;
    node_->device_major = found.device_major;
    node_->device_minor = found.device_minor;
    node_->xattrs = std::move(found.xattrs);
    node_->target = std::move(found.target);
    name_ = std::move(found.name);
    size_ = found.size;
    if (node_->type != NodeType::kRegular) finish();
  }

  // Of a whiteout, which is no file, nobody keeps it.
  void data(u64 offset, std::span<const std::byte> bytes) override {
    if (node_ != nullptr) spool_.append(node_->content, offset, bytes);
  }

  // The last entry has all its data.
  void finish() {
    if (node_ == nullptr) return;
    if (node_->type == NodeType::kRegular) {
      if (node_->content.size > size_) throw Error(archive_ + ": entry " + name_ + " is inconsistent");
      node_->content.size = size_;
    }
    tree_.insert(name_, std::move(node_), on_directory_);
    node_ = nullptr;
    if (on_directory_ == OnDirectory::kLayer) layer_.added(name_);
  }

 private:
  Tree& tree_;
  Layer layer_;
  Spool& spool_;
  const std::string& archive_;
  OnDirectory on_directory_;
  std::shared_ptr<Node> node_;
  std::string name_;
  u64 size_ = 0;
};

void add_entries(Tree& tree, ArchiveKind kind, const ArchiveInput& input, const std::string& name,
                 Spool& spool, OnDirectory on_directory, ReadArchives where) {
  TreeEntries entries(tree, spool, name, on_directory);
  (where == ReadArchives::kApart ? read_archive_apart : read_archive)(kind, input, name, entries);
  entries.finish();
}

void add_file(Tree& tree, ArchiveKind kind, const std::string& path, Spool& spool, OnDirectory on_directory,
              ReadArchives where) {
  const std::string name = path.empty() ? "standard input" : path;
  const File opened = path.empty() ? File() : File::open_read(path);
  const int fd = path.empty() ? STDIN_FILENO : opened.fd();
  const ArchiveInput input = [&](std::span<std::byte> bytes) {
    for (;;) {
      const ssize_t got = ::read(fd, bytes.data(), bytes.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw_errno("cannot read " + name);
      return static_cast<size_t>(got);
    }
  };
  add_entries(tree, kind, input, name, spool, on_directory, where);
}

}  // namespace

void add_layer(Tree& tree, u64 size, const std::function<void(u64, std::span<std::byte>)>& read,
               const std::string& name, const std::shared_ptr<Spool>& spool, ReadArchives where) {
  u64 done = 0;
  const ArchiveInput input = [&](std::span<std::byte> bytes) {
    const auto part = bytes.first(std::min<u64>(bytes.size(), size - done));
    if (!part.empty()) read(done, part);
    done += part.size();
    return part.size();
  };
  add_entries(tree, ArchiveKind::kTar, input, name, *spool, OnDirectory::kLayer, where);
}

void add_tar(Tree& tree, const std::string& path, const std::shared_ptr<Spool>& spool, ReadArchives where) {
  add_file(tree, ArchiveKind::kTar, path, *spool, OnDirectory::kReplace, where);
}

void add_deb(Tree& tree, const std::string& path, const std::shared_ptr<Spool>& spool) {
  add_file(tree, ArchiveKind::kDebianPackage, path, *spool, OnDirectory::kKeep, ReadArchives::kApart);
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
    if (!hides_a_name(name)) continue;
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

}  // namespace teacup::images
