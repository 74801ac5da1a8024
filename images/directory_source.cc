#include "images/directory_source.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <map>

#include "images/error.h"

namespace teacup::images {

namespace {

class HostFile : public Store {
 public:
  explicit HostFile(std::string path) : path_(std::move(path)) {}
  std::shared_ptr<const File> open() override { return std::make_shared<File>(File::open_read(path_)); }
  const std::string& name() const override { return path_; }

 private:
  std::string path_;
};

// The data ranges of a file, as far as the host's file system tells them (lseek(2), SEEK_DATA).
void find_pieces(const std::string& path, Content& content) {
  content.store = std::make_shared<HostFile>(path);
  const std::shared_ptr<const File> file = content.store->open();
  off_t at = 0;
  const auto size = static_cast<off_t>(content.size);
  while (at < size) {
    off_t data = ::lseek(file->fd(), at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // hole to the end
    off_t hole = data < 0 ? -1 : ::lseek(file->fd(), data, SEEK_HOLE);
    if (data < 0 || hole < 0) {
      data = at;
      hole = size;
    }
    data = std::min(data, size);
    hole = std::min(hole, size);
    if (hole > data) {
      content.pieces.push_back(
          {static_cast<u64>(data), static_cast<u64>(hole - data), static_cast<u64>(data)});
    }
    at = hole;
  }
}

std::string read_link(const std::string& path, size_t size_hint) {
  std::string target(size_hint + 1, '\0');
  for (;;) {
    const ssize_t got = ::readlink(path.c_str(), target.data(), target.size());
    if (got < 0) throw_errno("cannot read symlink " + path);
    if (static_cast<size_t>(got) < target.size()) {
      target.resize(static_cast<size_t>(got));
      return target;
    }
    target.resize(target.size() * 2);
  }
}

void read_xattrs(const std::string& path, Node& node) {
  std::vector<char> names(64 * KiB);
  const ssize_t length = ::llistxattr(path.c_str(), names.data(), names.size());
  if (length < 0 && (errno == ENOTSUP || errno == EACCES || errno == EPERM)) return;
  if (length < 0) throw_errno("cannot list extended attributes of " + path);
  std::vector<char> value(64 * KiB);
  for (const char* name = names.data(); name < names.data() + length; name += std::strlen(name) + 1) {
    const ssize_t size = ::lgetxattr(path.c_str(), name, value.data(), value.size());
    if (size < 0) throw_errno("cannot read extended attribute " + std::string(name) + " of " + path);
    node.xattrs[name] = std::string(value.data(), static_cast<size_t>(size));
  }
}

class Walker {
 public:
  Walker(Tree& tree, const DirectoryOptions& options, dev_t device)
      : tree_(tree), options_(options), device_(device) {}

  std::shared_ptr<Node> make_node(const std::string& path, const struct stat& st) const {
    auto node = std::make_shared<Node>();
    node->type = node_type(st.st_mode);
    node->permissions = st.st_mode & 07777;
    node->uid = options_.root_owned ? 0 : st.st_uid;
    node->gid = options_.root_owned ? 0 : st.st_gid;
    node->mtime = st.st_mtim.tv_sec;
    node->mtime_nsec = static_cast<u32>(st.st_mtim.tv_nsec);
    node->device_major = major(st.st_rdev);
    node->device_minor = minor(st.st_rdev);
    read_xattrs(path, *node);
    if (node->type == NodeType::kRegular) {
      node->content.size = static_cast<u64>(st.st_size);
      if (st.st_size > 0) find_pieces(path, node->content);
    } else if (node->type == NodeType::kSymlink) {
      node->target = read_link(path, static_cast<size_t>(st.st_size));
    }
    return node;
  }

  // An own stack: a tree may be deeper than ours.
  void walk(const std::string& top) {
    std::vector<std::pair<std::string, std::shared_ptr<Node>>> todo{{top, tree_.find("/")}};
    while (!todo.empty()) {
      auto [path, directory] = std::move(todo.back());
      todo.pop_back();
      for (std::string& name : names_in(path)) {
        const std::string child_path = path + "/" + name;
        std::shared_ptr<Node> child = visit(child_path);
        if (child == nullptr) continue;
        if (child->is_directory() && !mount_point_) todo.emplace_back(child_path, child);
        directory->children[std::move(name)] = std::move(child);
      }
    }
  }

 private:
  static std::vector<std::string> names_in(const std::string& path) {
    DIR* directory = ::opendir(path.c_str());
    if (directory == nullptr) throw_errno("cannot list " + path);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(directory)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    const int error = errno;
    ::closedir(directory);
    errno = error;
    if (error != 0) throw_errno("cannot list " + path);
    return names;
  }

  // Null when it went away since it was listed.
  std::shared_ptr<Node> visit(const std::string& path) {
    struct stat st;
    mount_point_ = false;
    if (::lstat(path.c_str(), &st) != 0) {
      if (errno == ENOENT) return nullptr;
      throw_errno("cannot stat " + path);
    }
    mount_point_ = S_ISDIR(st.st_mode) && st.st_dev != device_;
    if (S_ISDIR(st.st_mode) || st.st_nlink < 2) return make_node(path, st);
    std::shared_ptr<Node>& known = by_inode_[{st.st_dev, st.st_ino}];
    if (known == nullptr) known = make_node(path, st);
    return known;
  }

  Tree& tree_;
  const DirectoryOptions& options_;
  dev_t device_;
  bool mount_point_ = false;  // of what visit() saw last
  std::map<std::pair<dev_t, ino_t>, std::shared_ptr<Node>> by_inode_;
};

}  // namespace

void add_directory(Tree& tree, const std::string& path, const DirectoryOptions& options) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) throw_errno("cannot read " + path);
  if (!S_ISDIR(st.st_mode)) throw Error(path + " is not a directory");
  Walker walker(tree, options, st.st_dev);
  tree.insert("/", walker.make_node(path, st));
  walker.walk(path);
}

}  // namespace teacup::images
