// Two walks go on at once: over the image's directories, for what was changed in place (that is known by the
// inode's number, so every directory is looked at, but no file), and over the layer's own entries.
#include "images/upper_source.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "fs/image_stack.h"
#include "fs/layer_fs.h"
#include "host/hosted/hosted_kernel.h"
#include "host/launch/error.h"
#include "images/error.h"
#include "images/image_cache.h"
#include "images/image_reader.h"
#include "images/image_source.h"
#include "images/probe.h"

namespace teacup::images {

namespace {

constexpr u64 kReadSize = 1 * MiB;
constexpr u64 kHoleSize = 64 * KiB;
constexpr const char* kOpaque = "trusted.overlay.opaque";

struct Entry {
  Ref<fs::Inode> inode;  // null: gone
  bool covers = false;
};

// One change, with what it leads to.
struct Item {
  char kind;
  std::string path;
  Ref<fs::Inode> inode;  // null: gone
  bool opaque = false;   // a directory that hides what the image has there
};

class Source final : public UpperSource {
 public:
  explicit Source(std::unique_ptr<host::UpperFile> file, std::vector<std::string> paths)
      : file_(std::move(file)), paths_(std::move(paths)) {}
  ~Source() override {
    items_.clear();
    if (layer_) layer_->unmounted();
    layer_ = nullptr;
  }

  void start();
  const std::string& dropped() const override { return file_->dropped(); }
  const std::vector<std::string>& images() const override { return paths_; }
  std::vector<UpperChange> changes() override;
  void add_changes(Tree& tree, const std::shared_ptr<Spool>& spool) override;
  void add_all(Tree& tree, const std::shared_ptr<Spool>& spool) override;

 private:
  template <typename T>
  T checked(Result<T>&& result, const std::string& path) const {
    if (result.ok()) return std::move(result).value();
    throw Error("cannot read " + path + ": " + std::strerror(static_cast<int>(result.error())));
  }
  std::map<std::string, Entry> own_entries(fs::LayerDirectory& directory) const;
  std::map<std::string, u64> image_entries(fs::LayerDirectory& directory, const std::string& path) const;
  std::vector<std::string> names(fs::Inode& directory, const std::string& path) const;
  void enter(const fs::Inode& directory, const std::string& path);
  void walk(fs::LayerDirectory& directory, const std::string& path, std::vector<Item>& items);
  void walk_added(const Ref<fs::Inode>& inode, const std::string& path, std::vector<Item>& items);
  bool in_place(const fs::LayerInode& inode, fs::LayerDirectory& directory, const std::string& name) const;
  const std::vector<Item>& items();
  std::shared_ptr<Node> node_of(fs::Inode& inode, const std::string& path, Spool& spool);
  void read_content(fs::Inode& inode, const std::string& path, Content& content, Spool& spool) const;
  void read_xattrs(fs::Inode& inode, const std::string& path, Node& node) const;

  std::unique_ptr<host::UpperFile> file_;
  std::vector<std::string> paths_;
  std::vector<std::unique_ptr<host::HostedImage>> hosted_;
  Ref<fs::LayerFs> layer_;
  std::set<u64> entered_;
  bool walked_ = false;
  std::vector<Item> items_;
  std::unordered_map<u64, std::shared_ptr<Node>> nodes_;
};

abi::ImageKind kind_of(const std::string& path) {
  return probe(path) == Kind::kErofs ? abi::ImageKind::kErofs : abi::ImageKind::kImporter;
}

// A machine makes these at its start, whatever the image has.
bool is_machines_own(const std::string& path) {
  return path == "/etc/hosts" || path == "/etc/hostname" || path == "/etc/resolv.conf";
}
bool is_machines_own_if_empty(const std::string& path) {
  return path == "/proc" || path == "/sys" || path == "/dev" || path == "/tmp" || path == "/etc";
}

void Source::start() {
  host::HostedKernel& kernel = host::HostedKernel::get();
  std::vector<Ref<fs::Image>> images;
  for (const std::string& path : paths_) {
    hosted_.push_back(kernel.open(path, kind_of(path)));
    images.push_back(hosted_.back()->image());
  }
  Ref<fs::Image> image = images[0];
  if (images.size() > 1) image = checked(fs::ImageStack::create(images), "the images' root directory");
  layer_ = checked(fs::LayerFs::create("overlay", 0, std::move(image)), "the image's root directory");
  kernel.set_upper(file_.get());
  const auto kept = layer_->keep_upper();
  kernel.set_upper(nullptr);
  if (!kept.ok()) {
    throw Error("what the file says makes no sense, or does not fit into memory: " +
                std::string(std::strerror(static_cast<int>(kept.error()))));
  }
}

// --- The walk.

std::map<std::string, Entry> Source::own_entries(fs::LayerDirectory& directory) const {
  std::map<std::string, Entry> found;
  directory.visit_own(
      [](void* into, std::string_view name, fs::Inode* inode, bool covers) {
        Entry entry{inode != nullptr ? Ref<fs::Inode>::share(inode) : Ref<fs::Inode>(), covers};
        static_cast<std::map<std::string, Entry>*>(into)->emplace(name, std::move(entry));
      },
      &found);
  return found;
}

std::map<std::string, u64> Source::image_entries(fs::LayerDirectory& directory,
                                                 const std::string& path) const {
  struct Sink final : fs::ImageDirSink {
    bool add(std::string_view name, u64 id, u8, u64) override {
      found.emplace(name, id);
      return true;
    }
    std::map<std::string, u64> found;
  } sink;
  u64 cursor = 0;
  const auto read = layer_->image()->read_directory(directory.below(), sink, cursor);
  if (!read.ok()) throw Error("cannot read " + path + ": " + std::strerror(static_cast<int>(read.error())));
  return std::move(sink.found);
}

std::vector<std::string> Source::names(fs::Inode& directory, const std::string& path) const {
  struct Sink final : fs::DirSink {
    bool add(std::string_view name, u64, u8, u64) override {
      found.emplace_back(name);
      return true;
    }
    std::vector<std::string> found;
  } sink;
  u64 position = 2;
  const auto read = directory.read_directory(sink, position);
  if (!read.ok()) throw Error("cannot read " + path + ": " + std::strerror(static_cast<int>(read.error())));
  std::sort(sink.found.begin(), sink.found.end());
  return std::move(sink.found);
}

// What the file says could have a directory in itself.
void Source::enter(const fs::Inode& directory, const std::string& path) {
  if (entered_.insert(directory.ino).second) return;
  throw Error("the directory " + path + " is in the file twice");
}

// Whether the entry says no more than the image does.
bool Source::in_place(const fs::LayerInode& inode, fs::LayerDirectory& directory,
                      const std::string& name) const {
  if (!inode.has_below() || !directory.has_below()) return false;
  const auto found = layer_->image()->lookup(directory.below(), name);
  return found.ok() && found.value() == inode.below();
}

void Source::walk(fs::LayerDirectory& directory, const std::string& path, std::vector<Item>& items) {
  enter(directory, path);
  const std::map<std::string, Entry> own = own_entries(directory);
  std::map<std::string, Ref<fs::Inode>> same;  // names that stand for what they stand for in the image
  std::vector<Item> found;
  for (const auto& [name, entry] : own) {
    const std::string child = path + "/" + name;
    if (!entry.inode) {
      found.push_back({'D', child, {}});
    } else if (in_place(static_cast<fs::LayerInode&>(*entry.inode), directory, name)) {
      same.emplace(name, entry.inode);
    } else {
      const size_t first = found.size();
      walk_added(entry.inode, child, found);
      if (first == found.size() || !entry.covers) continue;
      found[first].kind = 'C';
      found[first].opaque = entry.inode->is_directory();
    }
  }
  for (const auto& [name, id] : image_entries(directory, path)) {
    if (own.contains(name)) continue;
    Ref<fs::LayerInode> changed = layer_->changed_inode_of(id);
    Ref<fs::Inode> inode = changed;
    if (!inode) {
      const fs::ImageNode node = checked(layer_->image()->node(id), path + "/" + name);
      if ((node.mode & abi::kS_IFMT) != abi::kS_IFDIR) continue;
      inode = checked(layer_->inode_of(id), path + "/" + name);
    }
    same.emplace(name, std::move(inode));
  }
  for (const auto& [name, inode] : same) {
    const std::string child = path + "/" + name;
    auto& layer_inode = static_cast<fs::LayerInode&>(*inode);
    if (!inode->is_directory()) {
      if (layer_inode.differs() && !is_machines_own(child)) found.push_back({'C', child, inode});
      continue;
    }
    std::vector<Item> inside;
    walk(static_cast<fs::LayerDirectory&>(*inode), child, inside);
    const bool differs = layer_inode.differs() && checked(layer_inode.attributes_differ(), child);
    if (inside.empty() && (!differs || is_machines_own_if_empty(child))) continue;
    found.push_back({'C', child, inode});
    found.insert(found.end(), std::make_move_iterator(inside.begin()), std::make_move_iterator(inside.end()));
  }
  items.insert(items.end(), std::make_move_iterator(found.begin()), std::make_move_iterator(found.end()));
}

// What was not there, with all that is in it.
void Source::walk_added(const Ref<fs::Inode>& inode, const std::string& path, std::vector<Item>& items) {
  if (is_machines_own(path)) return;
  if (!inode->is_directory()) {
    items.push_back({'A', path, inode});
    return;
  }
  enter(*inode, path);
  std::vector<Item> inside;
  for (const std::string& name : names(*inode, path)) {
    const std::string child = path + "/" + name;
    walk_added(checked(inode->lookup(name), child), child, inside);
  }
  if (inside.empty() && is_machines_own_if_empty(path)) return;
  items.push_back({'A', path, inode});
  items.insert(items.end(), std::make_move_iterator(inside.begin()), std::make_move_iterator(inside.end()));
}

const std::vector<Item>& Source::items() {
  if (!walked_) {
    walk(static_cast<fs::LayerDirectory&>(*checked(layer_->root(), "/")), "", items_);
    // Components in byte order, which '/' before all other bytes gives.
    const auto key = [](std::string path) {
      std::replace(path.begin(), path.end(), '/', '\0');
      return path;
    };
    std::stable_sort(items_.begin(), items_.end(),
                     [&](const Item& a, const Item& b) { return key(a.path) < key(b.path); });
    walked_ = true;
  }
  return items_;
}

std::vector<UpperChange> Source::changes() {
  std::vector<UpperChange> found;
  for (const Item& item : items()) found.push_back({item.kind, item.path});
  return found;
}

// --- Trees.

std::shared_ptr<Node> Source::node_of(fs::Inode& inode, const std::string& path, Spool& spool) {
  std::shared_ptr<Node>& known = nodes_[inode.ino];
  if (known != nullptr && !inode.is_directory()) return known;
  auto node = std::make_shared<Node>();
  node->type = node_type(inode.mode);
  node->permissions = static_cast<u16>(inode.mode & 07777);
  node->uid = inode.uid;
  node->gid = inode.gid;
  node->mtime = inode.mtime.tv_sec;
  node->mtime_nsec = static_cast<u32>(inode.mtime.tv_nsec);
  node->device_major = fs::device_major(inode.rdev);
  node->device_minor = fs::device_minor(inode.rdev);
  read_xattrs(inode, path, *node);
  if (inode.is_symlink()) {
    char target[4096];
    node->target.assign(target, checked(inode.readlink(target), path));
  }
  if (inode.is_regular()) read_content(inode, path, node->content, spool);
  return known = std::move(node);
}

void Source::read_content(fs::Inode& inode, const std::string& path, Content& content, Spool& spool) const {
  const u64 size = inode.size.load();
  std::vector<std::byte> buffer(kReadSize);
  for (u64 at = 0; at < size;) {
    auto data = inode.seek_data(at, false);
    if (data.is(Errno::NXIO)) break;
    at = checked(std::move(data), path) / kPageSize * kPageSize;
    IoDest dest(std::span(buffer.data(), std::min<u64>(kReadSize, size - at)));
    const size_t count = checked(inode.read(dest, at), path);
    if (count == 0) throw Error("cannot read " + path + ": it ends early");
    // Zeros in whole blocks become holes again.
    for (size_t from = 0; from < count; from += kHoleSize) {
      const std::span<const std::byte> block(buffer.data() + from, std::min<size_t>(kHoleSize, count - from));
      const bool zero =
          std::all_of(block.begin(), block.end(), [](std::byte b) { return b == std::byte{0}; });
      if (!zero) spool.append(content, at + from, block);
    }
    at += count;
  }
  content.size = size;
}

void Source::read_xattrs(fs::Inode& inode, const std::string& path, Node& node) const {
  auto size = inode.list_xattrs({});
  if (size.is(Errno::NOTSUP)) return;
  std::vector<char> all(checked(std::move(size), path));
  if (all.empty()) return;
  all.resize(checked(inode.list_xattrs(all), path));
  for (size_t at = 0; at < all.size();) {
    const std::string_view name(all.data() + at);
    at += name.size() + 1;
    std::string value(abi::kXATTR_SIZE_MAX, '\0');
    value.resize(checked(inode.get_xattr(name, std::as_writable_bytes(std::span(value))), path));
    node.xattrs[std::string(name)] = std::move(value);
  }
}

void Source::add_changes(Tree& tree, const std::shared_ptr<Spool>& spool) {
  nodes_.clear();
  const Ref<fs::Inode> root = checked(layer_->root(), "/");
  tree.insert("/", node_of(*root, "/", *spool), OnDirectory::kLayer);
  for (const Item& item : items()) {
    if (!item.inode) {
      auto whiteout = std::make_shared<Node>();
      whiteout->type = NodeType::kCharDevice;
      whiteout->permissions = 0;
      tree.insert(item.path, std::move(whiteout), OnDirectory::kLayer);
      continue;
    }
    const auto node = node_of(*item.inode, item.path, *spool);
    if (item.opaque) node->xattrs[kOpaque] = "y";
    tree.insert(item.path, node, OnDirectory::kLayer);
  }
}

void Source::add_all(Tree& tree, const std::shared_ptr<Spool>& spool) {
  nodes_.clear();
  for (const std::string& path : paths_) add_image(tree, *ImageReader::open(path), spool);
  // Two names of a file of the image are one node in the tree; what is changed in place keeps both.
  const Ref<fs::Inode> root = checked(layer_->root(), "/");
  tree.insert("/", node_of(*root, "/", *spool), OnDirectory::kLayer);
  for (const Item& item : items()) {
    if (!item.inode || item.opaque) tree.remove(item.path);
    if (item.inode) tree.insert(item.path, node_of(*item.inode, item.path, *spool), OnDirectory::kLayer);
  }
}

}  // namespace

std::unique_ptr<UpperSource> UpperSource::open(const std::string& path, std::vector<std::string> images) {
  try {
    auto file = host::UpperFile::open_read(path);
    const std::vector<host::UpperLayer> layers = file->layers();
    for (size_t i = 0; images.size() < layers.size() && i < layers.size(); i++)
      images.push_back(layers[i].path);
    if (images.size() != layers.size() || layers.empty()) {
      throw Error(path + " was made over " + std::to_string(layers.size()) + " images, not " +
                  std::to_string(images.size()));
    }
    for (size_t i = 0; i < layers.size(); i++) {
      images[i] = i == 0 ? prepare_image(images[i], "").path : prepare_layer(images[i], "");
      if (file_digest(images[i]) == layers[i].digest) continue;
      throw Error(images[i] + " is not the image that " + path + " was made over: that had sha256:" +
                  layers[i].digest + "\n  Name the images that it was made over: IMAGE... before the file");
    }
    auto source = std::make_unique<Source>(std::move(file), std::move(images));
    source->start();
    return source;
  } catch (const host::LaunchError& error) {
    throw Error(error.what());
  } catch (const host::HostedError& error) {
    throw Error(error.what());
  }
}

}  // namespace teacup::images
