#include "host/importer/fd_io.h"

#include <ext2fs/ext2fs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "kernel/base/types.h"

namespace teacup::importer {

namespace {

struct Channel : struct_io_channel {
  int fd;
};

errcode_t close_channel(io_channel channel) {
  if (--channel->refcount > 0) return 0;
  std::free(channel->name);
  std::free(static_cast<Channel*>(channel));
  return 0;
}

errcode_t set_block_size(io_channel channel, int size) {
  channel->block_size = size;
  return 0;
}

// A negative count is one of bytes.
errcode_t read_blocks(io_channel channel, unsigned long long block, int count, void* data) {
  const auto block_size = static_cast<u64>(channel->block_size);
  const u64 length = count < 0 ? static_cast<u64>(-s64{count}) : static_cast<u64>(count) * block_size;
  u64 offset = 0;
  if (__builtin_mul_overflow(block, block_size, &offset) || offset > (u64{1} << 62)) {
    return EXT2_ET_SHORT_READ;
  }
  auto* target = static_cast<char*>(data);
  for (u64 done = 0; done < length;) {
    const ssize_t got = ::pread(static_cast<Channel*>(channel)->fd, target + done, length - done,
                                static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) {
      std::memset(target + done, 0, length - done);
      return EXT2_ET_SHORT_READ;
    }
    done += static_cast<u64>(got);
  }
  return 0;
}

errcode_t read_blocks_32(io_channel channel, unsigned long block, int count, void* data) {
  return read_blocks(channel, block, count, data);
}

errcode_t write_blocks(io_channel, unsigned long long, int, const void*) {
  return EXT2_ET_RO_FILSYS;
}
errcode_t write_blocks_32(io_channel, unsigned long, int, const void*) {
  return EXT2_ET_RO_FILSYS;
}
errcode_t flush(io_channel) {
  return 0;
}

errcode_t open_channel(const char* name, int, io_channel* result) {
  auto* channel = static_cast<Channel*>(std::calloc(1, sizeof(Channel)));
  if (channel == nullptr) return ENOMEM;
  channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
  channel->manager = fd_io_manager();
  channel->name = ::strdup(name);
  channel->block_size = 1024;
  channel->refcount = 1;
  channel->fd = std::atoi(name);
  *result = channel;
  return 0;
}

struct_io_manager make_manager() {
  struct_io_manager manager{};
  manager.magic = EXT2_ET_MAGIC_IO_MANAGER;
  manager.name = "open descriptor";
  manager.open = open_channel;
  manager.close = close_channel;
  manager.set_blksize = set_block_size;
  manager.read_blk = read_blocks_32;
  manager.write_blk = write_blocks_32;
  manager.flush = flush;
  manager.read_blk64 = read_blocks;
  manager.write_blk64 = write_blocks;
  return manager;
}

}  // namespace

struct_io_manager* fd_io_manager() {
  static struct_io_manager manager = make_manager();
  return &manager;
}

}  // namespace teacup::importer
