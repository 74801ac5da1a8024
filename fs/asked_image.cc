// Problem: each question costs a trip to another process, 30 us and more, and a cold start asks thousands.
// Choice: ask for a directory at a time. The first look-up in one brings all its names with their inodes'
// attributes, link targets and first extents, in one trip for a few hundred entries, and what was brought is
// kept as long as the image: all that follows (stat, readlink, readdir, most reads of an ext4 image) is
// answered here. Content is read in place where the image is mapped and its extents are known, else fetched
// by ranges.
//
// Trust: the answers come from a process that parses hostile bytes, or from a host that changes its files:
// extents are checked against the mapped image each time they are followed, sizes are bounded, and a listing
// ends even if the answers would not.
//
// Locks: lock_ (kInodeChild), for the tables; none while asking.
#include "fs/asked_image.h"

#include <algorithm>
#include <bit>

#include "fs/dcache.h"
#include "fs/vfs_state.h"
#include "kernel/base/memory.h"

namespace teacup::fs {

namespace {
constexpr u64 kMaxEntries = 4 << 20;
constexpr u64 kMaxExtents = 1 << 20;
constexpr u64 kLargestRead = abi::kImporterMaxRead;  // in one trip
}  // namespace

Result<Ref<AskedImage>> AskedImage::open_importer(u32 slot, u32 number) {
  Ref<AskedImage> image = TRY(make_ref<AskedImage>(false, slot, number, false));
  TRY(image->start());
  Trip trip;
  TRY(image->ask(trip, abi::ImporterOp::kInfo, 0, 0, {}, Trip::kSmall));
  auto info = TRY(trip.structure<abi::ImporterInfo>());
  image->root_ = info.root;
  image->total_bytes_ = arena().images[slot].size;
  if (info.block_size > kPageSize && info.block_size <= kLargestRead && std::has_single_bit(info.block_size))
    image->together_ = info.block_size;
  image->mappable_ = info.extents_map != 0 && arena().images[slot].address != 0;
  return image;
}

Result<Ref<AskedImage>> AskedImage::open_host(u32 root, bool volume) {
  Ref<AskedImage> image = TRY(make_ref<AskedImage>(true, 0, root, volume));
  TRY(image->start());
  image->root_ = u64{root} + 1;
  return image;
}

Result<void> AskedImage::start() {
  PageRun run = TRY(allocate_run(kBuckets * sizeof(Node*) / kPageSize));
  nodes_ = reinterpret_cast<Node**>(run.address());
  return {};
}

AskedImage::~AskedImage() {
  if (nodes_ == nullptr) return;
  for (u64 i = 0; i < kBuckets; i++) {
    while (Node* node = nodes_[i]) {
      nodes_[i] = node->next;
      if (Listing* listing = node->listing.load(); listing != nullptr) destroy_listing(listing);
      teacup::destroy(node);
    }
  }
  release_run(PageRun{reinterpret_cast<u64>(nodes_) - kArenaBase, kBuckets * sizeof(Node*) / kPageSize});
}

Result<s64> AskedImage::ask(Trip& trip, abi::ImporterOp op, u64 inode, u64 cursor, std::string_view name,
                            size_t room) {
  if (host_) {
    abi::HostFileRequest request{};
    request.op = static_cast<abi::HostFileOp>(op);
    request.node = inode;
    request.cursor = cursor;
    return trip.ask_host(request, name, {}, room);
  }
  abi::ImporterRequest request{};
  request.op = op;
  request.image = number_;
  request.inode = inode;
  request.cursor = cursor;
  return trip.ask_importer(request, name, room);
}

// --- Nodes.

AskedImage::Node* AskedImage::find_locked(u64 id) {
  Node* node = nodes_[id * 0x9e3779b97f4a7c15 >> 52 & (kBuckets - 1)];
  while (node != nullptr && node->info.id != id) node = node->next;
  return node;
}

Result<AskedImage::Node*> AskedImage::remember(const abi::ImporterInode& inode, std::string_view target) {
  {
    LockGuard guard(lock_);
    if (Node* node = find_locked(inode.number); node != nullptr) return node;
  }
  ImageNode info = TRY(volume_ ? node_of(inode, vfs_state().volume_uid.load(), vfs_state().volume_gid.load())
                               : node_of(inode, 0, 0));
  Node* fresh = TRY(make<Node>());
  fresh->info = info;
  fresh->flags = inode.flags;
  u32 extents = std::min(inode.extent_count, abi::kImporterInlineExtents);
  auto text = HeapArray<char>::create(target.size());
  auto copies = HeapArray<abi::ImporterExtent>::create(extents);
  if (!text.ok() || !copies.ok()) {
    teacup::destroy(fresh);
    return Errno::NOMEM;
  }
  fresh->target = std::move(text).value();
  if (!target.empty()) memcpy(fresh->target.data(), target.data(), target.size());
  fresh->extents = std::move(copies).value();
  for (u32 i = 0; i < extents; i++) fresh->extents[i] = inode.extents[i];
  fresh->has_extents.store((inode.flags & abi::kExtentsComplete) != 0);
  LockGuard guard(lock_);
  if (Node* node = find_locked(inode.number); node != nullptr) {
    guard.unlock();
    teacup::destroy(fresh);
    return node;
  }
  Node*& bucket = nodes_[inode.number * 0x9e3779b97f4a7c15 >> 52 & (kBuckets - 1)];
  fresh->next = bucket;
  bucket = fresh;
  return fresh;
}

Result<AskedImage::Node*> AskedImage::find(u64 id) {
  {
    LockGuard guard(lock_);
    if (Node* node = find_locked(id); node != nullptr) return node;
  }
  Trip trip;
  TRY(ask(trip, abi::ImporterOp::kInode, id, 0, {}, Trip::kSmall));
  auto inode = TRY(trip.structure<abi::ImporterInode>());
  if (inode.number != id) return Errno::UCLEAN;
  return remember(inode, {});
}

Result<ImageNode> AskedImage::node(u64 id) {
  return TRY(find(id))->info;
}

void AskedImage::owner_known() {
  if (!volume_) return;
  LockGuard guard(lock_);
  Node* node = find_locked(root_);
  if (node == nullptr || (node->flags & abi::kOwnedByCaller) == 0) return;
  node->info.uid = vfs_state().volume_uid.load();
  node->info.gid = vfs_state().volume_gid.load();
}

// --- Directories.

void AskedImage::destroy_listing(Listing* listing) {
  for (u64 i = 0; i < listing->count; i++) heap_free(listing->names[i]);
  heap_free(listing->names);
  teacup::destroy(listing);
}

Result<void> AskedImage::add_names(Listing& listing, Trip& trip) {
  auto entries = trip.entries();
  while (const abi::ImporterEntry* entry = entries.next()) {
    std::string_view name = entry->name();
    if (name.empty() || name.size() > static_cast<size_t>(abi::kNAME_MAX) || name == "." || name == ".." ||
        name.find('/') != std::string_view::npos || name.find('\0') != std::string_view::npos) {
      continue;
    }
    // An inode that cannot be had is asked for again, and told, when somebody wants it.
    if (entry->error == 0) static_cast<void>(remember(entry->inode, entry->target()));
    if (listing.count == kMaxEntries) return Errno::UCLEAN;
    if (listing.count == listing.room) {
      u64 room = listing.room == 0 ? 32 : listing.room * 2;
      auto* larger = static_cast<Name**>(heap_allocate(room * sizeof(Name*)));
      if (larger == nullptr) return Errno::NOMEM;
      if (listing.count > 0) memcpy(larger, listing.names, listing.count * sizeof(Name*));
      heap_free(listing.names);
      listing.names = larger;
      listing.room = room;
    }
    auto* made = static_cast<Name*>(heap_allocate(sizeof(Name) + name.size()));
    if (made == nullptr) return Errno::NOMEM;
    made->id = entry->inode.number;
    made->hash = name_hash(name);
    made->type = static_cast<u8>(entry->inode.mode >> 12 & 15);
    made->length = static_cast<u8>(name.size());
    memcpy(made->text(), name.data(), name.size());
    listing.names[listing.count++] = made;
  }
  return {};
}

Result<AskedImage::Listing*> AskedImage::listing(u64 directory) {
  Node& node = *TRY(find(directory));
  if ((node.info.mode & abi::kS_IFMT) != abi::kS_IFDIR) return Errno::NOTDIR;
  if (Listing* there = node.listing.load(std::memory_order_acquire); there != nullptr) return there;
  Listing* fresh = TRY(make<Listing>());
  auto fill = [&]() -> Result<void> {
    u64 cursor = 0;
    for (u64 trips = 0; trips < kMaxEntries; trips++) {
      Trip trip;
      TRY(ask(trip, abi::ImporterOp::kReadDirectory, directory, cursor, {}, Trip::kLarge));
      TRY(add_names(*fresh, trip));
      cursor = trip.next();
      if (cursor == 0) break;
    }
    size_t buckets = std::bit_ceil(std::max<u64>(fresh->count, 1));
    fresh->buckets = TRY(HeapArray<Name*>::create(buckets));
    for (u64 i = 0; i < fresh->count; i++) {
      Name*& bucket = fresh->buckets[fresh->names[i]->hash & (buckets - 1)];
      fresh->names[i]->next = bucket;
      bucket = fresh->names[i];
    }
    return {};
  };
  if (auto filled = fill(); !filled.ok()) {
    destroy_listing(fresh);
    return filled.error();
  }
  Listing* expected = nullptr;
  if (node.listing.compare_exchange_strong(expected, fresh)) return fresh;
  destroy_listing(fresh);
  return expected;
}

Result<u64> AskedImage::lookup(u64 directory, std::string_view name) {
  Listing& names = *TRY(listing(directory));
  u32 hash = name_hash(name);
  for (Name* at = names.buckets[hash & (names.buckets.size() - 1)]; at != nullptr; at = at->next) {
    if (at->hash == hash && at->view() == name) return u64{at->id};
  }
  return Errno::NOENT;
}

Result<void> AskedImage::read_directory(u64 directory, ImageDirSink& sink, u64& cursor) {
  Listing& names = *TRY(listing(directory));
  for (; cursor < names.count; cursor++) {
    Name& name = *names.names[cursor];
    if (!sink.add(name.view(), name.id, name.type, cursor + 1)) return {};
  }
  return {};
}

Result<size_t> AskedImage::readlink(u64 id, std::span<char> into) {
  Node& node = *TRY(find(id));
  if (node.target.size() > 0) {
    size_t length = std::min(into.size(), node.target.size());
    memcpy(into.data(), node.target.data(), length);
    return length;
  }
  Trip trip;
  TRY(ask(trip, abi::ImporterOp::kReadLink, id, 0, {}, Trip::kSmall));
  auto text = trip.bytes();
  size_t length = std::min(into.size(), text.size());
  memcpy(into.data(), text.data(), length);
  return length;
}

// --- Content.

// All extents of a file, once; a file that has none to be known is left with none, and is fetched.
Result<void> AskedImage::load_extents(Node& node) {
  HeapArray<abi::ImporterExtent> all;
  size_t used = 0;
  u64 cursor = 0;
  for (;;) {
    Trip trip;
    TRY(ask(trip, abi::ImporterOp::kExtents, node.info.id, cursor, {}, Trip::kLarge));
    u32 count = trip.count();
    if (count > kMaxExtents || used + count > kMaxExtents) return Errno::UCLEAN;
    auto larger = TRY(HeapArray<abi::ImporterExtent>::create(used + count));
    if (used > 0) memcpy(larger.data(), all.data(), used * sizeof(abi::ImporterExtent));
    for (u32 i = 0; i < count; i++) larger[used + i] = TRY(trip.structure<abi::ImporterExtent>(i));
    all = std::move(larger);
    used += count;
    u64 next = trip.next();
    if (next <= cursor) break;
    cursor = next;
  }
  LockGuard guard(lock_);
  if (!node.has_extents.load()) {
    std::swap(node.extents, all);
    node.has_extents.store(true, std::memory_order_release);
  }
  return {};
}

Result<ImageSpan> AskedImage::data(u64 id, u64 offset) {
  Node& node = *TRY(find(id));
  u64 size = node.info.size;
  if (offset >= size) return Errno::INVAL;
  ImageSpan span;
  span.kind = ImageSpan::kFetch;
  span.length = size - offset;
  bool by_read = !mappable_ || (node.flags & abi::kDataByRead) != 0;
  if (by_read && (node.flags & abi::kHasHoles) == 0) return span;
  if (!node.has_extents.load(std::memory_order_acquire)) TRY(load_extents(node));
  const ImageSlot& slot = arena().images[slot_];
  // Extents come in order of file offset; the last that starts at or before `offset`.
  size_t low = 0;
  size_t high = node.extents.size();
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (node.extents[middle].file_offset <= offset) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  u64 next = low < node.extents.size() ? std::min(node.extents[low].file_offset, size) : size;
  if (low > 0) {
    const abi::ImporterExtent& extent = node.extents[low - 1];
    u64 inside = offset - extent.file_offset;
    if (inside < extent.length) {
      u64 length = std::min({extent.length - inside, size - offset, next > offset ? next - offset : size});
      span.length = length;
      if (by_read) return span;
      u64 at = extent.image_offset + inside;
      if (at < inside || at > slot.size || length > slot.size - at) return Errno::UCLEAN;
      span.kind = ImageSpan::kMapped;
      span.data = reinterpret_cast<const std::byte*>(slot.address + at);
      span.fd = static_cast<int>(slot.fd);
      span.host_offset = at;
      return span;
    }
  }
  span.kind = ImageSpan::kHole;
  span.length = next > offset ? next - offset : size - offset;
  return span;
}

u64 AskedImage::fetch_start(u64, u64 offset) {
  return together_ != 0 ? align_down(offset, together_) : offset;
}
u64 AskedImage::fetch_end(u64, u64 end) {
  return together_ != 0 ? align_up(end, together_) : end;
}

u64 AskedImage::data_end(u64 id, u64 offset) {
  auto span = data(id, offset);
  return span.ok() ? offset + span.value().length : ~u64{0};
}

abi::ImporterRequest AskedImage::read_request(u64 id, u64 offset, std::span<std::byte> into) const {
  abi::ImporterRequest request{};
  request.op = abi::ImporterOp::kRead;
  request.image = number_;
  request.inode = id;
  request.cursor = offset;
  request.length = std::min<u64>(into.size(), kLargestRead);
  request.data_offset = reinterpret_cast<u64>(into.data()) - kArenaBase;
  return request;
}

// The more the better, as much of a trip is waking: see layer_fetch.cc.
u64 AskedImage::window_ahead(u64) {
  return host_ ? 0 : kLargestRead;
}

bool AskedImage::start_fetch(u64 id, u64 offset, std::span<std::byte> into, Trip& trip) {
  return !host_ && into.size() <= kLargestRead && trip.start_importer(read_request(id, offset, into));
}

Result<size_t> AskedImage::fetch(u64 id, u64 offset, std::span<std::byte> into) {
  if (host_) {
    Trip trip;
    abi::HostFileRequest request{};
    request.op = abi::HostFileOp::kRead;
    request.node = id;
    request.cursor = offset;
    request.length = into.size();
    request.data_offset = reinterpret_cast<u64>(into.data()) - kArenaBase;
    s64 count = TRY(trip.ask_host(request, {}, {}, 64));
    return static_cast<size_t>(count);
  }
  size_t done = 0;
  while (done < into.size()) {
    Trip trip;
    abi::ImporterRequest request = read_request(id, offset + done, into.subspan(done));
    TRY(trip.ask_importer(request, {}, sizeof(abi::ImporterResponse)));
    size_t count = std::min<size_t>(trip.count(), request.length);
    if (count == 0) break;
    done += count;
  }
  return done;
}

// --- Extended attributes: asked for each time; few programs want them.

Result<size_t> AskedImage::get_xattr(u64 id, std::string_view name, std::span<std::byte> value) {
  Node& node = *TRY(find(id));
  if (host_ || (node.flags & abi::kImporterHasXattrs) == 0) return Errno::NODATA;
  Trip trip;
  TRY(ask(trip, abi::ImporterOp::kXattrs, id, 0, {}, Trip::kLarge));
  auto records = trip.xattrs();
  while (const abi::ImporterXattr* xattr = records.next()) {
    if (xattr->name() != name) continue;
    std::string_view found = xattr->value();
    if (value.empty()) return found.size();
    if (value.size() < found.size()) return Errno::RANGE;
    memcpy(value.data(), found.data(), found.size());
    return found.size();
  }
  return Errno::NODATA;
}

Result<size_t> AskedImage::list_xattrs(u64 id, std::span<char> names) {
  Node& node = *TRY(find(id));
  if (host_ || (node.flags & abi::kImporterHasXattrs) == 0) return size_t{0};
  Trip trip;
  TRY(ask(trip, abi::ImporterOp::kXattrs, id, 0, {}, Trip::kLarge));
  auto records = trip.xattrs();
  size_t total = 0;
  while (const abi::ImporterXattr* xattr = records.next()) {
    size_t size = xattr->name().size() + 1;
    if (!names.empty()) {
      if (total + size > names.size()) return Errno::RANGE;
      memcpy(names.data() + total, xattr->name().data(), size - 1);
      names[total + size - 1] = '\0';
    }
    total += size;
  }
  return total;
}

}  // namespace teacup::fs
