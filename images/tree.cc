#include "images/tree.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "images/error.h"

namespace teacup::images {

NodeType node_type(u32 mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return NodeType::kDirectory;
    case S_IFLNK:
      return NodeType::kSymlink;
    case S_IFCHR:
      return NodeType::kCharDevice;
    case S_IFBLK:
      return NodeType::kBlockDevice;
    case S_IFIFO:
      return NodeType::kFifo;
    case S_IFSOCK:
      return NodeType::kSocket;
    default:
      return NodeType::kRegular;
  }
}

namespace {

constexpr int kMaxSymlinks = 40;  // as path_resolution(7)

std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> names;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (!name.empty() && name != ".") names.emplace_back(name);
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
  }
  return names;
}

std::vector<std::string> split_checked(std::string_view path) {
  std::vector<std::string> names = split(path);
  for (const std::string& name : names) {
    if (name == "..") throw Error("path " + std::string(path) + " leaves the tree by '..': refused");
    if (name.size() > 255) throw Error("path " + std::string(path) + " has a name longer than 255 bytes");
  }
  return names;
}

}  // namespace

u16 Node::mode() const {
  static constexpr u16 kTypeBits[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK};
  return static_cast<u16>(kTypeBits[static_cast<size_t>(type)] | permissions);
}

void Content::read(const File& file, u64 offset, std::span<std::byte> bytes) const {
  std::memset(bytes.data(), 0, bytes.size());
  const u64 end = offset + bytes.size();
  auto piece = std::upper_bound(pieces.begin(), pieces.end(), offset,
                                [](u64 at, const Piece& p) { return at < p.offset + p.length; });
  for (; piece != pieces.end() && piece->offset < end; ++piece) {
    const u64 from = std::max(offset, piece->offset);
    const u64 to = std::min(end, piece->offset + piece->length);
    file.read_at(bytes.subspan(from - offset, to - from), piece->store_offset + (from - piece->offset),
                 store->name());
  }
}

std::shared_ptr<Node> make_directory(u16 permissions) {
  auto node = std::make_shared<Node>();
  node->type = NodeType::kDirectory;
  node->permissions = permissions;
  return node;
}

std::shared_ptr<Node> make_symlink(std::string target) {
  auto node = std::make_shared<Node>();
  node->type = NodeType::kSymlink;
  node->permissions = 0777;
  node->target = std::move(target);
  return node;
}

Tree::Tree() : root_(make_directory()) {}

std::shared_ptr<Node> Tree::directory_at(std::vector<std::string> names, Missing missing,
                                         std::string_view path) const {
  std::vector<std::shared_ptr<Node>> trail{root_};
  std::reverse(names.begin(), names.end());  // the next name to walk is at the back
  int symlinks = 0;
  while (!names.empty()) {
    const std::string name = std::move(names.back());
    names.pop_back();
    if (name == "..") {  // only out of a symlink's target
      if (trail.size() > 1) trail.pop_back();
      continue;
    }
    auto& children = trail.back()->children;
    const auto found = children.find(name);
    if (found == children.end()) {
      if (missing == Missing::kNull) return nullptr;
      trail.push_back(children.emplace(name, make_directory()).first->second);
    } else if (found->second->is_directory()) {
      trail.push_back(found->second);
    } else if (found->second->type == NodeType::kSymlink) {
      const std::string& target = found->second->target;
      if (++symlinks > kMaxSymlinks)
        throw Error("path " + std::string(path) + " goes through a symlink loop");
      if (target.starts_with('/')) trail.resize(1);
      std::vector<std::string> further = split(target);
      names.insert(names.end(), std::make_move_iterator(further.rbegin()),
                   std::make_move_iterator(further.rend()));
    } else {
      throw Error("path " + std::string(path) + " goes through '" + name + "', which is not a directory");
    }
  }
  return trail.back();
}

void Tree::insert(std::string_view path, std::shared_ptr<Node> node, OnDirectory on_directory) {
  std::vector<std::string> names = split_checked(path);
  const auto take_metadata = [&](Node& old) {
    if (on_directory == OnDirectory::kKeep) return;
    node->children.swap(old.children);
    old = std::move(*node);
  };
  if (names.empty()) {
    if (!node->is_directory()) throw Error("the root of a tree can only be a directory");
    take_metadata(*root_);
    return;
  }
  const std::string name = std::move(names.back());
  names.pop_back();
  const std::shared_ptr<Node> parent = directory_at(names, Missing::kMake, path);
  const auto old = parent->children.find(name);
  if (old != parent->children.end() && node->is_directory()) {
    if (old->second->is_directory()) return take_metadata(*old->second);
    if (old->second->type == NodeType::kSymlink && on_directory != OnDirectory::kLayer) {
      names.push_back(name);
      if (directory_at(names, Missing::kNull, path) != nullptr) return;
    }
  }
  parent->children[name] = std::move(node);
}

void Tree::link(std::string_view path, std::string_view target) {
  std::shared_ptr<Node> node = find(target);
  if (node == nullptr) {
    throw Error("hard link " + std::string(path) + " to " + std::string(target) + ", which is not there");
  }
  if (node->is_directory()) throw Error("hard link " + std::string(path) + " to a directory: refused");
  insert(path, std::move(node));
}

std::shared_ptr<Node> Tree::find(std::string_view path) const {
  std::vector<std::string> names = split_checked(path);
  if (names.empty()) return root_;
  const std::string name = std::move(names.back());
  names.pop_back();
  const std::shared_ptr<Node> parent = directory_at(std::move(names), Missing::kNull, path);
  if (parent == nullptr) return nullptr;
  const auto found = parent->children.find(name);
  return found == parent->children.end() ? nullptr : found->second;
}

bool Tree::remove(std::string_view path) {
  std::vector<std::string> names = split_checked(path);
  if (names.empty()) return false;
  const std::string name = std::move(names.back());
  names.pop_back();
  const std::shared_ptr<Node> parent = directory_at(std::move(names), Missing::kNull, path);
  return parent != nullptr && parent->children.erase(name) > 0;
}

void Tree::clamp_times(s64 latest) {
  const auto clamp = [latest](Node& node) {
    if (node.mtime < latest || (node.mtime == latest && node.mtime_nsec == 0)) return;
    node.mtime = latest;
    node.mtime_nsec = 0;
  };
  clamp(*root_);
  walk([&](const std::string&, const std::shared_ptr<Node>& node) { clamp(*node); });
}

void Spool::append(Content& content, u64 offset, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  if (content.store == nullptr) content.store = shared_from_this();
  if (!content.pieces.empty() && offset < content.pieces.back().offset + content.pieces.back().length) {
    throw Error("file data out of order or overlapping in the archive");
  }
  file_->write_at(bytes, end_, name_);
  Content::Piece* last = content.pieces.empty() ? nullptr : &content.pieces.back();
  if (last != nullptr && last->offset + last->length == offset && last->store_offset + last->length == end_) {
    last->length += bytes.size();
  } else {
    content.pieces.push_back({offset, bytes.size(), end_});
  }
  end_ += bytes.size();
  content.size = std::max(content.size, offset + bytes.size());
  if (on_append) on_append(end_);
}

}  // namespace teacup::images
