// Image: the read-only tree below a memory layer, whatever its format: EROFS in a mapped file, ext4 behind
// the importer, a directory of the host's behind the broker. Nodes are known by a number; what they hold does
// not change while the machine runs (where the host changes it anyway, each answer is taken as it comes).
//
// Called with no lock held: an answer may need a trip to another process. Errors: UCLEAN for what is
// malformed, IO for what cannot be read; NOENT from lookup().
#pragma once

#include <string_view>

#include "fs/file.h"
#include "kernel/abi/time.h"

namespace teacup::fs {

struct ImageNode {
  u64 id = 0;
  u32 mode = 0;
  u32 uid = 0;
  u32 gid = 0;
  u32 nlink = 1;
  u64 rdev = 0;
  u64 size = 0;
  abi::Timespec mtime{};
};

// Content from an offset on, as far as it is of one kind.
struct ImageSpan {
  enum Kind : u8 {
    kHole,
    kMapped,  // at `data`, in an image that every process has mapped; also at host_offset of `fd`
    kFetch,   // to be had by fetch()
  };
  Kind kind = kHole;
  u64 length = 0;
  const std::byte* data = nullptr;
  int fd = -1;
  u64 host_offset = 0;
};

// After bytes of a span were used: IO if its image has been cut off, so that they were none of its.
Result<void> check_still_there(const ImageSpan& span, u64 length);

class ImageDirSink {
 public:
  // False: no room; the entry is not taken. `next`: the cursor behind it.
  virtual bool add(std::string_view name, u64 id, u8 type, u64 next) = 0;

 protected:
  ~ImageDirSink() = default;
};

class Trip;

class Image : public RefCounted<Image> {
 public:
  virtual ~Image() = default;
  static void destroy(Image* image) { delete image; }
  static void operator delete(void* block) { heap_free(block); }

  // Whether lookup() and node() are from memory, so that asking again costs little more than a cache would.
  virtual bool answers_at_once() const { return false; }
  virtual Result<ImageNode> root() = 0;
  virtual Result<ImageNode> node(u64 id) = 0;
  virtual Result<u64> lookup(u64 directory, std::string_view name) = 0;
  // From `cursor` (0: the start) on, without "." and "..".
  virtual Result<void> read_directory(u64 directory, ImageDirSink& sink, u64& cursor) = 0;
  // `offset` is below the node's size. `length` of the answer is > 0.
  virtual Result<ImageSpan> data(u64 node, u64 offset) = 0;
  // `into`, which is in the arena, may be written wherever it fails.
  virtual Result<size_t> fetch(u64 node, u64 offset, std::span<std::byte> into);
  // How many bytes start_fetch() best takes at once, from fetch_start() on; 0: it is not worth a try.
  virtual u64 window_ahead(u64 /*node*/) { return 0; }
  // Starts to, and returns: it is there when trip.finish() says so, which must be called. False: that cannot
  // be had of this image, or not now.
  virtual bool start_fetch(u64 /*node*/, u64 /*offset*/, std::span<std::byte> /*into*/, Trip& /*trip*/) {
    return false;
  }
  // From where on and up to where it costs little to fetch() when what is at `offset`, and all up to `end`,
  // is wanted: what is compressed together is best fetched together.
  virtual u64 fetch_start(u64 /*node*/, u64 offset) { return offset; }
  virtual u64 fetch_end(u64 /*node*/, u64 end) { return end; }
  // Where the next hole is from `offset` on, where data() says kFetch: not to be fetched.
  virtual u64 data_end(u64 /*node*/, u64 /*offset*/) { return ~u64{0}; }
  // Whether data() may answer kFetch at all.
  virtual bool needs_fetch() const { return false; }
  virtual Result<size_t> readlink(u64 node, std::span<char> into) = 0;
  virtual Result<size_t> get_xattr(u64 node, std::string_view name, std::span<std::byte> value);
  // Names, each with its NUL.
  virtual Result<size_t> list_xattrs(u64 node, std::span<char> names);
  // Numbers of nodes are below this: inodes made by the layer above count from here.
  virtual u64 node_limit() const = 0;
  virtual u64 total_bytes() const { return 0; }
  // set_volume_owner() was called; before, the root alone was looked at.
  virtual void owner_known() {}
};

}  // namespace teacup::fs
