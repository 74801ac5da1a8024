// Text: the patched text of one executable file, prepared once and shared by every process that maps it
// (DESIGN 5). Holds the blob that the broker's rewriter made (kernel/abi/prepared.h), the frames of each
// executable segment with the patches laid over them, and the frames of the trampolines.
//
// The cache is keyed by inode and content version: the entry hangs on the inode, and one whose version is
// stale is replaced. Two processes that prepare the same file at once: one does it, the other waits.
//
// Locks: the inode's (kInode) for its cache entry, never held over a request to the broker.
#pragma once

#include <optional>

#include "fs/file.h"
#include "kernel/abi/prepared.h"
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
  u64 trampoline_run() const { return trampolines_.offset; }

  // How many bytes from file_offset on (of length) have patched frames; 0: none, or not from there on.
  u64 covered(u64 file_offset, u64 length) const;
  // The frames that stand for [file_offset, +length) of the file (page aligned): an arena offset, and the
  // object offset of the first byte. Nothing unless one executable segment holds the whole range.
  struct Frames {
    u64 arena_offset;
    u64 object_offset;
  };
  std::optional<Frames> frames(u64 file_offset, u64 length) const;

 private:
  friend class TextMaker;

  static constexpr u32 kMaxSegments = 8;

  PageRun blob_;
  u64 blob_pages_ = 0;  // of it in use
  PageRun trampolines_;
  PageRun segments_[kMaxSegments];  // empty for one without patches
  u64 committed_ = 0;               // pages
  std::optional<abi::PreparedView> view_;
};

// The patched text of `file`, or null: not an executable object, nothing to patch in it, patching is off, or
// there is no memory for it. Asks the broker the first time. No lock held.
Ref<Text> text_of(fs::File& file);

// Once, by the template. `rewrite` false (--mode trap): text_of() always gives null.
Result<void> text_cache_start(bool rewrite);

}  // namespace teacup::mm
