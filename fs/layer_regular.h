// Regular files of the memory layer: pages in memory over extents of the image. See layer_fs.cc.
#pragma once

#include "fs/layer_fs.h"

namespace teacup::fs {

class LayerRegular final : public LayerInode {
 public:
  LayerRegular(LayerFs& layer, u64 ino, u32 mode);
  LayerRegular(LayerFs& layer, const ImageNode& below);
  ~LayerRegular() override;

  Result<void> stat(abi::Stat& stat) override;
  Result<void> set_attributes(const AttributeChange& change) override;
  Result<size_t> read(IoDest& to, u64 offset) override;
  Result<size_t> write(IoSource& from, u64 offset, bool append, u64& end) override;
  Result<void> truncate(u64 new_size) override;
  Result<void> allocate(int mode, u64 offset, u64 length) override;
  Result<u64> seek_data(u64 offset, bool hole) override;
  Result<size_t> map_pieces(u64 offset, u64 length, bool shared_writable,
                            std::span<MapPiece> pieces) override;
  Result<void> write_back(u64 offset, u64 length) override;
  void mapping_written() override;

  // Of the pages in memory, as PageStore has it.
  PageStore::Stretch stretch(u64 page, u64 max) const;

 private:
  static constexpr u64 kMaxSize = 0x7fff'ffff'ffff'f000;
  friend class Journal;
  friend class Replay;
  u64 below_end() const { return below_end_.load(std::memory_order_acquire); }
  u64 end_hint(u64 needed) const;
  Result<void> fill_from_below(u64 page, std::byte* memory, size_t from);
  Result<std::byte*> own_page_locked(u64 page);
  Result<size_t> read_absent(IoDest& to, u64 offset, size_t size);
  Result<size_t> write_locked(IoSource& from, u64 offset);
  Result<void> zero_locked(u64 start, u64 end, bool keep_pages);
  void clear_tail_locked(u64 end);
  void content_changed_locked();
  Result<size_t> map_below(u64 offset, u64 length, std::span<MapPiece> pieces, bool& usable);
  Result<size_t> map_own(u64 offset, u64 length, bool shared_writable, std::span<MapPiece> pieces);

  // --- layer_fetch.cc. `reading`: what follows may be asked for too.
  struct Fetch;
  struct Window;
  Result<void> prefetch(u64 offset, u64 length, bool reading = false);
  Result<void> fetch_window(const Window& window);
  Result<void> fetch_ahead(u64 page, u64 end);
  void make_blocks(u64 page, u64 pages, bool reads_on);
  Window window_at(u64 page, u64 end);
  bool await_page(u64 page, u64& behind);
  void await_fetch_locked(Fetch& fetch);
  void await_fetches_locked(u64 first, u64 end);
  Fetch* fetch_of_locked(u64 first, u64 end) const;
  Result<Fetch*> start_fetch_locked(u64 first, u64 pages, bool needed);
  void end_fetch_locked(Fetch& fetch, bool good);
  static void let_go_locked(Fetch& fetch);
  void end_fetches();

  void see_mapped_writes();
  void note_pages_locked(u64 offset, u64 end);
  // For --upper. The next pages from `page` on that have changed since they were last taken (`all`: ever), at
  // most `max`; false: none. Where they are may be read without the lock, as they stay as long as the inode.
  bool take_changed(u64& page, u64 max, bool all, PageStore::Stretch& found);
  bool is_mapped_writable();
  // `data` is null for zeros. ENOSPC.
  Result<void> restore_page(u64 page, const std::byte* data);
  void restore_size(u64 size, u64 below_end);

  // What is in memory. Made when the first page is; it stays as long as the inode.
  struct Content {
    explicit Content(PageBudget& budget) : pages(budget) {}
    PageStore pages;
    u64 mapped_end = 0;                    // page: shared mappings may write below it; under lock
    std::atomic<Fetch*> fetches{nullptr};  // changed under lock
    bool no_blocks = false;                // the host makes none; under lock
  };
  Content* content() const { return content_.load(std::memory_order_acquire); }
  Result<PageStore*> make_pages_locked();
  std::byte* find(u64 page) const { return stretch(page, 1).data; }
  void remove_locked(u64 first, u64 end);
  void mark_locked(u64 first, u64 end, bool dirty = true, bool present = false);

  std::atomic<Content*> content_{nullptr};
  // Content below counts up to here; truncation lowers it for good.
  std::atomic<u64> below_end_{0};
};

}  // namespace teacup::fs
