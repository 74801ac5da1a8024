// AskedImage: an image below a memory layer that another process has to be asked about: ext2/3/4, squashfs
// (the importer) or a directory of the host's (the broker). Essay in asked_image.cc.
#pragma once

#include "fs/trip.h"
#include "kernel/base/arena_header.h"

namespace teacup::fs {

class AskedImage final : public Image {
 public:
  // images[slot], which the importer knows as `number`. Its extents are read in place where the image is
  // mapped.
  static Result<Ref<AskedImage>> open_importer(u32 slot, u32 number);
  // Root `root` of the host file service. `volume`: what the caller owns there is shown as the guest's
  // user's.
  static Result<Ref<AskedImage>> open_host(u32 root, bool volume);
  AskedImage(bool host, u32 slot, u32 number, bool volume)
      : host_(host), volume_(volume), slot_(slot), number_(number) {}
  ~AskedImage() override;

  Result<ImageNode> root() override { return node(root_); }
  Result<ImageNode> node(u64 id) override;
  Result<u64> lookup(u64 directory, std::string_view name) override;
  Result<void> read_directory(u64 directory, ImageDirSink& sink, u64& cursor) override;
  Result<ImageSpan> data(u64 node, u64 offset) override;
  u64 window_ahead(u64 node) override;
  bool start_fetch(u64 node, u64 offset, std::span<std::byte> into, Trip& trip) override;
  Result<size_t> fetch(u64 node, u64 offset, std::span<std::byte> into) override;
  u64 fetch_start(u64 node, u64 offset) override;
  u64 fetch_end(u64 node, u64 end) override;
  u64 data_end(u64 node, u64 offset) override;
  bool needs_fetch() const override { return true; }
  Result<size_t> readlink(u64 node, std::span<char> into) override;
  Result<size_t> get_xattr(u64 node, std::string_view name, std::span<std::byte> value) override;
  Result<size_t> list_xattrs(u64 node, std::span<char> names) override;
  u64 node_limit() const override { return u64{1} << 48; }
  u64 total_bytes() const override { return total_bytes_; }
  void owner_known() override;

 private:
  abi::ImporterRequest read_request(u64 id, u64 offset, std::span<std::byte> into) const;
  struct Name {
    Name* next;  // in the bucket
    u64 id;
    u32 hash;
    u8 type;
    u8 length;
    char* text() { return reinterpret_cast<char*>(this + 1); }
    std::string_view view() { return {text(), length}; }
  };
  // All entries of a directory.
  struct Listing {
    Name** names = nullptr;  // in the image's order
    u64 count = 0;
    u64 room = 0;
    HeapArray<Name*> buckets;
  };
  struct Node {
    Node* next = nullptr;
    ImageNode info;
    u32 flags = 0;
    HeapArray<char> target;
    HeapArray<abi::ImporterExtent> extents;
    std::atomic<bool> has_extents{false};
    std::atomic<Listing*> listing{nullptr};
  };
  static constexpr u64 kBuckets = 1 << 12;

  Result<void> start();
  Result<Node*> find(u64 id);
  Node* find_locked(u64 id);
  Result<Node*> remember(const abi::ImporterInode& inode, std::string_view target);
  Result<s64> ask(Trip& trip, abi::ImporterOp op, u64 inode, u64 cursor, std::string_view name, size_t room);
  Result<Listing*> listing(u64 directory);
  Result<void> add_names(Listing& listing, Trip& trip);
  static void destroy_listing(Listing* listing);
  Result<void> load_extents(Node& node);

  bool host_;
  bool volume_;
  u32 slot_;
  u32 number_;
  u64 root_ = 0;
  u64 total_bytes_ = 0;
  bool mappable_ = false;
  u64 together_ = 0;  // bytes of a file that are compressed together, from its start on
  // Nodes and their listings are added under it and stay as long as the image.
  Mutex lock_{LockRank::kInodeChild};
  Node** nodes_ = nullptr;
};

}  // namespace teacup::fs
