// Large files of the host's that are read from their start to their end. Kept in pages as others are, a
// gigabyte of them costs a gigabyte of the arena, a fault and a clearing for each page on both sides of the
// ring, and a second copy: sha256sum of one took 1.9 times what it takes natively, 2.1 of its 5 s in that.
// The host has such a file in its page cache anyway. So who reads one in order gets it through a window,
// which each trip to the broker fills anew: the same pages again and again, in the processor's cache. Reading
// it twice is twice the trips; small files, maps, and reads here and there go by pages.
//
// There are two windows: once somebody has come to the end of one, the next is filled while he is in this.
//
// A window holds what the host had at a version of the inode's content (Inode::version), and is used for that
// version only. While the guest itself writes to the file, the host may not have it yet: there are only pages
// then.
//
// One reader has the windows; the others of the same file, if they are elsewhere in it, have pages. Locks:
// the inode's; none while asking, when the windows are the asker's alone.
#include <algorithm>
#include <utility>

#include "fs/host_fs.h"
#include "kernel/frame/heap.h"

namespace teacup::fs {

namespace {
constexpr u64 kStreamed = 8 * MiB;  // smaller files are worth their pages
constexpr u64 kWindow = 512 * KiB;
}  // namespace

struct HostInode::Stream {
  struct Window {
    u64 start = 0;  // what it holds, bytes of the file
    u64 end = 0;
    u64 version = 0;
  };
  PageRun run;
  Window windows[2];
  u32 now = 0;             // the one that is read
  bool is_coming = false;  // the other: `trip` fills it
  Trip trip;

  Window& here() { return windows[now]; }
  const Window& here() const { return windows[now]; }
  u64 offset_of(u32 window) const { return run.offset + window * kWindow; }

  static Stream* create() {
    constexpr u64 kPages = 2 * kWindow / kPageSize;
    if (!commit_pages(kPages)) return nullptr;
    auto run = allocate_run(kPages);
    auto made = run.ok() ? make<Stream>() : Result<Stream*>(Errno::NOMEM);
    if (!made.ok()) {
      if (run.ok()) release_run(run.value(), 0);
      uncommit_pages(kPages);
      return nullptr;
    }
    made.value()->run = run.value();
    return made.value();
  }
  void destroy() {
    land();
    uncommit_pages(run.pages);
    release_run(run);
    teacup::destroy(this);
  }
  // What is coming has come, or failed, and then is empty.
  void land() {
    if (!is_coming) return;
    is_coming = false;
    Window& other = windows[1 - now];
    auto came = trip.finish();
    other.end =
        other.start + (came.ok() ? std::min(static_cast<u64>(came.value()), other.end - other.start) : 0);
  }
};

// Of an inode that nobody else knows.
void HostInode::end_stream() {
  if (stream_ != nullptr) std::exchange(stream_, nullptr)->destroy();
}

// Somebody has come to the file's end.
void HostInode::end_read_stream() {
  Stream* stream = nullptr;
  {
    LockGuard guard(lock);
    if (stream_ != nullptr && stream_->here().end >= size.load()) stream = std::exchange(stream_, nullptr);
  }
  if (stream != nullptr) stream->destroy();
}

// Whether `offset` may be read through the window: it is in it or right behind, or who begins takes it.
bool HostInode::is_streamed_locked(u64 offset) const {
  if (size.load() < kStreamed || mapped_writable_ || writing_ != 0 || has_observers()) return false;
  if (pages_.find(offset >> kPageShift) != nullptr) return false;
  if (offset == 0 || stream_ == nullptr) return offset == 0;
  const Stream::Window& here = stream_->here();
  return offset >= here.start && offset <= here.end;
}

// Of the window, if it holds `offset`; 0: it does not.
Result<size_t> HostInode::copy_stream_locked(IoDest& to, u64 offset, u64 wanted) const {
  if (stream_ == nullptr) return size_t{0};
  const Stream::Window& here = stream_->here();
  if (here.version != version.load(std::memory_order_acquire) || offset < here.start || offset >= here.end) {
    return size_t{0};
  }
  const auto* bytes = reinterpret_cast<const std::byte*>(kArenaBase + stream_->offset_of(stream_->now));
  return to.put(bytes + (offset - here.start), std::min(wanted, here.end - offset));
}

// The request that fills the window behind the one that is read, and that window, as if it were full.
abi::HostFileRequest HostInode::ask_window(Stream& stream, u64 offset) const {
  u32 other = 1 - stream.now;
  u64 now_version = version.load(std::memory_order_acquire);
  u64 length = std::min(kWindow, std::max(size.load(), offset) - offset);
  stream.windows[other] = {offset, offset + length, now_version};
  abi::HostFileRequest asked = request(abi::HostFileOp::kRead);
  asked.cursor = offset;
  asked.length = length;
  asked.data_offset = stream.offset_of(other);
  return asked;
}

// What is at `offset` is in the window that is read afterwards, if the file is that long, and what is behind
// it on its way, if somebody came from before.
Result<void> HostInode::fill_stream(Stream& stream, u64 offset) const {
  stream.land();
  const Stream::Window& other = stream.windows[1 - stream.now];
  bool has_come =
      other.version == version.load(std::memory_order_acquire) && offset >= other.start && offset < other.end;
  bool reads_on = has_come || (offset != 0 && offset == stream.here().end);
  if (!has_come) {
    abi::HostFileRequest asked = ask_window(stream, offset);
    auto came = asked.length > 0 ? simple(asked) : Result<s64>(0);
    stream.windows[1 - stream.now].end =
        offset + (came.ok() ? std::min(static_cast<u64>(came.value()), asked.length) : 0);
    TRY(came);
  }
  stream.now = 1 - stream.now;
  if (u64 next = stream.here().end; reads_on && next < size.load()) {
    abi::HostFileRequest asked = ask_window(stream, next);
    stream.is_coming = stream.trip.start_host(asked);
    if (!stream.is_coming) stream.windows[1 - stream.now].end = next;
  }
  return {};
}

Result<size_t> HostInode::read_stream(IoDest& to, u64 offset, u64 wanted) {
  Stream* stream;
  {
    LockGuard guard(lock);
    if (!is_streamed_locked(offset)) return size_t{0};
    if (size_t copied = TRY(copy_stream_locked(to, offset, wanted)); copied > 0) return copied;
    stream = std::exchange(stream_, nullptr);
  }
  if (stream == nullptr) stream = Stream::create();
  if (stream == nullptr) return size_t{0};
  auto filled = fill_stream(*stream, offset);
  {
    LockGuard guard(lock);
    // Not what the guest has been writing meanwhile.
    if (filled.ok() && stream_ == nullptr && writing_ == 0) {
      stream_ = stream;
      return copy_stream_locked(to, offset, wanted);
    }
  }
  stream->destroy();
  TRY(filled);
  return size_t{0};
}

}  // namespace teacup::fs
