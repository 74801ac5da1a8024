#include "host/broker/prepare.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "host/broker/arena_bounds.h"
#include "host/broker/prepared_cache.h"
#include "kernel/abi/prepare.h"
#include "kernel/abi/prepared.h"
#include "kernel/base/arena_header.h"
#include "rewrite/prepare.h"

namespace teacup::host {

namespace {

// What a buffer of the guest side may span: the data part of the arena.
bool is_run(u64 offset, u64 length) {
  return offset >= kPagesOffset && in_arena(offset, length);
}

struct Request {
  abi::PrepareInput input;
  std::vector<abi::PreparePiece> pieces;
  // The bytes of the pieces in the arena, in order, where that is no more than a file's tail beside an
  // image's extents. What the key is made of must be what is planned for, and the guest could change the
  // arena between the two.
  std::vector<std::byte> tail;
};

constexpr u64 kMaxTail = 64 * KiB;

bool copy_request(u64 offset, u64 size, Request& request) {
  if (!is_run(offset, size) || size < sizeof(request.input)) return false;
  std::memcpy(&request.input, &arena_at<std::byte>(offset), sizeof(request.input));
  if (request.input.file_size > abi::kMaxPreparedFile) return false;
  if (request.input.piece_count > abi::kMaxPreparePieces) return false;
  u64 pieces_size = request.input.piece_count * sizeof(abi::PreparePiece);
  if (size - sizeof(request.input) < pieces_size) return false;
  request.pieces.resize(request.input.piece_count);
  std::memcpy(request.pieces.data(), &arena_at<std::byte>(offset + sizeof(request.input)), pieces_size);
  u64 in_arena = 0;
  for (const abi::PreparePiece& piece : request.pieces) {
    if (piece.fd != kArenaFd) continue;
    if (!is_run(piece.host_offset, piece.length)) return false;
    in_arena += piece.length;
    if (in_arena > kMaxTail) break;
  }
  if (in_arena > kMaxTail) return true;
  for (const abi::PreparePiece& piece : request.pieces) {
    if (piece.fd != kArenaFd) continue;
    const std::byte* bytes = &arena_at<std::byte>(piece.host_offset);
    request.tail.insert(request.tail.end(), bytes, bytes + piece.length);
  }
  return true;
}

bool read_image(int fd, u64 size, u64 offset, std::byte* into, u64 length) {
  while (length > 0) {
    ssize_t count = pread(fd, into, length, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    if (count == 0) {
      // The image's last page is not a whole one; before it, somebody has cut the file off.
      std::memset(into, 0, length);
      return offset >= size;
    }
    into += count;
    offset += static_cast<u64>(count);
    length -= static_cast<u64>(count);
  }
  return true;
}

// By its guest-side descriptor; null: there is none.
const Image* image_of(std::span<const Image> images, s32 fd) {
  if (fd < kFirstImageFd || static_cast<std::size_t>(fd - kFirstImageFd) >= images.size()) return nullptr;
  return &images[static_cast<std::size_t>(fd - kFirstImageFd)];
}

struct Free {
  void operator()(void* block) const { std::free(block); }
};
using Buffer = std::unique_ptr<std::byte, Free>;

// In huge pages where the host has them, and not written to: a compiler's 30 MB take 8 000 faults otherwise.
Buffer allocate(u64 size) {
  constexpr u64 kHuge = 2 * MiB;
  u64 whole = align_up(std::max<u64>(size, 1), kHuge);
  Buffer buffer(static_cast<std::byte*>(std::aligned_alloc(kHuge, whole)));
  if (!buffer) throw std::bad_alloc();
  madvise(buffer.get(), whole, MADV_HUGEPAGE);
  return buffer;
}

// The file's bytes, from its pieces. A copy: the guest can change the arena while the rewriter reads.
s64 read_file(std::span<const Image> images, const Request& request, std::span<std::byte> file) {
  u64 at = 0, in_tail = 0;
  for (const abi::PreparePiece& piece : request.pieces) {
    if (at == file.size()) break;
    u64 length = std::min<u64>(piece.length, file.size() - at);
    if (piece.fd == kArenaFd && !request.tail.empty()) {
      std::memcpy(file.data() + at, request.tail.data() + in_tail, length);
      in_tail += piece.length;
    } else if (piece.fd == kArenaFd) {
      if (!is_run(piece.host_offset, length)) return -EINVAL;
      std::memcpy(file.data() + at, &arena_at<std::byte>(piece.host_offset), length);
    } else if (const Image* image = image_of(images, piece.fd); image != nullptr) {
      if (piece.host_offset > image->size) return -EINVAL;
      if (!read_image(image->fd, image->size, piece.host_offset, file.data() + at, length)) return -EIO;
    } else {
      return -EINVAL;
    }
    at += length;
  }
  return at == file.size() ? 0 : -EINVAL;
}

const std::string& command_identity() {
  static const std::string identity = [] {
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    std::string text = file_identity(fd);
    close(fd);
    return text;
  }();
  return identity;
}

// The plan's key in the cache: empty if it is not to be kept.
std::string cache_key(std::span<const Image> images, const Request& request) {
  const std::string& self = command_identity();
  if (self.empty()) return {};
  std::string key = self + "|";
  s32 last = -1;
  auto append = [&key](const void* data, size_t size) { key.append(static_cast<const char*>(data), size); };
  append(&abi::kPreparedVersion, sizeof abi::kPreparedVersion);
  append(&request.input, sizeof request.input);
  for (const abi::PreparePiece& piece : request.pieces) {
    const Image* image = image_of(images, piece.fd);
    if (image == nullptr && (piece.fd != kArenaFd || request.tail.empty())) return {};
    // A file lies in one image; which of the machine's that is does not matter.
    if (image != nullptr && piece.fd != last) {
      std::string identity = file_identity(image->fd);
      if (identity.empty()) return {};
      key += identity + "|";
      last = piece.fd;
    }
    u64 place[3] = {image != nullptr, image == nullptr ? 0 : piece.host_offset, piece.length};
    append(place, sizeof place);
  }
  append(request.tail.data(), request.tail.size());
  return key;
}

// The file's bytes, and how many.
struct Content {
  Buffer buffer;
  std::span<std::byte> bytes;
};

s64 read_content(std::span<const Image> images, const Request& request, Content& content) {
  content.buffer = allocate(request.input.file_size);
  content.bytes = {content.buffer.get(), request.input.file_size};
  return read_file(images, request, content.bytes);
}

std::vector<std::byte> plan(const abi::PrepareInput& input, std::span<const std::byte> file) {
  rewrite::Options options;
  options.patch_cpuid = (input.flags & abi::kPrepareCpuid) != 0;
  options.patch_rdtsc = (input.flags & abi::kPrepareClock) != 0;
  return rewrite::prepare(file, options).serialise();
}

// One kPrepare, checked.
struct Job {
  Request request;
  std::string key;
  u64 input;
  u64 output;
  u64 room;
};

bool read_job(std::span<const Image> images, const u64 (&args)[6], Job& job) {
  job.input = args[0];
  job.output = args[2];
  job.room = args[3];
  if (!copy_request(args[0], args[1], job.request) || !is_run(job.output, job.room)) return false;
  job.key = cache_key(images, job.request);
  return true;
}

// The same will be answered when the next machine asks.
void note(Foreseen& foreseen, const Job& job, u64 stored, std::span<const std::byte> blob) {
  abi::PrepareInput input = job.request.input;
  input.stored = stored;
  foreseen.note(input, job.request.pieces, job.request.tail, blob);
}

s64 deliver(const Job& job, std::span<const std::byte> blob) {
  arena_at<abi::PrepareInput>(job.input).stored = 0;
  if (blob.size() <= job.room) std::memcpy(&arena_at<std::byte>(job.output), blob.data(), blob.size());
  return static_cast<s64>(blob.size());
}

s64 deliver_stored(const Job& job, u64 place) {
  arena_at<abi::PrepareInput>(job.input).stored = place;
  return 1;
}

// What is planned for or read must be what the key says: nobody may have changed the image meanwhile.
bool is_still(std::span<const Image> images, const Job& job) {
  return !job.key.empty() && cache_key(images, job.request) == job.key;
}

bool lays_nothing(std::span<const std::byte> blob) {
  auto view = abi::PreparedView::create(blob);
  return view && !view->patched();
}

s64 prepare(std::span<const Image> images, TextStore* texts, Foreseen& foreseen, const u64 (&args)[6]) {
  Job job;
  if (!read_job(images, args, job)) return -EINVAL;
  Content content;
  if (s64 error = read_content(images, job.request, content); error != 0) return error;
  const PreparedCache& cache = prepared_cache();
  auto kept = cache.load(job.key);
  std::vector<std::byte> blob = kept ? std::move(*kept) : plan(job.request.input, content.bytes);
  if (is_still(images, job)) {
    if (!kept) cache.store(job.key, blob);
    auto place = texts != nullptr ? texts->add(job.key, content.bytes, blob) : std::nullopt;
    if (place) {
      note(foreseen, job, *place, {});
      return deliver_stored(job, *place);
    }
    if (lays_nothing(blob)) note(foreseen, job, 0, blob);
  }
  return deliver(job, blob);
}

}  // namespace

const PreparedCache& prepared_cache() {
  static const PreparedCache the(PreparedCache::default_folder("prepared"));
  return the;
}

std::unique_ptr<TextStore> open_text_store() {
  return TextStore::open(PreparedCache::default_folder("text"), prepared_cache());
}

std::unique_ptr<Foreseen> foresee(std::span<const Image> images, const TextStore* texts,
                                  const std::string& command) {
  std::string key = command_identity();
  if (!key.empty()) key = "foreseen " + std::to_string(abi::kPreparedVersion) + "|" + key + "|";
  for (const Image& image : images) {
    const std::string identity = key.empty() ? "" : file_identity(image.fd);
    key = identity.empty() ? "" : key + identity + "|";
  }
  if (!key.empty()) key += (texts != nullptr ? texts->name() : "") + "|" + command;
  return std::make_unique<Foreseen>(prepared_cache(), std::move(key));
}

s64 serve_prepared(std::span<const Image> images, const TextStore* texts, Foreseen& foreseen,
                   const u64 (&args)[6]) {
  try {
    Job job;
    if (!read_job(images, args, job)) return 0;
    if (auto place = texts != nullptr ? texts->find(job.key) : std::nullopt) {
      note(foreseen, job, *place, {});
      return deliver_stored(job, *place);
    }
    auto blob = prepared_cache().load(job.key);
    if (!blob) return 0;
    if (lays_nothing(*blob)) {
      note(foreseen, job, 0, *blob);
    } else if (texts != nullptr) {
      return 0;  // a text for the store takes longer
    }
    return deliver(job, *blob);
  } catch (const std::bad_alloc&) {
    return 0;
  }
}

s64 read_pieces(std::span<const Image> images, std::span<const abi::PreparePiece> pieces,
                std::span<std::byte> into) {
  Request request;
  request.pieces.assign(pieces.begin(), pieces.end());
  return read_file(images, request, into);
}

s64 serve_prepare(std::span<const Image> images, TextStore* texts, Foreseen& foreseen, const u64 (&args)[6]) {
  try {
    return prepare(images, texts, foreseen, args);
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  }
}

}  // namespace teacup::host
