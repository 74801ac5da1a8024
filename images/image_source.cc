#include "images/image_source.h"

#include <sys/stat.h>

#include <algorithm>
#include <unordered_map>

#include "images/error.h"

namespace teacup::images {

namespace {

// Zeros of this size and more become holes: formats that decode do not say where theirs were.
constexpr u64 kHoleSize = 64 * KiB;
constexpr u64 kReadSize = 1 * MiB;
constexpr const char* kOpaque[] = {"trusted.overlay.opaque", "user.overlay.opaque"};

class ImageFileStore : public Store {
 public:
  explicit ImageFileStore(std::string path) : path_(std::move(path)) {}
  std::shared_ptr<const File> open() override {
    if (file_ == nullptr) file_ = std::make_shared<File>(File::open_read(path_));
    return file_;
  }
  const std::string& name() const override { return path_; }

 private:
  std::string path_;
  std::shared_ptr<const File> file_;
};

class Source {
 public:
  Source(Tree& tree, ImageReader& reader, const std::shared_ptr<Spool>& spool)
      : tree_(tree),
        reader_(reader),
        spool_(spool),
        store_(std::make_shared<ImageFileStore>(reader.file())),
        is_layer_(!tree.root().children.empty()) {}

  void add() {
    const u64 root = reader_.root();
    insert("/", *make_node(root), root);
    std::vector<std::pair<std::string, u64>> todo{{"", root}};
    while (!todo.empty()) {
      const auto [path, directory] = std::move(todo.back());
      todo.pop_back();
      for (const ImageEntry& entry : reader_.list(directory)) {
        const std::string child = path + "/" + entry.name;
        const std::shared_ptr<Node> node = node_of(entry.number);
        if (is_layer_ && is_whiteout(*node)) {
          tree_.remove(child);
          continue;
        }
        if (!node->is_directory()) {
          tree_.insert(child, node, OnDirectory::kLayer);
          continue;
        }
        // An image that is damaged could have a directory in itself.
        if (!directories_.try_emplace(entry.number, child).second) {
          throw Error("directory " + child + " of " + reader_.file() + " is in the image twice");
        }
        insert(child, *node, entry.number);
        todo.emplace_back(child, entry.number);
      }
    }
  }

 private:
  static bool is_whiteout(const Node& node) {
    return node.type == NodeType::kCharDevice && node.device_major == 0 && node.device_minor == 0;
  }

  void insert(const std::string& path, const Node& directory, u64) {
    auto node = std::make_shared<Node>(directory);
    if (is_layer_) {
      for (const char* name : kOpaque) {
        const auto found = node->xattrs.find(name);
        if (found == node->xattrs.end() || found->second != "y") continue;
        node->xattrs.erase(found);
        if (const auto below = tree_.find(path); below != nullptr && below->is_directory())
          below->children.clear();
      }
    }
    tree_.insert(path, std::move(node), OnDirectory::kLayer);
  }

  // The same node for all names of a file.
  std::shared_ptr<Node> node_of(u64 number) {
    std::shared_ptr<Node>& known = nodes_[number];
    if (known == nullptr || known->is_directory()) known = make_node(number);
    return known;
  }

  std::shared_ptr<Node> make_node(u64 number) {
    const ImageStat status = reader_.stat(number);
    auto node = std::make_shared<Node>();
    node->type = node_type(status.mode);
    node->permissions = status.mode & 07777;
    node->uid = status.uid;
    node->gid = status.gid;
    node->mtime = status.mtime;
    node->mtime_nsec = status.mtime_nsec;
    node->device_major = status.device_major;
    node->device_minor = status.device_minor;
    for (auto& [name, value] : reader_.xattrs(number)) node->xattrs.emplace(name, value);
    if (node->type == NodeType::kSymlink) node->target = reader_.link_target(number);
    if (node->type == NodeType::kRegular && status.size > 0) fill(node->content, number, status.size);
    return node;
  }

  void fill(Content& content, u64 number, u64 size) {
    const std::vector<ImagePiece> pieces = reader_.pieces(number);
    const bool in_place =
        std::all_of(pieces.begin(), pieces.end(), [](const auto& p) { return p.image_offset; });
    if (in_place) {
      content.store = store_;
      for (const ImagePiece& piece : pieces) {
        content.pieces.push_back({piece.offset, piece.length, *piece.image_offset});
      }
    } else {
      for (const ImagePiece& piece : pieces) decode(content, number, piece);
    }
    content.size = size;
  }

  static u64 end_of(const Content& content) {
    return content.pieces.empty() ? 0 : content.pieces.back().offset + content.pieces.back().length;
  }

  void decode(Content& content, u64 number, const ImagePiece& piece) {
    static constexpr std::byte kZeros[4096] = {};
    const auto is_zero = [](std::span<const std::byte> bytes) {
      for (; !bytes.empty(); bytes = bytes.subspan(std::min(bytes.size(), sizeof kZeros))) {
        const auto part = bytes.first(std::min(bytes.size(), sizeof kZeros));
        if (!std::equal(part.begin(), part.end(), kZeros)) return false;
      }
      return true;
    };
    const u64 end = piece.offset + piece.length;
    for (u64 at = piece.offset; at < end;) {
      buffer_.resize(std::min(end, align_up(at + 1, kReadSize)) - at);
      reader_.read_at(number, at, buffer_);
      // Parts between the places where a hole may begin.
      for (u64 from = at; from < at + buffer_.size();) {
        const u64 to = std::min(at + buffer_.size(), align_up(from + 1, kHoleSize));
        const auto part = std::span(buffer_).subspan(from - at, to - from);
        const bool goes_on = from > piece.offset && end_of(content) < from;  // a hole
        if ((part.size() < kHoleSize && !goes_on) || !is_zero(part)) spool_->append(content, from, part);
        from = to;
      }
      at += buffer_.size();
    }
  }

  Tree& tree_;
  ImageReader& reader_;
  const std::shared_ptr<Spool>& spool_;
  std::shared_ptr<ImageFileStore> store_;
  bool is_layer_;  // there is something below
  std::unordered_map<u64, std::shared_ptr<Node>> nodes_;
  std::unordered_map<u64, std::string> directories_;
  std::vector<std::byte> buffer_;
};

}  // namespace

void add_image(Tree& tree, ImageReader& reader, const std::shared_ptr<Spool>& spool) {
  Source(tree, reader, spool).add();
}

}  // namespace teacup::images
