#include "host/broker/prepare.h"

#include <sys/mman.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "host/broker/arena_bounds.h"
#include "kernel/abi/prepare.h"
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
};

bool copy_request(u64 offset, u64 size, Request& request) {
  if (!is_run(offset, size) || size < sizeof(request.input)) return false;
  std::memcpy(&request.input, &arena_at<std::byte>(offset), sizeof(request.input));
  if (request.input.file_size > abi::kMaxPreparedFile) return false;
  if (request.input.piece_count > abi::kMaxPreparePieces) return false;
  u64 pieces_size = request.input.piece_count * sizeof(abi::PreparePiece);
  if (size - sizeof(request.input) < pieces_size) return false;
  request.pieces.resize(request.input.piece_count);
  std::memcpy(request.pieces.data(), &arena_at<std::byte>(offset + sizeof(request.input)), pieces_size);
  return true;
}

bool read_image(int fd, u64 offset, std::byte* into, u64 length) {
  while (length > 0) {
    ssize_t count = pread(fd, into, length, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    if (count == 0) break;  // the image's last page is not a whole one
    into += count;
    offset += static_cast<u64>(count);
    length -= static_cast<u64>(count);
  }
  return true;
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
s64 read_file(const Image& image, const Request& request, std::span<std::byte> file) {
  u64 at = 0;
  for (const abi::PreparePiece& piece : request.pieces) {
    if (at == file.size()) break;
    u64 length = std::min<u64>(piece.length, file.size() - at);
    if (piece.fd == kArenaFd) {
      if (!is_run(piece.host_offset, length)) return -EINVAL;
      std::memcpy(file.data() + at, &arena_at<std::byte>(piece.host_offset), length);
    } else if (piece.fd == kFirstImageFd && image.fd >= 0) {
      if (piece.host_offset > image.size) return -EINVAL;
      if (!read_image(image.fd, piece.host_offset, file.data() + at, length)) return -EIO;
    } else {
      return -EINVAL;
    }
    at += length;
  }
  return at == file.size() ? 0 : -EINVAL;
}

s64 prepare(const Image& image, const u64 (&args)[6]) {
  Request request;
  u64 output = args[2], room = args[3];
  if (!copy_request(args[0], args[1], request) || !is_run(output, room)) return -EINVAL;
  Buffer buffer = allocate(request.input.file_size);
  std::span<std::byte> file(buffer.get(), request.input.file_size);
  if (s64 error = read_file(image, request, file); error != 0) return error;
  rewrite::Options options;
  options.patch_cpuid = (request.input.flags & abi::kPrepareCpuid) != 0;
  std::vector<std::byte> blob = rewrite::prepare(file, options).serialise();
  if (blob.size() <= room) std::memcpy(&arena_at<std::byte>(output), blob.data(), blob.size());
  return static_cast<s64>(blob.size());
}

}  // namespace

s64 serve_prepare(const Image& image, const u64 (&args)[6]) {
  try {
    return prepare(image, args);
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  }
}

}  // namespace teacup::host
