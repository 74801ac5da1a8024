// Problem: --layer stacks images, and the memory layer knows one image below it. Alternatives: a chain of
// memory layers (each with inodes, pages and tables of its own); merging all trees at the start (a second for
// each million names, before the first program runs). Choice: an image made of images. A node is its layer's,
// its number moved by a constant, so numbers are as stable as the images, and content, links, attributes and
// hard links are the layer's own answers. Only directories are merged, when they are first looked up: those
// that several layers have are noted with their parts, the uppermost first, under the uppermost's number; a
// look-up asks one part after another, and a listing shows what no part above has shown. All that changes (a
// merged directory renamed, a name removed) is the memory layer's business, for which a merged directory is a
// node like any other.
//
// What an upper layer takes away is marked in it as overlayfs does, since that is what tools write: a
// character device 0:0 in the place of a name ("whiteout"), and a directory with the attribute
// trusted.overlay.opaque or user.overlay.opaque "y" that hides those below it. The guest sees neither the
// devices nor the attributes.
//
// The links of a merged directory are two and its subdirectories, which are counted when it is first looked
// up: each part's are sought out until there are as many as its own link count says, and those that show are
// looked for in the parts above, so a directory of a million files costs nothing. Where a part cannot be read
// they are counted as if no subdirectory were in two layers (too many: with too few fts(3) would miss some).
//
// Locks: lock_ (kInodeChild) for the table of merged directories, which only grows; none while an image is
// asked.
#include "fs/image_stack.h"

#include <algorithm>

#include "kernel/base/memory.h"
#include "kernel/frame/pages.h"

namespace teacup::fs {

namespace {

// A cursor of a merged directory: the part, then the part's cursor.
constexpr u64 kPartShift = 52;
constexpr u64 kLongestNumber = u64{1} << 56;

bool is_whiteout(const ImageNode& node) {
  return (node.mode & abi::kS_IFMT) == abi::kS_IFCHR && node.rdev == 0;
}

bool is_directory(const ImageNode& node) {
  return (node.mode & abi::kS_IFMT) == abi::kS_IFDIR;
}

bool is_hidden_xattr(std::string_view name) {
  return name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.");
}

}  // namespace

class ImageStack::Parts {
 public:
  void add(const Part& part) { parts_[count_++] = part; }
  u32 count() const { return count_; }
  const Part& operator[](u32 i) const { return parts_[i]; }

 private:
  Part parts_[kMaxImages];
  u32 count_ = 0;
};

Result<Ref<ImageStack>> ImageStack::create(std::span<Ref<Image>> images) {
  Ref<ImageStack> stack = TRY(make_ref<ImageStack>());
  PageRun run = TRY(allocate_run(kBuckets * sizeof(Merged*) / kPageSize));
  stack->merged_ = reinterpret_cast<Merged**>(run.address());
  stack->layers_ = TRY(HeapArray<Layer>::create(images.size()));
  for (size_t i = 0; i < images.size(); i++) {
    u64 count = images[i]->node_limit();
    if (count > kLongestNumber || stack->limit_ + count > kLongestNumber) return Errno::UCLEAN;
    stack->layers_[i] = Layer{std::move(images[i]), stack->limit_};
    stack->limit_ += count;
  }
  Parts parts;
  bool more = true;
  for (u32 i = static_cast<u32>(images.size()); more && i-- > 0;) {
    ImageNode root = TRY(stack->layers_[i].image->root());
    if (!is_directory(root)) return Errno::UCLEAN;
    TRY(stack->add_directory(parts, {i, root.id}, more));
  }
  stack->root_ = TRY(stack->merge(parts));
  return stack;
}

ImageStack::~ImageStack() {
  for (Layer& layer : layers_) layer.image = nullptr;
  if (merged_ == nullptr) return;
  for (u64 i = 0; i < kBuckets; i++) {
    while (Merged* merged = merged_[i]) {
      merged_[i] = merged->next;
      heap_free(merged);
    }
  }
  release_run(PageRun{reinterpret_cast<u64>(merged_) - kArenaBase, kBuckets * sizeof(Merged*) / kPageSize});
}

// --- Nodes.

ImageStack::Part ImageStack::part_of(u64 id) const {
  u32 layer = static_cast<u32>(layers_.size() - 1);
  while (layer > 0 && layers_[layer].first > id) layer--;
  return {layer, id - layers_[layer].first};
}

ImageStack::Merged* ImageStack::find_merged(u64 id) {
  LockGuard guard(lock_);
  Merged* merged = bucket_of(id);
  while (merged != nullptr && merged->id != id) merged = merged->next;
  return merged;  // stays as long as the stack
}

void ImageStack::parts_of(u64 id, Parts& parts) {
  Merged* merged = find_merged(id);
  if (merged == nullptr) {
    parts.add(part_of(id));
    return;
  }
  for (u32 i = 0; i < merged->count; i++) parts.add(merged->parts()[i]);
}

Result<ImageNode> ImageStack::node(u64 id) {
  Part part = part_of(id);
  ImageNode node = TRY(image_of(part).node(part.node));
  node.id = id;
  if (is_directory(node)) {
    if (Merged* merged = find_merged(id); merged != nullptr) node.nlink = merged->links;
  }
  return node;
}

Result<bool> ImageStack::is_opaque(const Part& directory) const {
  for (std::string_view name : {"trusted.overlay.opaque", "user.overlay.opaque"}) {
    std::byte value[8];
    auto length = image_of(directory).get_xattr(directory.node, name, value);
    if (length.ok() && length.value() == 1 && value[0] == std::byte{'y'}) return true;
    if (!length.ok() && !length.is(Errno::NODATA) && !length.is(Errno::RANGE)) return length.error();
  }
  return false;
}

// `more`: whether those below it show through.
Result<void> ImageStack::add_directory(Parts& parts, const Part& directory, bool& more) const {
  parts.add(directory);
  more = directory.layer > 0 && !TRY(is_opaque(directory));
  return {};
}

// The number of the directory made of these parts, noted if there are several.
Result<u64> ImageStack::merge(const Parts& parts) {
  u64 id = id_of(parts[0]);
  if (parts.count() < 2 || find_merged(id) != nullptr) return id;
  u64 links = TRY(count_links(parts));
  auto* merged = static_cast<Merged*>(heap_allocate(sizeof(Merged) + parts.count() * sizeof(Part)));
  if (merged == nullptr) return Errno::NOMEM;
  merged->id = id;
  merged->count = parts.count();
  merged->links = static_cast<u32>(std::min<u64>(links, ~u32{0}));
  for (u32 i = 0; i < parts.count(); i++) merged->parts()[i] = parts[i];
  LockGuard guard(lock_);
  for (Merged* at = bucket_of(id); at != nullptr; at = at->next) {
    if (at->id != id) continue;
    guard.unlock();
    heap_free(merged);
    return id;
  }
  merged->next = bucket_of(id);
  bucket_of(id) = merged;
  return id;
}

// --- Directories.

Result<u64> ImageStack::lookup(u64 directory, std::string_view name) {
  Parts parts;
  parts_of(directory, parts);
  Parts found;
  bool more = true;
  for (u32 i = 0; more && i < parts.count(); i++) {
    Image& image = image_of(parts[i]);
    auto answer = image.lookup(parts[i].node, name);
    if (answer.is(Errno::NOENT)) continue;
    Part part{parts[i].layer, TRY(answer)};
    ImageNode node = TRY(image.node(part.node));
    if (is_whiteout(node)) break;
    if (!is_directory(node)) {
      if (found.count() == 0) return id_of(part);
      break;
    }
    TRY(add_directory(found, part, more));
  }
  if (found.count() == 0) return Errno::NOENT;
  return merge(found);
}

// Of one part: leaves out what the parts above it have, and whiteouts.
class ImageStack::MergeSink final : public ImageDirSink {
 public:
  MergeSink(ImageStack& stack, const Parts& parts, u32 part, ImageDirSink& sink)
      : stack_(stack), parts_(parts), part_(part), sink_(sink) {}

  bool add(std::string_view name, u64 node, u8 type, u64 next) override {
    if (error != Errno::OK) return false;
    auto shown = shows(name, node, type);
    if (!shown.ok()) {
      error = shown.error();
      return false;
    }
    if (!shown.value()) return true;
    Part part{parts_[part_].layer, node};
    stopped = !sink_.add(name, stack_.id_of(part), type, u64{part_} << kPartShift | next);
    return !stopped;
  }
  Errno error = Errno::OK;
  bool stopped = false;

 private:
  Result<bool> shows(std::string_view name, u64 node, u8 type) {
    constexpr u8 kUnknown = 0;
    constexpr u8 kCharDevice = 2;
    for (u32 i = 0; i < part_; i++) {
      auto above = stack_.image_of(parts_[i]).lookup(parts_[i].node, name);
      if (above.ok()) return false;
      if (!above.is(Errno::NOENT)) return above.error();
    }
    if (type != kCharDevice && type != kUnknown) return true;
    // A node that cannot be read is shown: whoever wants it is told.
    auto info = stack_.image_of(parts_[part_]).node(node);
    return !info.ok() || !is_whiteout(info.value());
  }

  ImageStack& stack_;
  const Parts& parts_;
  u32 part_;
  ImageDirSink& sink_;
};

// Counts the subdirectories of a part that show, up to the last that it has.
class ImageStack::CountSink final : public ImageDirSink {
 public:
  CountSink(ImageStack& stack, const Parts& parts, u32 part, u64 links)
      : shown_(stack, parts, part, nowhere_), left_(links >= 2 ? links - 2 : ~u64{0}) {}

  bool is_complete() const { return left_ == 0; }
  bool is_good() const { return shown_.error == Errno::OK; }
  u64 count() const { return nowhere_.count; }

  bool add(std::string_view name, u64 node, u8 type, u64 next) override {
    constexpr u8 kDirectory = 4;
    if (type != kDirectory) return true;
    left_--;
    return shown_.add(name, node, type, next) && left_ > 0;
  }

 private:
  struct Nowhere final : ImageDirSink {
    bool add(std::string_view, u64, u8, u64) override {
      count++;
      return true;
    }
    u64 count = 0;
  };
  Nowhere nowhere_;
  MergeSink shown_;
  u64 left_;
};

Result<u64> ImageStack::count_links(const Parts& parts) {
  u64 links = 2;
  for (u32 i = 0; i < parts.count(); i++) {
    Image& image = image_of(parts[i]);
    ImageNode node = TRY(image.node(parts[i].node));
    CountSink count(*this, parts, i, node.nlink);
    u64 cursor = 0;
    if (count.is_complete()) continue;
    bool read = image.read_directory(parts[i].node, count, cursor).ok();
    links += read && count.is_good() ? count.count() : node.nlink > 2 ? node.nlink - 2 : 0;
  }
  return links;
}

Result<void> ImageStack::read_directory(u64 directory, ImageDirSink& sink, u64& cursor) {
  Parts parts;
  parts_of(directory, parts);
  while (cursor >> kPartShift < parts.count()) {
    u64 part = cursor >> kPartShift;
    u64 inside = cursor & ((u64{1} << kPartShift) - 1);
    MergeSink merge(*this, parts, static_cast<u32>(part), sink);
    auto result = image_of(parts[static_cast<u32>(part)])
                      .read_directory(parts[static_cast<u32>(part)].node, merge, inside);
    cursor = part << kPartShift | inside;
    TRY(result);
    if (merge.error != Errno::OK) return merge.error;
    if (merge.stopped) return {};
    cursor = (part + 1) << kPartShift;
  }
  return {};
}

// --- The layers' own answers.

Result<ImageSpan> ImageStack::data(u64 node, u64 offset) {
  Part part = part_of(node);
  return image_of(part).data(part.node, offset);
}
Result<size_t> ImageStack::fetch(u64 node, u64 offset, std::span<std::byte> into) {
  Part part = part_of(node);
  return image_of(part).fetch(part.node, offset, into);
}
u64 ImageStack::window_ahead(u64 node) {
  Part part = part_of(node);
  return image_of(part).window_ahead(part.node);
}
bool ImageStack::start_fetch(u64 node, u64 offset, std::span<std::byte> into, Trip& trip) {
  Part part = part_of(node);
  return image_of(part).start_fetch(part.node, offset, into, trip);
}
u64 ImageStack::fetch_start(u64 node, u64 offset) {
  Part part = part_of(node);
  return image_of(part).fetch_start(part.node, offset);
}
u64 ImageStack::data_end(u64 node, u64 offset) {
  Part part = part_of(node);
  return image_of(part).data_end(part.node, offset);
}
u64 ImageStack::fetch_end(u64 node, u64 end) {
  Part part = part_of(node);
  return image_of(part).fetch_end(part.node, end);
}
bool ImageStack::answers_at_once() const {
  for (size_t i = 0; i < layers_.size(); i++) {
    if (!layers_[i].image->answers_at_once()) return false;
  }
  return true;
}
bool ImageStack::needs_fetch() const {
  for (size_t i = 0; i < layers_.size(); i++) {
    if (layers_[i].image->needs_fetch()) return true;
  }
  return false;
}
Result<size_t> ImageStack::readlink(u64 node, std::span<char> into) {
  Part part = part_of(node);
  return image_of(part).readlink(part.node, into);
}
u64 ImageStack::total_bytes() const {
  u64 total = 0;
  for (size_t i = 0; i < layers_.size(); i++) total += layers_[i].image->total_bytes();
  return total;
}

Result<size_t> ImageStack::get_xattr(u64 node, std::string_view name, std::span<std::byte> value) {
  if (is_hidden_xattr(name)) return Errno::NODATA;
  Part part = part_of(node);
  return image_of(part).get_xattr(part.node, name, value);
}

Result<size_t> ImageStack::list_xattrs(u64 node, std::span<char> names) {
  Part part = part_of(node);
  Image& image = image_of(part);
  size_t size = TRY(image.list_xattrs(part.node, {}));
  if (size == 0) return size;
  HeapArray<char> all = TRY(HeapArray<char>::create(size));
  size = TRY(image.list_xattrs(part.node, {all.data(), all.size()}));
  size_t total = 0;
  for (size_t at = 0; at < size;) {
    std::string_view name(all.data() + at);
    at += name.size() + 1;
    if (is_hidden_xattr(name)) continue;
    if (!names.empty()) {
      if (name.size() + 1 > names.size() - total) return Errno::RANGE;
      memcpy(names.data() + total, name.data(), name.size() + 1);
    }
    total += name.size() + 1;
  }
  return total;
}

}  // namespace teacup::fs
