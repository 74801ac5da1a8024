// LayerFs: the memory layer: a file system that takes all writes, over a read-only image or over nothing
// (then it is a tmpfs). Essay in layer_fs.cc.
#pragma once

#include "fs/chain.h"
#include "fs/dir_table.h"
#include "fs/filesystem.h"
#include "fs/image.h"
#include "fs/page_store.h"
#include "fs/xattrs.h"

namespace teacup::fs {

class Journal;
class LayerFs;
struct Change;

// What all inodes of the layer have: a node below (or none), and whether it differs from it.
class LayerInode : public Inode {
 public:
  LayerInode(LayerFs& layer, u64 ino, u32 mode);
  LayerInode(LayerFs& layer, const ImageNode& below);

  LayerFs& layer() const;
  bool has_below() const { return has_below_; }
  u64 below() const { return ino; }  // of those that have one
  // It differs from what is below, so it must stay in memory until its last name goes. Under lock or the tree
  // lock.
  void pin();
  // Its last name went. So many references the caller drops, after all locks.
  [[nodiscard]] u32 unpin();

  Result<void> set_attributes(const AttributeChange& change) override;
  Result<size_t> get_xattr(std::string_view name, std::span<std::byte> value) override;
  Result<void> set_xattr(std::string_view name, std::span<const std::byte> value, u32 flags) override;
  Result<void> remove_xattr(std::string_view name) override;
  Result<size_t> list_xattrs(std::span<char> names) override;
  Result<void> sync() override;

  // For tools: whether it is not as the image has it; and whether its attributes, as opposed to its content
  // or its names, are not.
  bool differs() const { return !has_below() || pinned_.load(); }
  Result<bool> attributes_differ();

  // Made by O_TMPFILE: may be given a name though it has none.
  bool linkable = false;

 protected:
  void last_reference() override;

 private:
  friend class Journal;
  friend class LayerFs;
  friend class Replay;
  Result<void> own_xattrs();

  bool has_below_ = false;
  std::atomic<bool> pinned_{false};
  std::atomic<bool> own_xattrs_;  // xattrs_ counts, not the image's
  bool xattrs_changed_ = false;
  bool in_upper_ = false;       // --upper's file knows it
  LayerInode* next_ = nullptr;  // in the layer's table of nodes, or of the doomed
  Change* change_ = nullptr;    // while it is on the journal's list
  Xattrs xattrs_;
};

class LayerDirectory final : public LayerInode {
 public:
  using LayerInode::LayerInode;
  ~LayerDirectory() override;

  Result<Ref<Inode>> lookup(std::string_view name) override;
  bool peek(std::string_view name, FileStatus& status) override;
  Result<Ref<Inode>> create(std::string_view name, const NewNode& node, NameChange& change) override;
  Result<void> link(std::string_view name, Inode& target, NameChange& change) override;
  Result<void> unlink(std::string_view name, Inode& victim, NameChange& change) override;
  Result<void> remove_directory(std::string_view name, Inode& victim, NameChange& change) override;
  Result<void> rename(std::string_view name, Inode& moved, Inode& new_parent, std::string_view new_name,
                      Inode* victim, const RenameHow& how, NameChange& change) override;
  Result<void> read_directory(DirSink& sink, u64& position) override;
  Result<Ref<Inode>> create_unnamed(const NewNode& node) override;
  // For tools: the entries that are the layer's own; `inode` is null for a name of the image that is gone.
  // Under the tree lock.
  void visit_own(void (*visit)(void* context, std::string_view name, Inode* inode, bool covers),
                 void* context);

 private:
  friend class Journal;
  friend class Replay;
  class MergeSink;
  Result<bool> below_has(std::string_view name);
  Result<void> check_entry_locked(std::string_view name, const Inode& expected, bool covers);
  Result<Ref<Inode>> set_entry_locked(std::string_view name, Ref<Inode> inode, bool covers);
  Result<void> add_entry(std::string_view name, Ref<Inode> inode, bool covers, NameChange& change);
  Result<void> remove_entry(std::string_view name, LayerInode& victim, NameChange& change);
  Result<bool> shows_below(u64& version);
  void changed_locked();
  DirTable* table() const { return table_.load(std::memory_order_acquire); }
  Result<DirTable*> make_table_locked();
  DirTable::Entry* find_locked(std::string_view name) const;
  u64 live_locked() const { return table() != nullptr ? table()->live() : 0; }

  void last_reference() override;

  std::atomic<DirTable*> table_{nullptr};  // null: all is as in the image
};

class LayerSymlink final : public LayerInode {
 public:
  using LayerInode::LayerInode;
  ~LayerSymlink() override { heap_free(target_.load()); }
  Result<void> set_target(std::string_view target);
  Result<size_t> readlink(std::span<char> into) override;

 private:
  friend class Journal;
  std::atomic<char*> target_{nullptr};  // as many bytes as `size` says; null: not read yet
};

class LayerFs final : public FileSystem {
 public:
  // `image` may be null.
  static Result<Ref<LayerFs>> create(const char* type, u32 magic, Ref<Image> image, u32 root_mode = 0755);
  LayerFs(const char* type, u32 magic, Ref<Image> image);
  ~LayerFs() override;

  Result<Ref<Inode>> root() override { return root_; }
  Result<void> statfs(abi::Statfs& statfs) override;
  bool keeps_access_times() const override { return true; }
  void unmounted() override;
  void volume_owner_known() override;
  // The last reference to a directory with entries went: deletes it, and those below it one after another.
  void doom(LayerInode& inode);

  Image* image() const { return image_.get(); }
  // For tools: the inode of an image's node if it differs; null.
  Ref<LayerInode> changed_inode_of(u64 node);
  // Reads what --upper's file has, which changes are told to from then on. UCLEAN: that makes no sense.
  Result<void> keep_upper();
  Journal* journal() const { return journal_; }
  Result<void> sync() override;
  PageBudget& budget() { return budget_; }
  Mutex& tree_lock() { return tree_lock_; }
  // The inode of a node of the image; the one there is, if there is one.
  Result<Ref<Inode>> inode_of(u64 node);
  // Counts a look at a node; whether it may do without an inode: there is none, and looks were few yet.
  bool may_peek(u64 node);
  Result<Ref<LayerInode>> make_inode(const NewNode& node);
  void forget(LayerInode& inode);

  std::atomic<u64> inodes{0};

 private:
  friend class Journal;
  friend class Replay;
  // Of nodes_, which grows in place as the names' table does (fs/dcache.h).
  using Chain = ChainHead<LayerInode>;
  static constexpr u64 kFirstBuckets = kPageSize / sizeof(Chain);
  static constexpr u64 kMostBuckets = 1 << 19;
  static constexpr u64 kNodesPages = kMostBuckets * sizeof(Chain) / kPageSize;
  // looks_ has two bits for a node: how often it was looked at, up to kPeeks. Nodes that are kLooks apart
  // share them.
  static constexpr u64 kPeeks = 3;
  static constexpr u64 kLooks = 1 << 22;
  static constexpr u64 kLooksPages = kLooks / 4 / kPageSize;
  static constexpr u64 kMultiplier = 0x9e3779b97f4a7c15;
  // Nodes that are neighbours in the image, as those of one directory are, go to buckets that are neighbours:
  // who looks at all of them touches lines of the table one after another. Runs of 64 begin anywhere, so gaps
  // of one run are filled by others.
  Chain& bucket(u64 node) {
    u64 mixed = ((node >> 6) * kMultiplier >> 40) + node;
    return nodes_[mixed & (bucket_count_.load(std::memory_order_relaxed) - 1)];
  }
  static u64 kind_of(u64 node) { return node * kMultiplier; }
  void grow_nodes_locked();
  Result<Ref<LayerInode>> make_from(const ImageNode& node);
  Result<Ref<LayerInode>> make_inode(u64 ino, const NewNode& node);

  Ref<Image> image_;
  Journal* journal_ = nullptr;
  PageBudget budget_;
  LayerInode* doomed_ = nullptr;  // linked by next_; under nodes_lock_
  bool is_dooming_ = false;
  // All changes of directory tables: one lock, so that a rename needs no order among directories. Held for
  // a few hundred nanoseconds, never across a look-up in the image.
  Mutex tree_lock_{LockRank::kInodeParent};
  Mutex nodes_lock_{LockRank::kInodeChild};
  Chain* nodes_ = nullptr;
  std::atomic<u64> bucket_count_{kFirstBuckets};
  u64 node_count_ = 0;                 // in nodes_
  std::atomic<u64>* looks_ = nullptr;  // null: peek() is of no use
  Ref<Inode> root_;
};

}  // namespace teacup::fs
