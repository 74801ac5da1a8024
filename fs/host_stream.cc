// Large files of the host's that are read from their start to their end. Kept in pages as others are, a
// gigabyte of them costs a gigabyte of the arena, a fault and a clearing for each page on both sides of the
// ring, and a second copy: sha256sum of one took 1.9 times what it takes natively, 2.1 of its 5 s in that.
// The host has such a file in its page cache anyway. So who reads one in order gets it through a window,
// which each trip to the broker fills anew: the same pages again and again, in the processor's cache. Reading
// it twice is twice the trips; small files, maps, and reads here and there go by pages.
//
// A window holds what the host had at a version of the inode's content (Inode::version), and is used for that
// version only. While the guest itself writes to the file, the host may not have it yet: there are only pages
// then.
//
// One reader has the window; the others of the same file, if they are elsewhere in it, have pages. Locks: the
// inode's; none while asking, when the window is the asker's alone.
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
  PageRun run;
  u64 start = 0;  // what it holds, bytes of the file
  u64 end = 0;
  u64 version = 0;

  static Stream* create() {
    constexpr u64 kPages = kWindow / kPageSize;
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
    uncommit_pages(run.pages);
    release_run(run);
    teacup::destroy(this);
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
    if (stream_ != nullptr && stream_->end >= size.load()) stream = std::exchange(stream_, nullptr);
  }
  if (stream != nullptr) stream->destroy();
}

// Whether `offset` may be read through the window: it is in it or right behind, or who begins takes it.
bool HostInode::is_streamed_locked(u64 offset) const {
  if (size.load() < kStreamed || mapped_writable_ || writing_ != 0 || has_observers()) return false;
  if (pages_.find(offset >> kPageShift) != nullptr) return false;
  return offset == 0 || (stream_ != nullptr && offset >= stream_->start && offset <= stream_->end);
}

// Of the window, if it holds `offset`; 0: it does not.
Result<size_t> HostInode::copy_stream_locked(IoDest& to, u64 offset, u64 wanted) const {
  if (stream_ == nullptr || stream_->version != version.load(std::memory_order_acquire)) return size_t{0};
  if (offset < stream_->start || offset >= stream_->end) return size_t{0};
  const auto* bytes = reinterpret_cast<const std::byte*>(stream_->run.address());
  return to.put(bytes + (offset - stream_->start), std::min(wanted, stream_->end - offset));
}

Result<void> HostInode::fill_stream(Stream& stream, u64 offset) const {
  stream.version = version.load(std::memory_order_acquire);
  stream.start = stream.end = offset;
  u64 end = size.load();
  if (offset >= end) return {};
  abi::HostFileRequest asked = request(abi::HostFileOp::kRead);
  asked.cursor = offset;
  asked.length = std::min(kWindow, end - offset);
  asked.data_offset = stream.run.offset;
  u64 came = static_cast<u64>(TRY(simple(asked)));
  stream.end += std::min(came, asked.length);
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
