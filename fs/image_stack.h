// ImageStack: several images laid one over another, as one image. Essay in image_stack.cc.
#pragma once

#include <span>

#include "fs/image.h"
#include "kernel/frame/heap.h"
#include "kernel/sync/lock.h"

namespace teacup::fs {

class ImageStack final : public Image {
 public:
  // `images`: the lowest first, at most kMaxImages. UCLEAN: their numbers of nodes do not fit beside one
  // another.
  static Result<Ref<ImageStack>> create(std::span<Ref<Image>> images);
  ~ImageStack() override;

  bool answers_at_once() const override;
  Result<ImageNode> root() override { return node(root_); }
  Result<ImageNode> node(u64 id) override;
  Result<u64> lookup(u64 directory, std::string_view name) override;
  Result<void> read_directory(u64 directory, ImageDirSink& sink, u64& cursor) override;
  Result<ImageSpan> data(u64 node, u64 offset) override;
  Result<size_t> fetch(u64 node, u64 offset, std::span<std::byte> into) override;
  u64 window_ahead(u64 node) override;
  bool start_fetch(u64 node, u64 offset, std::span<std::byte> into, Trip& trip) override;
  u64 fetch_start(u64 node, u64 offset) override;
  u64 fetch_end(u64 node, u64 end) override;
  u64 data_end(u64 node, u64 offset) override;
  bool needs_fetch() const override;
  Result<size_t> readlink(u64 node, std::span<char> into) override;
  Result<size_t> get_xattr(u64 node, std::string_view name, std::span<std::byte> value) override;
  Result<size_t> list_xattrs(u64 node, std::span<char> names) override;
  u64 node_limit() const override { return limit_; }
  u64 total_bytes() const override;

 private:
  struct Layer {
    Ref<Image> image;
    u64 first;  // its node n is first + n of the stack
  };
  // A node of one layer; `node` is the layer's number.
  struct Part {
    u32 layer;
    u64 node;
  };
  // A directory that more than one layer has: its parts, the uppermost first.
  struct Merged {
    Merged* next;  // in the bucket
    u64 id;        // of its uppermost part
    u32 count;
    u32 links;
    Part* parts() { return reinterpret_cast<Part*>(this + 1); }
  };
  class Parts;
  class MergeSink;
  class CountSink;
  static constexpr u64 kBuckets = 1 << 10;

  Part part_of(u64 id) const;
  u64 id_of(const Part& part) const { return layers_[part.layer].first + part.node; }
  Image& image_of(const Part& part) const { return *layers_[part.layer].image; }
  Merged*& bucket_of(u64 id) { return merged_[id * 0x9e3779b97f4a7c15 >> 54 & (kBuckets - 1)]; }
  Merged* find_merged(u64 id);
  Result<u64> merge(const Parts& parts);
  Result<u64> count_links(const Parts& parts);
  void parts_of(u64 id, Parts& parts);
  Result<bool> is_opaque(const Part& directory) const;
  Result<void> add_directory(Parts& parts, const Part& directory, bool& more) const;

  HeapArray<Layer> layers_;
  u64 limit_ = 0;
  u64 root_ = 0;
  Mutex lock_{LockRank::kInodeChild};
  Merged** merged_ = nullptr;
};

}  // namespace teacup::fs
