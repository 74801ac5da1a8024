// Text: the patched text of one executable file, prepared once and shared by every process that maps it
// (DESIGN 5): the blob that the broker's rewriter made (kernel/abi/prepared.h), patched copies of parts of
// the executable segments (kernel/abi/stored_text.h says which), and the trampolines. For executables of an
// image all that lies in the store of texts, for all machines; for others it is made here, in frames of the
// arena.
//
// The cache is keyed by inode and content version: the entry hangs on the inode, and one whose version is
// stale is replaced. Two processes that prepare the same file at once: one does it, the other waits.
//
// Locks: the inode's (kInode) for its cache entry, never held over a request to the broker.
#pragma once

#include <optional>

#include "fs/file.h"
#include "kernel/abi/prepared.h"
#include "kernel/abi/stored_text.h"
#include "kernel/base/ref.h"
#include "kernel/frame/pages.h"

namespace teacup::mm {

class Text : public RefCounted<Text> {
 public:
  static void destroy(Text* text);
  ~Text();

  const abi::PreparedView& view() const { return *view_; }
  const abi::PreparedHeader& header() const { return view_->header(); }
  u64 trampoline_offset() const { return header().trampoline_offset; }
  u64 trampoline_length() const { return page_up(header().trampoline_size); }

  // Bytes for the host to map, and where the kernel itself sees them.
  struct Source {
    int fd = 0;
    u64 offset = 0;
    u64 address = 0;
  };
  const Source& trampolines() const { return trampolines_; }

  // How many bytes from file_offset on (of length) lie in an executable segment that has patches; 0: none, or
  // not from there on.
  u64 covered(u64 file_offset, u64 length) const;
  // Object offset of a byte that is covered.
  u64 object_offset(u64 file_offset) const;
  // Pages with patches: file offsets, and what stands for them.
  struct Patched {
    u64 low = 0;
    u64 high = 0;
    Source source;
  };
  // What the file has where `patch` lies.
  const u8* original(const abi::PreparedPatch& patch) const {
    return reinterpret_cast<const u8*>(originals_) + patch.bytes;
  }
  // The patched text around a patch, up to `distance` bytes on both sides; `before` receives how many there
  // are before it. Empty if the patch was not laid.
  std::span<const u8> around(const abi::PreparedPatch& patch, u64 distance, u64& before) const;
  // Whether one of the patches' long jumps leads to this object offset. Looks at all of them.
  bool is_jumped_to(u64 offset) const;
  // The distances of all long jumps in patches lie between these, which are included; see copied_text.cc.
  s32 nearest_jump() const { return nearest_jump_; }
  s32 furthest_jump() const { return furthest_jump_; }
  // The first such range that ends above file_offset; null behind the last.
  const Patched* patched_from(u64 file_offset) const;

 private:
  friend class TextMaker;

  const abi::PreparedSegment* segment_at(u64 file_offset) const;

  u64 originals_ = 0;  // address: as the blob's patch bytes are laid out
  Source trampolines_;
  s32 nearest_jump_ = 0x7fffffff;
  s32 furthest_jump_ = 0;
  Patched patched_[abi::kMaxTextRanges];  // by file offset
  u32 patched_count_ = 0;

  // What of it lies in the arena: the blob if it is not the store's, and what was made of it here.
  PageRun blob_;
  u64 blob_pages_ = 0;  // of it in use
  PageRun made_;        // originals, trampolines and patched pages, one behind the other
  u64 committed_ = 0;   // pages
  std::optional<abi::PreparedView> view_;
};

// The patched text of `file`, or null: not an executable object, nothing to patch in it, patching is off, or
// there is no memory for it. Asks the broker the first time. No lock held.
Ref<Text> text_of(fs::File& file);

// Whether executable mappings are to be copies of their own, for profilers (anonymous_text.cc).
bool text_is_anonymous();

// Once, by the template. `rewrite` false (--mode trap): text_of() always gives null. `prepare_flags`:
// abi::PrepareFlags.
Result<void> text_cache_start(bool rewrite, u32 prepare_flags);

}  // namespace teacup::mm
