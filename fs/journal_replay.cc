// Reading --upper's file, when the machine starts: items in the order they were written, each applied to the
// layer as it is. The broker gives records that count only, whose checksums are right; what they say is still
// checked, as whoever wrote it may have had a kernel that a guest had corrupted.
#include <algorithm>

#include "fs/journal.h"
#include "fs/layer_regular.h"
#include "kernel/abi/ring.h"
#include "kernel/base/memory.h"
#include "kernel/sync/doorbell.h"

namespace teacup::fs {

class Replay {
 public:
  explicit Replay(LayerFs& layer) : layer_(layer) {}
  ~Replay();
  Result<void> start();
  Result<void> apply(std::span<const std::byte> items);

 private:
  struct Known {
    Known* next;
    Ref<LayerInode> inode;
  };
  static constexpr u64 kBuckets = 1 << 14;

  template <typename Item>
  static Result<Item> head(std::span<const std::byte> item);
  Known*& bucket(u64 ino) { return known_[ino * 0x9e3779b97f4a7c15 >> 50 & (kBuckets - 1)]; }
  LayerInode* find(u64 ino);
  Result<LayerInode*> remember(Ref<LayerInode> inode);
  Result<void> one(std::span<const std::byte> item);
  Result<void> inode(std::span<const std::byte> item);
  Result<LayerInode*> make(const abi::UpperInode& saved, std::string_view target);
  Result<void> entry(std::span<const std::byte> item);
  Result<void> xattrs(u64 ino);
  Result<void> xattr(std::span<const std::byte> item);
  Result<void> pages(std::span<const std::byte> item, bool data);
  void gone(u64 ino);

  LayerFs& layer_;
  PageRun run_;
  Known** known_ = nullptr;
};

Replay::~Replay() {
  if (known_ == nullptr) return;
  for (u64 i = 0; i < kBuckets; i++) {
    while (Known* known = known_[i]) {
      known_[i] = known->next;
      destroy(known);
    }
  }
  release_run(run_);
}

Result<void> Replay::start() {
  run_ = TRY(allocate_run(kBuckets * sizeof(Known*) / kPageSize));
  known_ = reinterpret_cast<Known**>(run_.address());
  return {};
}

Result<void> Replay::apply(std::span<const std::byte> items) {
  while (!items.empty()) {
    abi::UpperItem item{};
    if (items.size() < sizeof item) return Errno::UCLEAN;
    memcpy(&item, items.data(), sizeof item);
    if (item.size < sizeof item || item.size % 8 != 0 || item.size > items.size()) return Errno::UCLEAN;
    TRY(one(items.subspan(0, item.size)));
    items = items.subspan(item.size);
  }
  return {};
}

template <typename Item>
Result<Item> Replay::head(std::span<const std::byte> item) {
  Item head{};
  if (item.size() < sizeof head) return Errno::UCLEAN;
  memcpy(&head, item.data(), sizeof head);
  return head;
}

Result<void> Replay::one(std::span<const std::byte> item) {
  using Type = abi::UpperItemType;
  switch (TRY(head<abi::UpperItem>(item)).type) {
    case Type::kInode:
      return inode(item);
    case Type::kEntry:
      return entry(item);
    case Type::kXattrs:
      return xattrs(TRY(head<abi::UpperMark>(item)).ino);
    case Type::kXattr:
      return xattr(item);
    case Type::kData:
      return pages(item, true);
    case Type::kHole:
      return pages(item, false);
    case Type::kGone:
      gone(TRY(head<abi::UpperMark>(item)).ino);
      return {};
  }
  return Errno::UCLEAN;
}

LayerInode* Replay::find(u64 ino) {
  for (Known* at = bucket(ino); at != nullptr; at = at->next) {
    if (at->inode->ino == ino) return at->inode.get();
  }
  return nullptr;
}

Result<LayerInode*> Replay::remember(Ref<LayerInode> inode) {
  Known* known = TRY(teacup::make<Known>());
  known->inode = std::move(inode);
  Known*& first = bucket(known->inode->ino);
  known->next = first;
  first = known;
  return known->inode.get();
}

Result<LayerInode*> Replay::make(const abi::UpperInode& saved, std::string_view target) {
  u64 limit = layer_.image_ ? layer_.image_->node_limit() : 0;
  if ((saved.flags & abi::kUpperHasBelow) != 0) {
    if (saved.ino >= limit) return Errno::UCLEAN;
    Ref<Inode> inode = TRY(layer_.inode_of(saved.ino));
    return remember(Ref<LayerInode>::adopt(static_cast<LayerInode*>(inode.leak())));
  }
  if (saved.ino < limit || saved.ino > u64{1} << 62) return Errno::UCLEAN;
  switch (saved.mode & abi::kS_IFMT) {
    case abi::kS_IFREG:
    case abi::kS_IFDIR:
    case abi::kS_IFLNK:
    case abi::kS_IFCHR:
    case abi::kS_IFBLK:
    case abi::kS_IFIFO:
    case abi::kS_IFSOCK:
      break;
    default:
      return Errno::UCLEAN;
  }
  NewNode node;
  node.mode = saved.mode;
  node.rdev = saved.rdev;
  node.target = target;
  if (layer_.next_ino_.load() <= saved.ino) layer_.next_ino_.store(saved.ino + 1);
  return remember(TRY(layer_.make_inode(saved.ino, node)));
}

Result<void> Replay::inode(std::span<const std::byte> item) {
  auto saved = TRY(head<abi::UpperInode>(item));
  if (saved.target_length > item.size() - sizeof saved || saved.links == 0) return Errno::UCLEAN;
  std::string_view target(reinterpret_cast<const char*>(item.data() + sizeof saved), saved.target_length);
  LayerInode* inode = find(saved.ino);
  if (inode == nullptr) inode = TRY(make(saved, target));
  if (inode->type() != (saved.mode & abi::kS_IFMT) || saved.size > u64{1} << 62) return Errno::UCLEAN;
  if (inode->is_regular()) static_cast<LayerRegular*>(inode)->restore_size(saved.size, saved.below_end);
  LockGuard guard(inode->lock);
  inode->mode = saved.mode;
  inode->uid = saved.uid;
  inode->gid = saved.gid;
  inode->nlink = saved.links;
  TimeStamp* const times[] = {&inode->atime, &inode->mtime, &inode->ctime, &inode->btime};
  for (int i = 0; i < 4; i++)
    *times[i] = abi::Timespec{saved.times[i * 2], std::clamp<s64>(saved.times[i * 2 + 1], 0, 999'999'999)};
  if (inode->is_directory()) inode->size.store(saved.size);
  inode->in_upper_ = true;
  inode->pin();
  return {};
}

Result<void> Replay::entry(std::span<const std::byte> item) {
  auto saved = TRY(head<abi::UpperEntry>(item));
  if (saved.name_length == 0 || saved.name_length > 255 || saved.name_length > item.size() - sizeof saved) {
    return Errno::UCLEAN;
  }
  std::string_view name(reinterpret_cast<const char*>(item.data() + sizeof saved), saved.name_length);
  if (name == "." || name == ".." || name.find('/') != name.npos || name.find('\0') != name.npos)
    return Errno::UCLEAN;
  LayerInode* found = find(saved.directory);
  // Of a directory that was gone again before it was ever written.
  if (found == nullptr) return {};
  if (!found->is_directory()) return Errno::UCLEAN;
  auto& directory = static_cast<LayerDirectory&>(*found);
  // What was gone before it was written is not known: the name stood for it, and an entry that says for what
  // it stands now comes.
  LayerInode* target = saved.ino != 0 ? find(saved.ino) : nullptr;
  // No directory in itself, or in what is in it: the tree could not be let go of.
  if (target == found) return Errno::UCLEAN;
  bool covers = saved.covers != 0;
  DirTable& table = *TRY(directory.make_table_locked());
  Ref<Inode> inode = target != nullptr ? Ref<Inode>(Ref<LayerInode>::share(target)) : Ref<Inode>();
  DirTable::Entry* there = table.find(name);
  if (there == nullptr) {
    if (inode || covers) TRY(table.insert(name, std::move(inode), covers));
  } else if (inode || there->covers) {
    static_cast<void>(table.replace(*there, std::move(inode)));
  } else {
    static_cast<void>(table.erase(*there));
  }
  return {};
}

Result<void> Replay::xattrs(u64 ino) {
  LayerInode* inode = find(ino);
  if (inode == nullptr) return Errno::UCLEAN;
  char names[1024];
  for (;;) {
    // One after another: however many there are.
    size_t size = TRY(inode->xattrs_.list({}));
    if (size == 0) break;
    HeapArray<char> all;
    std::span<char> into(names, std::min(size, sizeof names));
    if (size > sizeof names) {
      all = TRY(HeapArray<char>::create(size));
      into = {all.data(), all.size()};
    }
    TRY(inode->xattrs_.list(into));
    TRY(inode->xattrs_.remove(std::string_view(into.data())));
  }
  inode->own_xattrs_.store(true, std::memory_order_release);
  inode->xattrs_changed_ = true;
  return {};
}

Result<void> Replay::xattr(std::span<const std::byte> item) {
  auto saved = TRY(head<abi::UpperXattr>(item));
  u64 length = u64{saved.name_length} + saved.value_length;
  if (saved.name_length == 0 || saved.name_length > 255 || length > item.size() - sizeof saved)
    return Errno::UCLEAN;
  LayerInode* inode = find(saved.ino);
  if (inode == nullptr) return Errno::UCLEAN;
  auto bytes = item.subspan(sizeof saved);
  std::string_view name(reinterpret_cast<const char*>(bytes.data()), saved.name_length);
  if (name.find('\0') != name.npos) return Errno::UCLEAN;
  return inode->xattrs_.set(name, bytes.subspan(saved.name_length, saved.value_length), 0);
}

Result<void> Replay::pages(std::span<const std::byte> item, bool data) {
  auto saved = TRY(head<abi::UpperPages>(item));
  LayerInode* inode = find(saved.ino);
  if (inode == nullptr || !inode->is_regular()) return Errno::UCLEAN;
  if (saved.offset % kPageSize != 0 || saved.length % kPageSize != 0 || saved.offset > u64{1} << 62 ||
      saved.length > abi::kUpperRecordSize || (data && saved.length > item.size() - sizeof saved)) {
    return Errno::UCLEAN;
  }
  const std::byte* bytes = data ? item.data() + sizeof saved : nullptr;
  auto& file = static_cast<LayerRegular&>(*inode);
  for (u64 done = 0; done < saved.length; done += kPageSize) {
    TRY(file.restore_page((saved.offset + done) / kPageSize, data ? bytes + done : nullptr));
  }
  return {};
}

void Replay::gone(u64 ino) {
  LayerInode* inode = find(ino);
  if (inode == nullptr) return;
  u32 references;
  {
    LockGuard guard(inode->lock);
    inode->nlink = 0;
    references = inode->unpin();
  }
  while (references-- > 0) inode->unref();
}

Result<void> replay_upper(LayerFs& layer) {
  PageRun buffer = TRY(allocate_run(abi::kUpperRecordSize / kPageSize));
  auto read_all = [&]() -> Result<void> {
    Replay replay(layer);
    TRY(replay.start());
    for (;;) {
      s64 length = ring_call(abi::RingOp::kUpper, static_cast<u64>(abi::UpperOp::kRead), buffer.offset,
                             buffer.bytes(), 0, 0, 0);
      if (length < 0) return Errno::IO;
      if (length == 0) return {};
      TRY(replay.apply({reinterpret_cast<const std::byte*>(buffer.address()),
                        std::min<u64>(static_cast<u64>(length), buffer.bytes())}));
    }
  };
  auto result = read_all();
  release_run(buffer);
  return result;
}

Result<void> LayerFs::keep_upper() {
  journal_ = TRY(make<Journal>(*this));
  journal_->set_replaying(true);
  TRY(journal_->start());
  TRY(replay_upper(*this));
  journal_->set_replaying(false);
  return {};
}

}  // namespace teacup::fs
