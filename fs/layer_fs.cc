// Problem: the guest sees a read-only image as a file system it can write to. Alternatives: a union of two
// file systems, as overlayfs has it, with inodes in each, copy-up of whole files, and marks in the upper one
// for what was renamed or removed below (redirects, opaque directories; a file's identity changes as it is
// copied). Choice: one file system, whose inodes live in memory and may have a node below that says what they
// were born as. So attributes are always the inode's own (changing them copies nothing); content is looked up
// page by page, in memory, then below; a directory's entries are looked up in its table, then below; renaming
// anything, a directory of the image too, moves an entry in tables; hard links of the image are one inode,
// found by its node's number; and inode numbers never change. An inode that does not differ from its node is
// only a cache entry and goes when nobody uses it; one that differs is pinned until its last name goes.
//
// Locks: tree_lock (kInodeParent) for directory tables and link counts of what they name, then an inode's own
// (kInode) for attributes; nodes_lock (kInodeChild) for the table of inodes by node. No lock is held while
// the image is asked, and references are dropped after all locks.
#include "fs/layer_fs.h"

#include "fs/journal.h"
#include "fs/layer_regular.h"
#include "fs/vfs_state.h"
#include "kernel/base/memory.h"

namespace teacup::fs {

Result<Ref<LayerFs>> LayerFs::create(const char* type, u32 magic, Ref<Image> image, u32 root_mode) {
  Ref<LayerFs> layer = TRY(make_ref<LayerFs>(type, magic, std::move(image)));
  if (layer->image_) {
    PageRun run = TRY(allocate_run(kNodesPages));
    layer->nodes_ = reinterpret_cast<Chain*>(run.address());
    if (layer->image_->answers_at_once()) {
      PageRun looks = TRY(allocate_run(kLooksPages));
      layer->looks_ = reinterpret_cast<std::atomic<u64>*>(looks.address());
    }
    layer->next_ino_.store(layer->image_->node_limit());
    ImageNode root = TRY(layer->image_->root());
    layer->root_ = TRY(layer->inode_of(root.id));
  } else {
    NewNode node;
    node.mode = abi::kS_IFDIR | (root_mode & 07777);
    layer->root_ = TRY(layer->make_inode(node));
    layer->root_->nlink = 2;
  }
  // The root holds its file system, and this holds the root: a layer that is unmounted is told (umount).
  return layer;
}

LayerFs::LayerFs(const char* type, u32 magic, Ref<Image> image)
    : FileSystem(type, magic), image_(std::move(image)) {}

LayerFs::~LayerFs() {
  teacup::destroy(journal_);
  if (nodes_ != nullptr) release_run(PageRun{reinterpret_cast<u64>(nodes_) - kArenaBase, kNodesPages});
  if (looks_ != nullptr) release_run(PageRun{reinterpret_cast<u64>(looks_) - kArenaBase, kLooksPages});
}

Result<void> LayerFs::statfs(abi::Statfs& statfs) {
  TRY(FileSystem::statfs(statfs));
  u64 below = image_ ? (image_->total_bytes() + kPageSize - 1) / kPageSize : 0;
  // What a write could take (PageBudget::take): of the machine's, and of this file system's own.
  u64 limit = limit_pages() - spare_pages();
  u64 used = committed_pages() + heap_in_use() / kPageSize;
  u64 left = used < limit ? limit - used : 0;
  if (budget_.limit != ~u64{0}) {
    limit = budget_.limit;
    u64 own = budget_.used.load();
    left = std::min(left, own < limit ? limit - own : 0);
  }
  statfs.blocks = limit + below;
  statfs.bfree = statfs.bavail = left;
  statfs.files = limit * 4;
  u64 count = inodes.load();
  statfs.ffree = count < statfs.files ? statfs.files - count : 0;
  return {};
}

Result<Ref<LayerInode>> LayerFs::make_from(const ImageNode& node) {
  switch (node.mode & abi::kS_IFMT) {
    case abi::kS_IFREG:
      return Ref<LayerInode>(TRY(make_ref<LayerRegular>(*this, node)));
    case abi::kS_IFDIR:
      return Ref<LayerInode>(TRY(make_ref<LayerDirectory>(*this, node)));
    case abi::kS_IFLNK:
      return Ref<LayerInode>(TRY(make_ref<LayerSymlink>(*this, node)));
    case abi::kS_IFCHR:
    case abi::kS_IFBLK:
    case abi::kS_IFIFO:
    case abi::kS_IFSOCK:
      return make_ref<LayerInode>(*this, node);
    default:
      return Errno::UCLEAN;
  }
}

// As Dcache::grow_locked(). Who looks without the lock may miss what is being moved.
void LayerFs::grow_nodes_locked() {
  u64 count = bucket_count_.load(std::memory_order_relaxed);
  bucket_count_.store(4 * count, std::memory_order_relaxed);
  for (u64 i = 0; i < count; i++) {
    LayerInode* at = nodes_[i].first();
    nodes_[i].pop(nullptr);
    while (at != nullptr) {
      LayerInode* next = at->next_;
      Chain& chain = bucket(at->ino);
      at->next_ = chain.first();
      chain.push(*at, kind_of(at->ino));
      at = next;
    }
  }
}

Result<Ref<Inode>> LayerFs::inode_of(u64 node) {
  auto find_locked = [&]() -> LayerInode* {
    for (LayerInode* at = bucket(node).first_of(kind_of(node)); at != nullptr; at = at->next_) {
      if (at->ino == node && at->try_ref()) return at;
    }
    return nullptr;
  };
  // Mostly it is new; if it is not, though it seems so, it is found below.
  if (bucket(node).first_of(kind_of(node)) != nullptr) {
    LockGuard guard(nodes_lock_);
    if (LayerInode* found = find_locked(); found != nullptr) return Ref<Inode>::adopt(found);
  }
  ImageNode info = TRY(image_->node(node));
  Ref<LayerInode> fresh = TRY(make_from(info));
  LayerInode* found;
  {
    LockGuard guard(nodes_lock_);
    found = find_locked();
    if (found == nullptr) {
      Chain& chain = bucket(node);
      fresh->next_ = chain.first();
      chain.push(*fresh, kind_of(node));
      u64 buckets = bucket_count_.load(std::memory_order_relaxed);
      if (++node_count_ > buckets && buckets < kMostBuckets) grow_nodes_locked();
      return Ref<Inode>(std::move(fresh));
    }
  }
  return Ref<Inode>::adopt(found);
}

bool LayerFs::may_peek(u64 node) {
  if (looks_ == nullptr) return false;
  std::atomic<u64>& word = looks_[node % kLooks / 32];
  u64 shift = node % 32 * 2;
  u64 looks = word.load(std::memory_order_relaxed);
  if ((looks >> shift & 3) == kPeeks) return false;
  // Who counts another at the same time may undo this.
  word.store(looks + (u64{1} << shift), std::memory_order_relaxed);
  LockGuard guard(nodes_lock_);
  for (LayerInode* at = bucket(node).first_of(kind_of(node)); at != nullptr; at = at->next_) {
    if (at->ino == node) return false;
  }
  return true;
}

Ref<LayerInode> LayerFs::changed_inode_of(u64 node) {
  LockGuard guard(nodes_lock_);
  for (LayerInode* at = bucket(node).first_of(kind_of(node)); at != nullptr; at = at->next_) {
    if (at->ino == node && at->pinned_.load() && at->try_ref()) return Ref<LayerInode>::adopt(at);
  }
  return nullptr;
}

void LayerFs::forget(LayerInode& inode) {
  LockGuard guard(nodes_lock_);
  Chain& chain = bucket(inode.ino);
  if (chain.first() == &inode) {
    chain.pop(inode.next_);
    node_count_--;
    return;
  }
  for (LayerInode* at = chain.first(); at != nullptr; at = at->next_) {
    if (at->next_ != &inode) continue;
    at->next_ = inode.next_;
    node_count_--;
    return;
  }
}

// A directory's table holds its inodes, and these hold the file system: the circle is cut at its root.
void LayerFs::unmounted() {
  Ref<Inode> root = std::move(root_);
  root_ = nullptr;
}

// Before, what the caller owns was shown as root's.
void LayerFs::volume_owner_known() {
  if (!image_ || !root_) return;
  image_->owner_known();
  auto node = image_->root();
  if (!node.ok()) return;
  LockGuard guard(root_->lock);
  root_->uid = node.value().uid;
  root_->gid = node.value().gid;
}

// Not one inside the other: a tree is deeper than a kernel stack. What a deleted directory held comes here
// too, and is taken by the loop that is running.
void LayerFs::doom(LayerInode& inode) {
  Ref<LayerFs> keep = Ref<LayerFs>::share(this);
  {
    LockGuard guard(nodes_lock_);
    inode.next_ = doomed_;
    doomed_ = &inode;
    if (is_dooming_) return;
    is_dooming_ = true;
  }
  for (;;) {
    LayerInode* next;
    {
      LockGuard guard(nodes_lock_);
      next = doomed_;
      if (next == nullptr) {
        is_dooming_ = false;
        return;
      }
      doomed_ = next->next_;
    }
    delete next;
  }
}

Result<void> LayerFs::sync() {
  return journal_ != nullptr ? journal_->sync(true) : Result<void>();
}

Result<Ref<LayerInode>> LayerFs::make_inode(const NewNode& node) {
  return make_inode(next_ino(), node);
}

Result<Ref<LayerInode>> LayerFs::make_inode(u64 ino, const NewNode& node) {
  Ref<LayerInode> inode;
  switch (node.mode & abi::kS_IFMT) {
    case abi::kS_IFREG:
      inode = TRY(make_ref<LayerRegular>(*this, ino, node.mode));
      break;
    case abi::kS_IFDIR:
      inode = TRY(make_ref<LayerDirectory>(*this, ino, node.mode));
      inode->nlink = 2;
      break;
    case abi::kS_IFLNK: {
      Ref<LayerSymlink> link = TRY(make_ref<LayerSymlink>(*this, ino, node.mode));
      TRY(link->set_target(node.target));
      inode = std::move(link);
      break;
    }
    default:
      inode = TRY(make_ref<LayerInode>(*this, ino, node.mode));
      inode->rdev = static_cast<u32>(node.rdev);
  }
  inode->uid = node.uid;
  inode->gid = node.gid;
  inode->atime = inode->mtime = inode->ctime = inode->btime = timestamp_now();
  return inode;
}

LayerInode::LayerInode(LayerFs& layer, u64 ino_, u32 mode_) : Inode(layer, ino_, mode_), own_xattrs_(true) {
  layer.inodes.fetch_add(1, std::memory_order_relaxed);
}

LayerInode::LayerInode(LayerFs& layer, const ImageNode& node)
    : Inode(layer, node.id, node.mode), has_below_(true), own_xattrs_(false) {
  uid = node.uid;
  gid = node.gid;
  nlink = node.nlink;
  rdev = static_cast<u32>(node.rdev);
  size.store(node.size);
  atime = mtime = ctime = btime = node.mtime;
  layer.inodes.fetch_add(1, std::memory_order_relaxed);
}

LayerFs& LayerInode::layer() const {
  return static_cast<LayerFs&>(file_system());
}

void LayerInode::pin() {
  if (nlink == 0) return;
  if (Journal* journal = layer().journal(); journal != nullptr) journal->mark(*this);
  if (has_below() && !pinned_.exchange(true)) ref();
}

u32 LayerInode::unpin() {
  u32 references = pinned_.exchange(false) ? 1 : 0;
  if (Journal* journal = layer().journal(); journal != nullptr) references += journal->forget(*this);
  return references;
}

// All that the layer has: what one call made durable, others may rely on.
Result<void> LayerInode::sync() {
  return layer().sync();
}

void LayerInode::last_reference() {
  layer().inodes.fetch_sub(1, std::memory_order_relaxed);
  if (has_below()) layer().forget(*this);
  delete this;
}

Result<void> LayerInode::set_attributes(const AttributeChange& change) {
  {
    LockGuard guard(lock);
    pin();
  }
  return Inode::set_attributes(change);
}

Result<bool> LayerInode::attributes_differ() {
  if (!has_below()) return true;
  ImageNode node = TRY(layer().image()->node(below()));
  LockGuard guard(lock);
  return xattrs_changed_ || node.mode != mode || node.uid != uid || node.gid != gid;
}

Result<size_t> LayerInode::get_xattr(std::string_view name, std::span<std::byte> value) {
  if (!own_xattrs_.load(std::memory_order_acquire)) return layer().image()->get_xattr(below(), name, value);
  LockGuard guard(lock);
  return xattrs_.get(name, value);
}

Result<size_t> LayerInode::list_xattrs(std::span<char> names) {
  if (!own_xattrs_.load(std::memory_order_acquire)) return layer().image()->list_xattrs(below(), names);
  LockGuard guard(lock);
  return xattrs_.list(names);
}

// Copies the image's attributes up, once. Two at once copy the same.
Result<void> LayerInode::own_xattrs() {
  if (own_xattrs_.load(std::memory_order_acquire)) return {};
  Image& image = *layer().image();
  size_t size = TRY(image.list_xattrs(below(), {}));
  HeapArray<char> names = TRY(HeapArray<char>::create(size));
  HeapArray<std::byte> value = TRY(HeapArray<std::byte>::create(abi::kXATTR_SIZE_MAX));
  if (size > 0) size = TRY(image.list_xattrs(below(), {names.data(), names.size()}));
  size_t at = 0;
  while (at < size) {
    std::string_view name(names.data() + at);
    at += name.size() + 1;
    size_t length = TRY(image.get_xattr(below(), name, {value.data(), value.size()}));
    LockGuard guard(lock);
    if (own_xattrs_.load()) return {};
    TRY(xattrs_.set(name, {value.data(), length}, 0));
  }
  LockGuard guard(lock);
  pin();
  own_xattrs_.store(true, std::memory_order_release);
  return {};
}

Result<void> LayerInode::set_xattr(std::string_view name, std::span<const std::byte> value, u32 flags) {
  TRY(own_xattrs());
  LockGuard guard(lock);
  TRY(xattrs_.set(name, value, flags));
  xattrs_changed_ = true;
  pin();
  touch_ctime();
  return {};
}

Result<void> LayerInode::remove_xattr(std::string_view name) {
  TRY(own_xattrs());
  LockGuard guard(lock);
  TRY(xattrs_.remove(name));
  xattrs_changed_ = true;
  pin();
  touch_ctime();
  return {};
}

Result<void> LayerSymlink::set_target(std::string_view target) {
  auto text = TRY(HeapArray<char>::create(target.size()));
  memcpy(text.data(), target.data(), target.size());
  size.store(target.size());
  target_.store(text.release(), std::memory_order_release);
  return {};
}

Result<size_t> LayerSymlink::readlink(std::span<char> into) {
  size_t length = size.load(std::memory_order_relaxed);
  char* target = target_.load(std::memory_order_acquire);
  if (target == nullptr && length > 0) {
    // Read once, and kept: links lie on the way of many paths.
    auto text = TRY(HeapArray<char>::create(length));
    if (TRY(layer().image()->readlink(below(), {text.data(), length})) < length)
      return layer().image()->readlink(below(), into);
    if (target_.compare_exchange_strong(target, text.data())) target = text.release();
  }
  length = std::min(into.size(), length);
  if (length > 0) memcpy(into.data(), target, length);
  return length;
}

Result<void> check_still_there(const ImageSpan& span, u64 length) {
  u32 image = static_cast<u32>(span.fd - kFirstImageFd);
  if (span.kind == ImageSpan::kMapped && image < arena().image_count &&
      arena().images_lost[image].covers(span.host_offset, length)) {
    return Errno::IO;
  }
  return {};
}

// What an image format does not do.
Result<size_t> Image::fetch(u64, u64, std::span<std::byte>) {
  return Errno::IO;
}
Result<size_t> Image::get_xattr(u64, std::string_view, std::span<std::byte>) {
  return Errno::NODATA;
}
Result<size_t> Image::list_xattrs(u64, std::span<char>) {
  return size_t{0};
}

}  // namespace teacup::fs
