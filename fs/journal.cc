// Problem: the memory layer has to be there again in the next run, up to the last fsync before whatever ended
// this one. Alternatives: a log of operations with their data (a file written twice is logged twice, and in
// between is read back by nobody); writing the whole layer at each fsync; a file system in the file, with
// blocks to allocate (its own crashes, its own fsck). Choice: state, not operations, but for names. An inode
// that changes is put on a list once, its pages are marked; names are noted as they change, in order, since a
// rename is two that belong together. fsync takes both at one moment, under the tree lock, and writes each
// inode as it is by then: attributes, changed pages, then the names. All of that counts from the commit
// record on, or not at all. So the file is always the layer of one moment, as to names and what was written
// before; what is written to a file while it is being written out may be there too, which nobody had been
// promised.
//
// Each fsync writes all that has changed, not just its file: rename over a file that was not synced is the
// mistake that programs make, and it costs them nothing here. Calls that come while one is writing wait, and
// share the next.
//
// A page that is mapped shared and writable changes without being seen: such pages count as changed at each
// sync, until nobody maps them.
//
// What could not be noted for want of memory, or be written for want of space on the host, is not lost: the
// next sync writes the whole layer into a new file, which then takes the old one's place. So it does when the
// file has become much larger than the layer.
//
// Locks: sync_lock_ (kJournal) over trips to the broker; the tree lock (kInodeParent) for names, list_lock_
// (kJournalList) for the list of inodes, taken under an inode's or the tree's.
#include "fs/journal.h"

#include <algorithm>

#include "fs/layer_regular.h"
#include "kernel/abi/ring.h"
#include "kernel/base/memory.h"
#include "kernel/sync/doorbell.h"

namespace teacup::fs {

namespace {

constexpr u64 kMuch = 1 * MiB;  // of names that wait
constexpr u64 kChunk = 32 * KiB;
constexpr u64 kPagesAtOnce = 15;  // of a data item
constexpr u64 kSlack = 64 * MiB;  // a file may be twice the layer, and this

constexpr size_t padded(size_t size) {
  return (size + 7) & ~size_t{7};
}

bool is_zero(const std::byte* data, size_t size) {
  const auto* words = reinterpret_cast<const u64*>(data);
  for (size_t i = 0; i < size / sizeof(u64); i++) {
    if (words[i] != 0) return false;
  }
  return true;
}

Result<u64> ask(abi::UpperOp op, u64 offset = 0, u64 length = 0) {
  s64 result = ring_call(abi::RingOp::kUpper, static_cast<u64>(op), offset, length, 0, 0, 0);
  if (result >= 0) return static_cast<u64>(result);
  return result < -133 ? Errno::IO : static_cast<Errno>(-result);
}

}  // namespace

// Items on their way to the broker, a record at a time.
class Journal::Writer {
 public:
  explicit Writer(PageRun buffer) : buffer_(buffer) {}

  // An item and up to two pieces behind it.
  template <typename Item>
  Result<void> add(Item item, abi::UpperItemType type, std::span<const std::byte> a = {},
                   std::span<const std::byte> b = {}) {
    size_t size = padded(sizeof item + a.size() + b.size());
    item.head = {type, static_cast<u32>(size)};
    std::byte* at = TRY(room(size));
    memcpy(at, &item, sizeof item);
    if (!a.empty()) memcpy(at + sizeof item, a.data(), a.size());
    if (!b.empty()) memcpy(at + sizeof item + a.size(), b.data(), b.size());
    size_t used = sizeof item + a.size() + b.size();
    memset(at + used, 0, size - used);
    return {};
  }
  // Items that are items already.
  Result<void> add(std::span<const std::byte> items) {
    memcpy(TRY(room(items.size())), items.data(), items.size());
    return {};
  }
  Result<void> flush() {
    if (used_ == 0) return {};
    TRY(ask(abi::UpperOp::kAppend, buffer_.offset, std::exchange(used_, 0)));
    return {};
  }

 private:
  Result<std::byte*> room(size_t size) {
    if (used_ + size > abi::kUpperRecordSize) TRY(flush());
    auto* at = reinterpret_cast<std::byte*>(buffer_.address() + used_);
    used_ += size;
    return at;
  }

  PageRun buffer_;
  u64 used_ = 0;
};

Journal::~Journal() {
  release(changes_);
  drop_chunks();
  if (!buffer_.empty()) release_run(buffer_);
}

Result<void> Journal::start() {
  buffer_ = TRY(allocate_run(abi::kUpperRecordSize / kPageSize));
  return {};
}

// --- What changes.

void Journal::mark(LayerInode& inode) {
  if (replaying_) return;
  LockGuard guard(list_lock_);
  mark_locked(inode);
}

void Journal::mark_locked(LayerInode& inode) {
  if (inode.change_ != nullptr) return;
  auto made = make<Change>();
  if (!made.ok()) {
    lost_.store(true);
    return;
  }
  inode.ref();
  made.value()->inode = &inode;
  inode.change_ = made.value();
  changes_.push_back(*made.value());
}

u32 Journal::forget(LayerInode& inode) {
  if (replaying_) return 0;
  Change* change;
  {
    LockGuard guard(list_lock_);
    change = std::exchange(inode.change_, nullptr);
    if (change != nullptr) Changes::remove(*change);
  }
  if (inode.in_upper_) {
    auto* item = reinterpret_cast<abi::UpperMark*>(room(sizeof(abi::UpperMark)));
    if (item != nullptr) *item = {{abi::UpperItemType::kGone, sizeof *item}, inode.ino};
  }
  if (change == nullptr) return 0;
  destroy(change);
  return 1;
}

// Under the tree lock. Null, and noted, where there is no memory.
std::byte* Journal::room(size_t size) {
  if (last_ == nullptr || last_->room - last_->used < size) {
    auto* chunk = static_cast<Chunk*>(heap_allocate(kChunk));
    if (chunk == nullptr) {
      lost_.store(true);
      return nullptr;
    }
    chunk->room = kChunk - sizeof(Chunk);
    (last_ != nullptr ? last_->next : first_) = chunk;
    last_ = chunk;
  }
  std::byte* at = last_->bytes() + last_->used;
  last_->used += static_cast<u32>(size);
  pending_.fetch_add(size, std::memory_order_relaxed);
  return at;
}

void Journal::entry(const LayerDirectory& directory, std::string_view name, const LayerInode* inode,
                    bool covers) {
  if (replaying_) return;
  size_t size = padded(sizeof(abi::UpperEntry) + name.size());
  std::byte* at = room(size);
  if (at == nullptr) return;
  auto* item = reinterpret_cast<abi::UpperEntry*>(at);
  *item = {{abi::UpperItemType::kEntry, static_cast<u32>(size)},
           directory.ino,
           inode != nullptr ? inode->ino : 0,
           covers ? 1u : 0u,
           static_cast<u32>(name.size())};
  memcpy(item + 1, name.data(), name.size());
}

void Journal::drop_chunks() {
  while (Chunk* chunk = first_) {
    first_ = chunk->next;
    heap_free(chunk);
  }
  last_ = nullptr;
  pending_.store(0);
}

// --- One moment.

// The whole layer, as if nothing were in the file: under the tree lock. False: no memory.
bool Journal::take_all() {
  {
    LockGuard nodes(layer_.nodes_lock_);
    for (u64 i = 0; i < layer_.bucket_count_; i++) {
      for (LayerInode* inode = layer_.nodes_[i].first(); inode != nullptr; inode = inode->next_) {
        if (!inode->pinned_.load() || inode->nlink == 0) continue;
        LockGuard guard(list_lock_);
        mark_locked(*inode);
      }
    }
  }
  drop_chunks();
  // The list grows as it is gone through, by what the directories hold.
  Change* at;
  {
    LockGuard guard(list_lock_);
    at = changes_.front();
  }
  while (at != nullptr) {
    if (at->inode->is_directory()) {
      auto& directory = static_cast<LayerDirectory&>(*at->inode);
      if (directory.table() != nullptr)
        directory.table()->visit([&](DirTable::Entry& found) {
          auto* inode = static_cast<LayerInode*>(found.inode);
          entry(directory, found.name(), inode, found.covers);
          if (inode == nullptr || inode->nlink == 0) return;
          LockGuard guard(list_lock_);
          mark_locked(*inode);
        });
    }
    LockGuard guard(list_lock_);
    at = changes_.after(*at);
  }
  return !lost_.load();
}

// NOSPC: not all could be noted, and what is taken is not to be written.
Result<void> Journal::splice(Changes& changes, Chunk*& chunks, bool& whole) {
  LockGuard tree(layer_.tree_lock());
  whole = lost_.exchange(false);
  if (whole && !take_all()) {
    lost_.store(true);
    return Errno::NOSPC;
  }
  LockGuard guard(list_lock_);
  while (Change* change = changes_.pop_front()) {
    change->links = change->inode->nlink;
    change->inode->change_ = nullptr;
    change->inode->in_upper_ |= change->links > 0;
    changes.push_back(*change);
  }
  chunks = std::exchange(first_, nullptr);
  last_ = nullptr;
  pending_.store(0);
  return {};
}

void Journal::release(Changes& changes) {
  while (Change* change = changes.pop_front()) {
    LayerInode* inode = change->inode;
    destroy(change);
    inode->unref();
  }
}

// --- Writing.

Result<void> Journal::write_inode(Writer& writer, Change& change, bool whole) {
  LayerInode& inode = *change.inode;
  if (change.links == 0) return {};
  abi::UpperInode item{};
  {
    LockGuard guard(inode.lock);
    item.ino = inode.ino;
    item.mode = inode.mode;
    item.uid = inode.uid;
    item.gid = inode.gid;
    item.links = change.links;
    item.rdev = inode.rdev;
    item.size = inode.size.load();
    const abi::Timespec times[] = {inode.atime, inode.mtime, inode.ctime, inode.btime};
    for (int i = 0; i < 4; i++) {
      item.times[i * 2] = times[i].tv_sec;
      item.times[i * 2 + 1] = times[i].tv_nsec;
    }
    item.flags = inode.has_below() ? u32{abi::kUpperHasBelow} : 0;
    if (inode.own_xattrs_.load() && inode.xattrs_changed_) item.flags |= abi::kUpperOwnXattrs;
    if (inode.is_regular()) item.below_end = static_cast<LayerRegular&>(inode).below_end();
  }
  std::span<const std::byte> target;
  if (inode.is_symlink() && !inode.has_below()) {
    auto& link = static_cast<LayerSymlink&>(inode);
    target = std::as_bytes(std::span<const char>(link.target_.load(), link.size.load()));
  }
  item.target_length = static_cast<u32>(target.size());
  TRY(writer.add(item, abi::UpperItemType::kInode, target));
  if ((item.flags & abi::kUpperOwnXattrs) != 0) TRY(write_xattrs(writer, inode));
  if (inode.is_regular()) TRY(write_content(writer, static_cast<LayerRegular&>(inode), whole));
  return {};
}

Result<void> Journal::write_xattrs(Writer& writer, LayerInode& inode) {
  TRY(writer.add(abi::UpperMark{{}, inode.ino}, abi::UpperItemType::kXattrs));
  size_t size = TRY(inode.list_xattrs({}));
  if (size == 0) return {};
  auto names = TRY(HeapArray<char>::create(size + abi::kXATTR_SIZE_MAX));
  auto value = TRY(HeapArray<std::byte>::create(abi::kXATTR_SIZE_MAX));
  // Whatever came since fits mostly; if not, its own change is on the list again.
  auto listed = inode.list_xattrs({names.data(), names.size()});
  size = listed.ok() ? listed.value() : 0;
  for (size_t at = 0; at < size;) {
    std::string_view name(names.data() + at);
    at += name.size() + 1;
    auto length = inode.get_xattr(name, {value.data(), value.size()});
    if (!length.ok()) continue;
    abi::UpperXattr item{{}, inode.ino, static_cast<u32>(name.size()), static_cast<u32>(length.value())};
    TRY(writer.add(item, abi::UpperItemType::kXattr, std::as_bytes(std::span(name.data(), name.size())),
                   {value.data(), length.value()}));
  }
  return {};
}

Result<void> Journal::write_content(Writer& writer, LayerRegular& file, bool whole) {
  u64 page = 0;
  PageStore::Stretch found{};
  while (file.take_changed(page, kPagesAtOnce, whole, found)) {
    size_t length = found.pages * kPageSize;
    abi::UpperPages item{{}, file.ino, page * kPageSize, length};
    if (found.data == nullptr || is_zero(found.data, length)) {
      TRY(writer.add(item, abi::UpperItemType::kHole));
    } else {
      TRY(writer.add(item, abi::UpperItemType::kData, {found.data, length}));
    }
    page += found.pages;
  }
  if (file.is_mapped_writable()) mark(file);
  return {};
}

// The file's size afterwards.
Result<u64> Journal::write(Changes& changes, Chunk* chunks, bool whole, bool durable) {
  if (whole) TRY(ask(abi::UpperOp::kRewrite));
  Writer writer(buffer_);
  for (Change& change : changes) TRY(write_inode(writer, change, whole));
  for (; chunks != nullptr; chunks = chunks->next) TRY(writer.add({chunks->bytes(), chunks->used}));
  TRY(writer.flush());
  return ask(abi::UpperOp::kCommit, 0, durable ? 1 : 0);
}

// What was written goes to `written`, to be released when no lock is held.
Result<void> Journal::sync_locked(bool durable, Changes& written) {
  for (;;) {
    u64 number = started_.fetch_add(1, std::memory_order_seq_cst) + 1;
    Changes changes;
    Chunk* chunks = nullptr;
    bool whole = false;
    TRY(splice(changes, chunks, whole));
    bool nothing = changes.empty() && chunks == nullptr && !whole;
    u64 size = 0;
    if (!nothing || (durable && loose_)) {
      auto result = write(changes, chunks, whole, durable);
      while (Change* change = changes.pop_front()) written.push_back(*change);
      while (chunks != nullptr) heap_free(std::exchange(chunks, chunks->next));
      if (!result.ok()) {
        lost_.store(true);
        static_cast<void>(ask(abi::UpperOp::kAbort));
        return result.error();
      }
      size = result.value();
      loose_ = !durable;
    }
    done_ = number;
    if (durable) done_durable_ = number;
    if (whole || size <= 2 * layer_.budget().used.load() * kPageSize + kSlack) return {};
    lost_.store(true);  // more of it is out of date than not
  }
}

Result<void> Journal::sync(bool durable) {
  if (replaying_) return {};
  u64 ticket = started_.load(std::memory_order_seq_cst);
  Changes written;
  Result<void> result;
  {
    LockGuard guard(sync_lock_);
    // Somebody else's that began after this call does for it.
    if ((durable ? done_durable_ : done_) > ticket) return {};
    result = sync_locked(durable, written);
  }
  release(written);
  return result;
}

void Journal::flush_if_large() {
  if (pending_.load(std::memory_order_relaxed) > kMuch) static_cast<void>(sync(false));
}

}  // namespace teacup::fs
