// HostFs: a directory or file of the host's in the guest's tree (-v). Changes go through to the host at once;
// changes on the host are seen at the next open, and by name within a second. Essay in host_fs.cc.
#pragma once

#include "fs/filesystem.h"
#include "fs/page_store.h"
#include "fs/trip.h"

namespace teacup::fs {

class HostInode;

class HostFs final : public FileSystem {
 public:
  static Result<Ref<HostFs>> create(u32 host_root, bool writable);
  HostFs(u32 host_root, bool writable);
  ~HostFs() override;

  Result<Ref<Inode>> root() override { return root_; }
  Result<void> statfs(abi::Statfs& statfs) override;
  u64 name_lifetime() const override { return 1'000'000'000; }

  bool writable() const { return writable_; }
  PageBudget& budget() { return budget_; }
  // The inode of a node, with these attributes.
  Result<Ref<Inode>> inode_of(const abi::ImporterInode& attributes);
  void forget(HostInode& inode);

 private:
  static constexpr u64 kBuckets = 1 << 11;
  u32 host_root_;
  bool writable_;
  PageBudget budget_;
  Mutex nodes_lock_{LockRank::kInodeChild};
  HostInode** nodes_ = nullptr;
  Ref<Inode> root_;
};

class HostInode final : public Inode {
 public:
  HostInode(HostFs& file_system, const ImageNode& node);
  ~HostInode() override;

  u64 node() const { return node_; }
  void expire() { valid_until_.store(0); }
  // Takes over what the host says; content that has changed there is dropped.
  void update(const abi::ImporterInode& attributes);

  Result<void> stat(abi::Stat& stat) override;
  Result<void> set_attributes(const AttributeChange& change) override;
  Result<Ref<Inode>> lookup(std::string_view name) override;
  Result<Ref<Inode>> create(std::string_view name, const NewNode& node, NameChange& change) override;
  Result<void> link(std::string_view name, Inode& target, NameChange& change) override;
  Result<void> unlink(std::string_view name, Inode& victim, NameChange& change) override;
  Result<void> remove_directory(std::string_view name, Inode& victim, NameChange& change) override;
  Result<void> rename(std::string_view name, Inode& moved, Inode& new_parent, std::string_view new_name,
                      Inode* victim, const RenameHow& how, NameChange& change) override;
  Result<void> read_directory(DirSink& sink, u64& position) override;
  Result<size_t> readlink(std::span<char> into) override;
  Result<Ref<File>> open(const Path& path, u32 flags) override;

  Result<size_t> read(IoDest& to, u64 offset) override;
  Result<size_t> write(IoSource& from, u64 offset, bool append, u64& end) override;
  Result<void> truncate(u64 new_size) override;
  Result<void> allocate(int mode, u64 offset, u64 length) override;
  Result<size_t> map_pieces(u64 offset, u64 length, bool shared_writable,
                            std::span<MapPiece> pieces) override;
  Result<void> sync() override;
  Result<void> write_back(u64 offset, u64 length) override;

 protected:
  void last_reference() override;

 private:
  friend class HostFs;
  struct Listing;
  struct Stream;
  class Writing;
  HostFs& host() const;
  abi::HostFileRequest request(abi::HostFileOp op) const;
  Result<s64> simple(const abi::HostFileRequest& request, std::string_view name = {},
                     std::string_view name2 = {}) const;
  Result<void> refresh();
  void entries_changed();
  Result<void> remove_entry(abi::HostFileOp op, std::string_view name, Inode& victim, NameChange& change);
  Result<void> load_listing();
  Result<void> prefetch(u64 offset, u64 length);
  Result<std::byte*> make_page_locked(u64 page, u64 first);
  // --- host_stream.cc
  // Through a window, if that is how the file is being read; 0: it is not, or nothing is there.
  Result<size_t> read_stream(IoDest& to, u64 offset, u64 wanted);
  bool is_streamed_locked(u64 offset) const;
  Result<size_t> copy_stream_locked(IoDest& to, u64 offset, u64 wanted) const;
  abi::HostFileRequest ask_window(Stream& stream, u64 offset) const;
  Result<void> fill_stream(Stream& stream, u64 offset) const;
  void end_read_stream();
  void end_stream();
  Result<s64> change_there(const abi::HostFileRequest& asked);
  Result<size_t> copy_in(IoSource& from, u64 offset);
  Result<size_t> send_pages(u64 offset, u64 end);

  u64 node_;
  HostInode* next_ = nullptr;
  std::atomic<u64> valid_until_{0};  // of the attributes; ns, monotonic
  std::atomic<u64> blocks_{0};
  PageStore pages_;
  bool mapped_writable_ = false;  // under lock
  u32 writing_ = 0;               // writes under way; under lock
  Listing* listing_ = nullptr;    // under lock
  Stream* stream_ = nullptr;      // under lock
};

}  // namespace teacup::fs
