// Journal: what changes in a memory layer, told to --upper's file (kernel/abi/upper.h). Essay in journal.cc.
#pragma once

#include "fs/layer_fs.h"
#include "kernel/abi/upper.h"
#include "kernel/base/list.h"
#include "kernel/frame/pages.h"

namespace teacup::fs {

class LayerRegular;

// An inode that differs from what the file says.
struct Change {
  ListNode node;
  LayerInode* inode = nullptr;  // counted
  u32 links = 0;                // when the names were taken
};

class Journal {
 public:
  explicit Journal(LayerFs& layer) : layer_(layer) {}
  ~Journal();
  Result<void> start();

  // The inode differs from what the file says. Under its lock or the tree lock; it has a name.
  void mark(LayerInode& inode);
  // Its last name went. So many references the caller drops, after all locks. Under its lock.
  [[nodiscard]] u32 forget(LayerInode& inode);
  // `name` of the directory stands for `inode` (null: nothing). Under the tree lock.
  void entry(const LayerDirectory& directory, std::string_view name, const LayerInode* inode, bool covers);

  // Writes all that has changed; `durable`: returns when it is on the disk. No lock may be held but those
  // below kJournal. ENOSPC, EIO: nothing of it counts, and the next call writes everything anew.
  Result<void> sync(bool durable);
  // The same, not durable, when what is to be told has become much.
  void flush_if_large();

  // While the file is read nothing is told.
  void set_replaying(bool replaying) { replaying_ = replaying; }

 private:
  using Changes = List<Change, &Change::node>;
  // Entry items, in a chain.
  struct Chunk {
    Chunk* next;
    u32 used;
    u32 room;
    std::byte* bytes() { return reinterpret_cast<std::byte*>(this + 1); }
  };
  class Writer;

  void mark_locked(LayerInode& inode);
  void drop_chunks();
  std::byte* room(size_t size);
  bool take_all();
  Result<void> splice(Changes& changes, Chunk*& chunks, bool& whole);
  Result<void> sync_locked(bool durable, Changes& written);
  Result<u64> write(Changes& changes, Chunk* chunks, bool whole, bool durable);
  Result<void> write_inode(Writer& writer, Change& change, bool whole);
  Result<void> write_xattrs(Writer& writer, LayerInode& inode);
  Result<void> write_content(Writer& writer, LayerRegular& file, bool whole);
  void release(Changes& changes);

  LayerFs& layer_;
  Mutex sync_lock_{LockRank::kJournal};
  std::atomic<u64> started_{0};
  u64 done_ = 0;          // the last that succeeded; under sync_lock_, as the next two
  u64 done_durable_ = 0;  // the last of those that are on the disk
  bool loose_ = false;    // something is written and not on the disk
  PageRun buffer_;
  Mutex list_lock_{LockRank::kJournalList};
  Changes changes_;
  // Under the tree lock.
  Chunk* first_ = nullptr;
  Chunk* last_ = nullptr;
  std::atomic<u64> pending_{0};  // bytes in chunks
  // Something could not be noted, or not be written: the file is to be written anew.
  std::atomic<bool> lost_{false};
  bool replaying_ = false;
};

// Reads the file, into the layer. UCLEAN: it makes no sense. NOSPC, NOMEM.
Result<void> replay_upper(LayerFs& layer);

}  // namespace teacup::fs
