#include "kernel/mm/text.h"

#include <algorithm>
#include <iterator>

#include "fs/inode.h"
#include "kernel/abi/boot.h"
#include "kernel/abi/debug.h"
#include "kernel/abi/prepare.h"
#include "kernel/abi/stats.h"
#include "kernel/base/memory.h"
#include "kernel/frame/heap.h"
#include "kernel/frame/huge_page_price.h"
#include "kernel/mm/address_space.h"
#include "kernel/mm/elf_layout.h"
#include "kernel/sync/doorbell.h"
#include "kernel/sync/wait.h"

namespace teacup::mm {

namespace {

class Reader final : public fs::MapObserver {
 public:
  void pages_changed(u64, u64) override {}
};

// What the kernel keeps about text as a whole.
struct Memory {
  bool rewrite = false;
  u32 prepare_flags = 0;  // abi::PrepareFlags
  bool anonymous = false;
  WaitQueue prepared;  // some entry became ready
};

// The cache entry of an inode: its Inode::text.
class TextEntry final : public fs::Attachment {
 public:
  explicit TextEntry(u64 version) : version(version) {}

  const u64 version;
  std::atomic<bool> ready{false};
  Ref<Text> text;  // once ready; null: nothing to patch
};

// As block_on(), but only the end of the process interrupts it. False: it did.
template <typename Attempt>
bool wait_until(WaitQueue& queue, Attempt attempt) {
  WaitEntry& entry = current_core().wait_entries[0];
  for (;;) {
    queue.add(entry, ~u32{0});
    bool done = attempt().ok();
    Woken woken = done ? Woken::kNews : park("another task to prepare a program", kNoDeadline, false);
    WaitQueue::remove(entry);
    if (done) return true;
    if (woken == Woken::kInterrupted) return false;
  }
}

}  // namespace

// Makes the Text of one file: asks the broker for the plan, lays it over copies of the file's pages.
class TextMaker {
 public:
  explicit TextMaker(fs::File& file, u64 size) : file_(file), size_(size) {}

  Result<Ref<Text>> make_text() {
    text_ = TRY(make_ref<Text>());
    TRY(ask());
    count();
    if (stored_ != nullptr) {
      use_stored();
    } else {
      const abi::TextRanges ranges = abi::TextRanges::choose(text_->view(), size_);
      if (ranges.all().empty()) return Ref<Text>();
      TRY(lay(ranges));
    }
    for (const abi::PreparedPatch& patch : text_->view().patches()) note_jump(text_->view().bytes_of(patch));
    return text_;
  }

 private:
  // For --stats.
  void count() const {
    auto& stats = abi::machine_stats();
    stats.files_prepared.fetch_add(1, std::memory_order_relaxed);
    for (const abi::PreparedSite& site : text_->view().sites()) {
      if (site.kind == abi::kSiteSyscall && site.tactic < std::size(stats.sites_by_tactic)) {
        stats.sites_by_tactic[site.tactic].fetch_add(1, std::memory_order_relaxed);
      }
      if (site.kind == abi::kSiteCpuid && site.tactic != abi::kTacticNet) {
        stats.cpuid_sites.fetch_add(1, std::memory_order_relaxed);
      }
    }
    stats.sites_left.fetch_add(text_->header().net_sites, std::memory_order_relaxed);
  }

  // Room in a sparse run costs address space only, so both buffers are sized for the worst.
  Result<void> ask() {
    constexpr u64 kInputSize = sizeof(abi::PrepareInput) + abi::kMaxPreparePieces * sizeof(abi::PreparePiece);
    PageRun input = TRY(allocate_run(page_up(kInputSize) / kPageSize));
    auto* request = reinterpret_cast<abi::PrepareInput*>(input.address());
    *request = {size_, root<Memory>(Root::kMemory)->prepare_flags, 0, 0};
    // As a mapping would be: what the broker looks at is not dropped meanwhile.
    Reader* reader = TRY(make<Reader>());
    if (auto observed = file_.inode()->add_observer(*reader); !observed.ok()) {
      teacup::destroy(reader);
      release_run(input);
      return observed;
    }
    Result<void> asked = describe(*request);
    u64 input_size = sizeof(*request) + request->piece_count * sizeof(abi::PreparePiece);
    if (asked.ok()) {
      const abi::ForeseenText* foreseen = find_foreseen(*request);
      asked = foreseen != nullptr ? take_foreseen(*foreseen) : ask_broker(input, input_size);
    }
    file_.inode()->remove_observer(*reader);
    teacup::destroy(reader);
    release_run(input, page_up(input_size) / kPageSize);
    return asked;
  }

  Result<void> describe(abi::PrepareInput& request) {
    auto* pieces = const_cast<abi::PreparePiece*>(pieces_of(request));
    u64 at = 0;
    while (at < size_) {
      fs::MapPiece some[16];
      size_t count = TRY(file_.map_pieces(at, page_up(size_) - at, false, some));
      if (count == 0) return Errno::IO;
      for (size_t i = 0; i < count; i++) {
        if (request.piece_count == abi::kMaxPreparePieces || some[i].fd < 0) return Errno::NOEXEC;
        pieces[request.piece_count++] = {some[i].fd, 0, some[i].host_offset, some[i].length};
        at += some[i].length;
      }
    }
    return {};
  }

  static const abi::PreparePiece* pieces_of(const abi::PrepareInput& request) {
    return reinterpret_cast<const abi::PreparePiece*>(&request + 1);
  }

  // Null: the broker has to be asked.
  static const abi::ForeseenText* find_foreseen(const abi::PrepareInput& request) {
    u64 at = kArenaBase + arena().foreseen_offset, end = at + arena().foreseen_size;
    while (at < end) {
      const auto* known = reinterpret_cast<const abi::ForeseenText*>(at);
      if (end - at < sizeof *known || known->size > end - at || !known->is_sound()) return nullptr;
      if (answers(*known, request)) return known;
      at += known->size;
    }
    return nullptr;
  }

  static bool answers(const abi::ForeseenText& known, const abi::PrepareInput& request) {
    if (known.input.file_size != request.file_size || known.input.flags != request.flags ||
        known.input.piece_count != request.piece_count) {
      return false;
    }
    const auto* record = reinterpret_cast<const u8*>(&known);
    const auto* pieces = reinterpret_cast<const abi::PreparePiece*>(record + known.pieces());
    const u8* tail = record + known.tail();
    for (u32 i = 0; i < request.piece_count; i++) {
      const abi::PreparePiece& wanted = pieces_of(request)[i];
      if (pieces[i].fd != wanted.fd || pieces[i].length != wanted.length) return false;
      if (wanted.fd != kArenaFd) {
        if (pieces[i].host_offset != wanted.host_offset) return false;
        continue;
      }
      if (wanted.length > static_cast<u64>(record + known.tail() + known.tail_size - tail)) return false;
      if (memcmp(tail, reinterpret_cast<const void*>(kArenaBase + wanted.host_offset), wanted.length) != 0)
        return false;
      tail += wanted.length;
    }
    return true;
  }

  Result<void> take_foreseen(const abi::ForeseenText& known) {
    abi::machine_stats().files_foreseen.fetch_add(1, std::memory_order_relaxed);
    if (known.input.stored != 0) return find_stored(known.input.stored);
    const auto* record = reinterpret_cast<const std::byte*>(&known);
    text_->view_ = abi::PreparedView::create({record + known.plan(), static_cast<size_t>(known.plan_size)});
    if (!text_->view_ || text_->view_->patched()) return Errno::IO;
    return {};
  }

  Result<void> ask_broker(const PageRun& input, u64 input_size) {
    u64 room = page_up(MiB + size_ / 4);
    for (;;) {
      PageRun output = TRY(allocate_run(room / kPageSize));
      s64 answer = ring_call(abi::RingOp::kPrepare, input.offset, input_size, output.offset, output.bytes());
      u64 stored = reinterpret_cast<const abi::PrepareInput*>(input.address())->stored;
      if (answer > 0 && stored != 0) {
        release_run(output, 0);
        return find_stored(stored);
      }
      if (answer > 0 && static_cast<u64>(answer) <= output.bytes()) {
        text_->blob_ = output;
        text_->blob_pages_ = page_up(static_cast<u64>(answer)) / kPageSize;
        text_->view_ = abi::PreparedView::create(
            {reinterpret_cast<const std::byte*>(output.address()), static_cast<size_t>(answer)});
        if (!text_->view_) return Errno::IO;
        return {};
      }
      release_run(output, 0);
      if (answer <= 0) return answer == 0 ? Errno::IO : static_cast<Errno>(-answer);
      room = page_up(static_cast<u64>(answer));
    }
  }

  Result<void> find_stored(u64 offset) {
    const auto* stored = reinterpret_cast<const abi::StoredText*>(kTextStoreBase + offset);
    if (stored->magic != abi::kStoredTextMagic || stored->range_count > abi::kMaxTextRanges) return Errno::IO;
    text_->view_ = abi::PreparedView::create(
        {reinterpret_cast<const std::byte*>(stored) + stored->blob, static_cast<size_t>(stored->blob_size)});
    if (!text_->view_) return Errno::IO;
    stored_ = stored;
    return {};
  }

  void use_stored() {
    auto source = [this](u64 place) {
      u64 address = reinterpret_cast<u64>(stored_) + place;
      return Text::Source{static_cast<int>(arena().text_store_fd), address - kTextStoreBase, address};
    };
    text_->originals_ = source(stored_->originals).address;
    text_->trampolines_ = source(stored_->trampolines);
    text_->patched_count_ = stored_->range_count;
    for (u32 i = 0; i < stored_->range_count; i++) {
      text_->patched_[i] = {stored_->ranges[i].low, stored_->ranges[i].high, source(stored_->text[i])};
    }
  }

  // In frames of the arena.
  Result<void> lay(const abi::TextRanges& ranges) {
    u64 originals = page_up(std::max<u64>(text_->header().bytes.count, 1));
    u64 length = originals + text_->trampoline_length() + ranges.bytes();
    if (!commit_pages(length / kPageSize)) return Errno::NOMEM;
    text_->committed_ = length / kPageSize;
    text_->made_ = TRY(allocate_run(length / kPageSize));
    u64 at = text_->made_.offset;
    auto take = [&at](u64 size) {
      Text::Source source{kArenaFd, at, kArenaBase + at};
      at += size;
      return source;
    };
    text_->originals_ = take(originals).address;
    text_->trampolines_ = take(text_->trampoline_length());
    auto code = text_->view().trampolines();
    memcpy(reinterpret_cast<void*>(text_->trampolines_.address), code.data(), code.size());
    for (const abi::TextRange& range : ranges.all()) {
      text_->patched_[text_->patched_count_++] = {range.low, range.high, take(range.high - range.low)};
      TRY(fill(range, text_->patched_[text_->patched_count_ - 1].source.address));
    }
    return {};
  }

  // The file's pages, with the patches that lie in them.
  Result<void> fill(const abi::TextRange& range, u64 address) {
    u64 length = std::min(size_, range.high) - range.low;
    auto* bytes = reinterpret_cast<u8*>(address);
    // One host call for what would be 430 faults for libc. Where the host cannot (before Linux 5.14), they
    // are.
    (void)gate::advise(address, page_up(length), abi::kMADV_POPULATE_WRITE);
    if (!read_exactly(file_, range.low, bytes, length)) return Errno::IO;
    for (const abi::PreparedPatch& patch : text_->view().patches()) {
      if (!abi::holds(range, patch)) continue;
      auto patched = text_->view().bytes_of(patch);
      u8* at = bytes + (patch.file_offset - range.low);
      memcpy(const_cast<u8*>(text_->original(patch)), at, patched.size());
      memcpy(at, patched.data(), patched.size());
    }
    return {};
  }

  void note_jump(std::span<const u8> patched) {
    if (patched.size() < 5 || patched[0] != 0xe9) return;
    s32 distance;
    memcpy(&distance, patched.data() + 1, sizeof distance);
    text_->nearest_jump_ = std::min(text_->nearest_jump_, distance);
    text_->furthest_jump_ = std::max(text_->furthest_jump_, distance);
  }

  fs::File& file_;
  u64 size_;
  Ref<Text> text_;
  const abi::StoredText* stored_ = nullptr;  // of text_, if the broker has it in the store
};

void Text::destroy(Text* text) {
  teacup::destroy(text);
}

Text::~Text() {
  release_run(made_);
  release_run(blob_, blob_pages_);
  uncommit_pages(committed_);
}

const abi::PreparedSegment* Text::segment_at(u64 file_offset) const {
  for (const abi::PreparedSegment& segment : view().segments()) {
    abi::TextRange range = abi::pages_of(segment);
    if (file_offset >= range.low && file_offset < range.high) return &segment;
  }
  return nullptr;
}

u64 Text::covered(u64 file_offset, u64 length) const {
  const abi::PreparedSegment* segment = segment_at(file_offset);
  if (segment == nullptr) return 0;
  abi::TextRange range = abi::pages_of(*segment);
  const Patched* patched = patched_from(range.low);
  if (patched == nullptr || patched->low >= range.high) return 0;
  return std::min(length, range.high - file_offset);
}

u64 Text::object_offset(u64 file_offset) const {
  const abi::PreparedSegment* segment = segment_at(file_offset);
  return segment == nullptr ? 0 : segment->offset + (file_offset - segment->file_offset);
}

std::span<const u8> Text::around(const abi::PreparedPatch& patch, u64 distance, u64& before) const {
  const Patched* range = patched_from(patch.file_offset);
  u64 end = patch.file_offset + patch.length;
  if (range == nullptr || patch.file_offset < range->low || end > range->high) return {};
  before = std::min(distance, patch.file_offset - range->low);
  u64 after = std::min(distance, range->high - end);
  const auto* bytes = reinterpret_cast<const u8*>(range->source.address);
  return {bytes + (patch.file_offset - before - range->low), before + patch.length + after};
}

bool Text::is_jumped_to(u64 offset) const {
  constexpr size_t kLongJump = 5;
  for (const abi::PreparedPatch& patch : view().patches()) {
    auto bytes = view().bytes_of(patch);
    // An evicted run's jump has another behind it.
    for (size_t at = 0; at + kLongJump <= bytes.size() && bytes[at] == 0xe9; at += kLongJump) {
      s32 distance;
      memcpy(&distance, bytes.data() + at + 1, sizeof distance);
      if (patch.offset + at + kLongJump + static_cast<u64>(static_cast<s64>(distance)) == offset) return true;
    }
  }
  return false;
}

const Text::Patched* Text::patched_from(u64 file_offset) const {
  for (u32 i = 0; i < patched_count_; i++) {
    if (patched_[i].high > file_offset) return &patched_[i];
  }
  return nullptr;
}

Ref<Text> text_of(fs::File& file) {
  auto* memory = root<Memory>(Root::kMemory);
  fs::Inode* inode = file.inode();
  if (memory == nullptr || !memory->rewrite || inode == nullptr || !inode->is_regular()) return nullptr;
  auto extras = inode->make_extras();
  if (!extras.ok()) return nullptr;
  Ref<TextEntry> entry;
  bool is_maker = false;
  {
    LockGuard guard(inode->lock);
    u64 version = inode->version.load(std::memory_order_acquire);
    auto* present = static_cast<TextEntry*>(extras.value()->text.get());
    if (present != nullptr && present->version == version) {
      entry = Ref<TextEntry>::share(present);
    } else {
      auto made = make_ref<TextEntry>(version);
      if (!made.ok()) return nullptr;
      entry = std::move(made).value();
      extras.value()->text = entry;
      is_maker = true;
    }
  }
  if (is_maker) {
    u64 size = inode->size.load(std::memory_order_relaxed);
    if (size <= abi::kMaxPreparedFile && has_text(file)) {
      auto text = TextMaker(file, size).make_text();
      // Without memory or with a broker that refuses, the file stays unpatched: the net serves it.
      if (text.ok()) entry->text = std::move(text).value();
    }
    entry->ready.store(true, std::memory_order_release);
    memory->prepared.wake_all();
    return entry->text;
  }
  auto attempt = [&]() -> Result<void> {
    if (!entry->ready.load(std::memory_order_acquire)) return Errno::AGAIN;
    return {};
  };
  // A dying task gives up; the map it makes will not be used.
  if (!attempt().ok() && !wait_until(memory->prepared, attempt)) return nullptr;
  return entry->text;
}

Result<void> text_cache_start(bool rewrite, u32 prepare_flags) {
  auto* memory = TRY(make<Memory>());
  memory->prepare_flags = prepare_flags;
  memory->rewrite = rewrite;
  set_root(Root::kMemory, memory);
  return {};
}

bool text_is_anonymous() {
  auto* memory = root<Memory>(Root::kMemory);
  return memory != nullptr && memory->anonymous;
}

Result<void> mm_start() {
  const abi::BootConfig& config = abi::boot_config();
  TRY(text_cache_start(config.mode == abi::InterceptMode::kRewrite, config.prepare_flags));
  root<Memory>(Root::kMemory)->anonymous = (config.debug & abi::kDebugAnonymousText) != 0;
  return huge_pages_start();
}

}  // namespace teacup::mm
