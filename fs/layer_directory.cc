// Directories of the memory layer. See layer_fs.cc.
//
// Locks: the layer's tree lock (kInodeParent), then an inode's (kInode); NameChange takes kDentry under the
// first. The image is asked before any.
#include "fs/layer_fs.h"

#include "fs/journal.h"

namespace teacup::fs {

namespace {

// Positions of read_directory: the image's cursors first, then the table's entries.
constexpr u64 kFirst = 2;
constexpr u64 kTableBase = u64{1} << 60;

u8 type_of(const Inode& inode) {
  return static_cast<u8>(inode.type() >> 12);  // DT_* are the mode's type bits
}

}  // namespace

Result<bool> LayerDirectory::below_has(std::string_view name) {
  if (!has_below()) return false;
  auto found = layer().image()->lookup(below(), name);
  if (found.ok()) return true;
  if (found.is(Errno::NOENT)) return false;
  return found.error();
}

Result<Ref<Inode>> LayerDirectory::lookup(std::string_view name) {
  if (table() != nullptr) {
    LockGuard guard(layer().tree_lock());
    if (DirTable::Entry* entry = find_locked(name); entry != nullptr) {
      if (entry->inode == nullptr) return Errno::NOENT;
      return Ref<Inode>::share(entry->inode);
    }
  }
  if (!has_below()) return Errno::NOENT;
  u64 node = TRY(layer().image()->lookup(below(), name));
  return layer().inode_of(node);
}

namespace {

// As an inode has it that is as the image says (LayerInode::LayerInode, LayerRegular::stat).
void stat_of(const ImageNode& node, u64 device, abi::Stat& stat) {
  stat = {};
  stat.dev = device;
  stat.ino = node.id;
  stat.nlink = node.nlink;
  stat.mode = node.mode;
  stat.uid = node.uid;
  stat.gid = node.gid;
  stat.rdev = static_cast<u32>(node.rdev);
  stat.size = static_cast<s64>(node.size);
  stat.blksize = kPageSize;
  u64 unit = (node.mode & abi::kS_IFMT) == abi::kS_IFREG ? kPageSize : 512;
  stat.blocks = static_cast<s64>(align_up(node.size, unit) / 512);
  stat.atime = stat.mtime = stat.ctime = node.mtime.tv_sec;
  stat.atime_nsec = stat.mtime_nsec = stat.ctime_nsec = node.mtime.tv_nsec;
}

}  // namespace

// Most files of a tree are looked at once or twice (find, du, git status), and then an inode and an entry in
// the cache of names are work and memory for nothing: of the 0.42 us that the first stat(2) of a file took,
// 0.16 were the page faults for them. Who goes through a directory in its order finds its files in the image
// as fast (0.19 us) as 20 000 of them in the caches (0.21). So the first looks are answered from the image
// itself, and the fourth makes both: for who looks again and again, or in another order.
//
// It is true of the moment at which there was no inode of the node, so that nothing had changed what the
// image says of it; that it then had this name is so if the directory's entries are those of before.
bool LayerDirectory::peek(std::string_view name, FileStatus& status) {
  if (!has_below()) return false;
  u64 version = entries_version.load(std::memory_order_seq_cst);
  if (table() != nullptr) {
    LockGuard guard(layer().tree_lock());
    if (find_locked(name) != nullptr) return false;
  }
  Image& image = *layer().image();
  auto found = image.lookup(below(), name);
  if (!found.ok()) return false;
  auto node = image.node(found.value());
  if (!node.ok() || (node.value().mode & abi::kS_IFMT) == abi::kS_IFDIR || !layer().may_peek(node.value().id))
    return false;
  stat_of(node.value(), layer().device(), status.stat);
  status.birth = node.value().mtime;
  return entries_version.load(std::memory_order_seq_cst) == version;
}

LayerDirectory::~LayerDirectory() {
  teacup::destroy(table());
}

Result<DirTable*> LayerDirectory::make_table_locked() {
  if (table() == nullptr) table_.store(TRY(make<DirTable>()), std::memory_order_release);
  return table();
}

DirTable::Entry* LayerDirectory::find_locked(std::string_view name) const {
  return table() != nullptr ? table()->find(name) : nullptr;
}

void LayerDirectory::last_reference() {
  if (table() == nullptr) {
    LayerInode::last_reference();
    return;
  }
  layer().inodes.fetch_sub(1, std::memory_order_relaxed);
  if (has_below()) layer().forget(*this);
  layer().doom(*this);
}

// After a change of the table, under the tree lock.
void LayerDirectory::changed_locked() {
  {
    LockGuard guard(lock);
    pin();
    touch_mtime();
    size.store(has_below() ? size.load() : live_locked() * 20 + 40);
  }
  entries_version.fetch_add(1, std::memory_order_seq_cst);
}

// Makes `name` stand for `inode` (null: for nothing). What it stood for in the table is the caller's to drop.
Result<Ref<Inode>> LayerDirectory::set_entry_locked(std::string_view name, Ref<Inode> inode, bool covers) {
  DirTable& table = *TRY(make_table_locked());
  DirTable::Entry* entry = table.find(name);
  auto* target = static_cast<LayerInode*>(inode.get());
  Journal* journal = layer().journal();
  if (entry == nullptr) {
    if (!inode && !covers) return Ref<Inode>();
    TRY(table.insert(name, std::move(inode), covers));
    if (journal != nullptr) journal->entry(*this, name, target, covers);
    return Ref<Inode>();
  }
  if (journal != nullptr) journal->entry(*this, name, target, entry->covers);
  if (!inode && !entry->covers) return table.erase(*entry);
  return table.replace(*entry, std::move(inode));
}

// Whether `name` (still) stands for `expected`; OVERTAKEN if not.
Result<void> LayerDirectory::check_entry_locked(std::string_view name, const Inode& expected, bool covers) {
  if (DirTable::Entry* entry = find_locked(name); entry != nullptr) {
    if (entry->inode != &expected) return Errno::OVERTAKEN;
    return {};
  }
  const auto& inode = static_cast<const LayerInode&>(expected);
  if (!covers || !inode.has_below()) return Errno::OVERTAKEN;
  return {};
}

Result<void> LayerDirectory::add_entry(std::string_view name, Ref<Inode> inode, bool covers,
                                       NameChange& change) {
  if (nlink == 0) return Errno::NOENT;  // removed while it was somebody's working directory
  DirTable::Entry* entry = find_locked(name);
  if (entry != nullptr ? entry->inode != nullptr : covers) return Errno::EXIST;
  TRY(set_entry_locked(name, std::move(inode), covers));
  changed_locked();
  change.changed();
  return {};
}

Result<Ref<Inode>> LayerDirectory::create(std::string_view name, const NewNode& node, NameChange& change) {
  if (Journal* journal = layer().journal(); journal != nullptr) journal->flush_if_large();
  bool covers = TRY(below_has(name));
  Ref<LayerInode> inode = TRY(layer().make_inode(node));
  LockGuard guard(layer().tree_lock());
  TRY(add_entry(name, inode, covers, change));
  if (inode->is_directory()) nlink++;
  LockGuard inode_guard(inode->lock);
  inode->pin();
  return Ref<Inode>(std::move(inode));
}

Result<Ref<Inode>> LayerDirectory::create_unnamed(const NewNode& node) {
  Ref<LayerInode> inode = TRY(layer().make_inode(node));
  inode->nlink = 0;
  inode->linkable = node.linkable;
  return Ref<Inode>(std::move(inode));
}

Result<void> LayerDirectory::link(std::string_view name, Inode& target, NameChange& change) {
  if (&target.file_system() != &file_system()) return Errno::XDEV;
  auto& inode = static_cast<LayerInode&>(target);
  bool covers = TRY(below_has(name));
  LockGuard guard(layer().tree_lock());
  if (inode.nlink == 0 && !inode.linkable) return Errno::NOENT;
  if (inode.nlink >= 65000) return Errno::MLINK;
  TRY(add_entry(name, Ref<Inode>::share(&target), covers, change));
  LockGuard inode_guard(inode.lock);
  inode.nlink++;
  inode.pin();
  inode.linkable = false;
  inode.touch_ctime();
  return {};
}

// Takes `name` away from `victim`, whose last name it may be.
Result<void> LayerDirectory::remove_entry(std::string_view name, LayerInode& victim, NameChange& change) {
  bool covers = TRY(below_has(name));
  Ref<Inode> old;
  u32 unpinned = 0;
  {
    LockGuard guard(layer().tree_lock());
    TRY(check_entry_locked(name, victim, covers));
    old = TRY(set_entry_locked(name, Ref<Inode>(), covers));
    bool directory = victim.is_directory();
    {
      LockGuard victim_guard(victim.lock);
      victim.pin();
      victim.nlink -= directory || victim.nlink == 0 ? victim.nlink : 1;
      victim.touch_ctime();
      if (victim.nlink == 0) unpinned = victim.unpin();
    }
    if (directory) {
      nlink--;
      // So that nothing that was looked up in it is cached any more.
      victim.entries_version.fetch_add(1, std::memory_order_seq_cst);
    }
    changed_locked();
    change.changed();
  }
  while (unpinned-- > 0) victim.unref();
  return {};
}

Result<void> LayerDirectory::unlink(std::string_view name, Inode& victim, NameChange& change) {
  return remove_entry(name, static_cast<LayerInode&>(victim), change);
}

// Stops at the first entry of the image that is still to be seen.
class LayerDirectory::MergeSink final : public ImageDirSink {
 public:
  MergeSink(LayerDirectory& directory, DirSink* sink) : directory_(directory), sink_(sink) {}

  bool add(std::string_view name, u64 id, u8 type, u64 next) override {
    if (directory_.table() != nullptr) {
      LockGuard guard(directory_.layer().tree_lock());
      if (directory_.find_locked(name) != nullptr) return true;
    }
    if (sink_ == nullptr || !sink_->add(name, id, type, kFirst + next)) {
      stopped = true;
      return false;
    }
    return true;
  }
  bool stopped = false;

 private:
  LayerDirectory& directory_;
  DirSink* sink_;
};

// Whether anything of the image is to be seen here; `version`: of the entries when that was so.
Result<bool> LayerDirectory::shows_below(u64& version) {
  version = entries_version.load(std::memory_order_seq_cst);
  if (!has_below()) return false;
  MergeSink sink(*this, nullptr);
  u64 cursor = 0;
  TRY(layer().image()->read_directory(below(), sink, cursor));
  return sink.stopped;
}

Result<void> LayerDirectory::remove_directory(std::string_view name, Inode& victim, NameChange& change) {
  if (!victim.is_directory()) return Errno::NOTDIR;
  auto& directory = static_cast<LayerDirectory&>(victim);
  for (;;) {
    u64 version;
    if (TRY(directory.shows_below(version))) return Errno::NOTEMPTY;
    {
      LockGuard guard(layer().tree_lock());
      if (directory.entries_version.load() != version) continue;
      if (directory.live_locked() != 0) return Errno::NOTEMPTY;
      // From here on nothing can be made in it.
      if (directory.nlink == 0) return Errno::NOENT;
    }
    // Between the two locks an entry may be made in it: remove_entry looks again.
    bool covers = TRY(below_has(name));
    Ref<Inode> old;
    u32 unpinned;
    {
      LockGuard guard(layer().tree_lock());
      if (directory.entries_version.load() != version) continue;
      TRY(check_entry_locked(name, victim, covers));
      old = TRY(set_entry_locked(name, Ref<Inode>(), covers));
      {
        LockGuard victim_guard(directory.lock);
        directory.pin();
        directory.nlink = 0;
        directory.touch_ctime();
        unpinned = directory.unpin();
      }
      directory.entries_version.fetch_add(1, std::memory_order_seq_cst);
      nlink--;
      changed_locked();
      change.changed();
    }
    while (unpinned-- > 0) directory.unref();
    return {};
  }
}

Result<void> LayerDirectory::rename(std::string_view name, Inode& moved_inode, Inode& new_parent_inode,
                                    std::string_view new_name, Inode* victim_inode, const RenameHow& how,
                                    NameChange& change) {
  if (&new_parent_inode.file_system() != &file_system()) return Errno::XDEV;
  auto& moved = static_cast<LayerInode&>(moved_inode);
  auto& to = static_cast<LayerDirectory&>(new_parent_inode);
  auto* victim = static_cast<LayerInode*>(victim_inode);
  bool exchange = (how.flags & abi::kRENAME_EXCHANGE) != 0;
  bool covers_old = TRY(below_has(name));
  bool covers_new = TRY(to.below_has(new_name));
  Ref<LayerInode> whiteout;
  if (how.whiteout != nullptr) whiteout = TRY(layer().make_inode(*how.whiteout));
  Ref<Inode> old_entries[2];
  u32 unpinned = 0;
  for (;;) {
    u64 version = 0;
    auto* victim_directory = victim != nullptr && victim->is_directory() && !exchange
                                 ? static_cast<LayerDirectory*>(victim)
                                 : nullptr;
    if (victim_directory != nullptr && TRY(victim_directory->shows_below(version))) return Errno::NOTEMPTY;
    LockGuard guard(layer().tree_lock());
    if (victim_directory != nullptr) {
      if (victim_directory->entries_version.load() != version) continue;
      if (victim_directory->live_locked() != 0) return Errno::NOTEMPTY;
    }
    TRY(check_entry_locked(name, moved, covers_old));
    if (to.nlink == 0) return Errno::NOENT;
    if (victim != nullptr) {
      TRY(to.check_entry_locked(new_name, *victim, covers_new));
    } else if (DirTable::Entry* entry = to.find_locked(new_name);
               entry != nullptr ? entry->inode != nullptr : covers_new) {
      return Errno::OVERTAKEN;
    }
    // The new name first: that may fail for want of memory, and then nothing has happened.
    old_entries[0] = TRY(to.set_entry_locked(new_name, Ref<Inode>::share(&moved), covers_new));
    Inode* left_behind = exchange ? victim : whiteout.get();
    auto removed = set_entry_locked(
        name, left_behind != nullptr ? Ref<Inode>::share(left_behind) : Ref<Inode>(), covers_old);
    if (!removed.ok()) {
      static_cast<void>(to.set_entry_locked(new_name, std::move(old_entries[0]), covers_new));
      return removed.error();
    }
    old_entries[1] = std::move(removed).value();
    if (&to != this && moved.is_directory()) {
      nlink--;
      to.nlink++;
    }
    if (exchange && &to != this && victim->is_directory()) {
      to.nlink--;
      nlink++;
    }
    {
      LockGuard moved_guard(moved.lock);
      moved.pin();
      moved.touch_ctime();
    }
    if (whiteout) {
      LockGuard whiteout_guard(whiteout->lock);
      whiteout->pin();
    }
    if (victim != nullptr) {
      LockGuard victim_guard(victim->lock);
      victim->pin();
      victim->touch_ctime();
      if (!exchange) {
        victim->nlink -= victim->is_directory() || victim->nlink == 0 ? victim->nlink : 1;
        if (victim->nlink == 0) unpinned = victim->unpin();
      }
    }
    if (victim_directory != nullptr) {
      to.nlink--;
      victim_directory->entries_version.fetch_add(1, std::memory_order_seq_cst);
    }
    changed_locked();
    if (&to != this) to.changed_locked();
    change.changed();
    break;
  }
  while (unpinned-- > 0) victim->unref();
  return {};
}

void LayerDirectory::visit_own(void (*visit)(void* context, std::string_view name, Inode* inode, bool covers),
                               void* context) {
  LockGuard guard(layer().tree_lock());
  if (table() == nullptr) return;
  table()->visit([&](DirTable::Entry& entry) { visit(context, entry.name(), entry.inode, entry.covers); });
}

Result<void> LayerDirectory::read_directory(DirSink& sink, u64& position) {
  if (position < kTableBase) {
    if (has_below()) {
      MergeSink merge(*this, &sink);
      u64 cursor = position <= kFirst ? 0 : position - kFirst;
      auto result = layer().image()->read_directory(below(), merge, cursor);
      position = kFirst + cursor;
      TRY(result);
      if (merge.stopped) return {};
    }
    position = kTableBase;
  }
  if (table() == nullptr) return {};
  for (;;) {
    // A counted inode and a copy of the name: the sink may touch guest memory, so no lock is held then.
    char name[256];
    size_t length;
    u64 ino;
    u8 type;
    u64 at;
    {
      LockGuard guard(layer().tree_lock());
      DirTable::Entry* entry = table()->at_or_after(position - kTableBase);
      if (entry == nullptr) return {};
      length = entry->name_length;
      __builtin_memcpy(name, entry->text(), length);
      ino = entry->inode->ino;
      type = type_of(*entry->inode);
      at = kTableBase + entry->position;
    }
    if (!sink.add({name, length}, ino, type, at + 1)) {
      position = at;
      return {};
    }
    position = at + 1;
  }
}

}  // namespace teacup::fs
