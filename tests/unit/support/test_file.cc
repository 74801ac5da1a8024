#include "tests/unit/support/test_file.h"

#include <algorithm>
#include <cstring>
#include <fstream>

#include "fs/vfs.h"
#include "kernel/base/arena_header.h"
#include "kernel/frame/heap.h"

namespace teacup {

namespace {

const char* with_vfs(const char* type) {
  if (root<int>(Root::kVfs) == nullptr) fs::vfs_start();
  return type;
}

}  // namespace

TestFileSystem::TestFileSystem() : fs::FileSystem(with_vfs("test"), 0x7e57) {}
Result<Ref<fs::Inode>> TestFileSystem::root() {
  return Errno::NOENT;
}

TestInode::TestInode(TestFileSystem& file_system, std::span<const std::byte> content)
    : fs::Inode(file_system, file_system.next_ino(), abi::kS_IFREG | 0755) {
  // Room to grow, for tests that do.
  run_ = allocate_run(std::max<u64>(page_up(content.size()) / kPageSize, 1) * 2).value();
  std::memcpy(data(), content.data(), content.size());
  size.store(content.size());
}

Result<size_t> TestInode::read(IoDest& to, u64 offset) {
  u64 end = size.load();
  if (offset >= end) return size_t{0};
  return to.put(data() + offset, end - offset);
}

Result<size_t> TestInode::map_pieces(u64 offset, u64 length, bool, std::span<fs::MapPiece> pieces) {
  mapped++;
  u64 end = std::min(offset + length, page_up(size.load()));
  size_t count = 0;
  while (offset < end && count < pieces.size()) {
    u64 piece = std::min(end - offset, piece_pages * kPageSize);
    pieces[count++] = {kArenaFd, run_.offset + offset, piece};
    offset += piece;
  }
  return count;
}

Result<void> TestInode::stat(abi::Stat& stat) {
  stat = {};
  stat.mode = mode;
  stat.size = static_cast<s64>(size.load());
  return {};
}

void TestInode::resize(u64 new_size) {
  LockGuard guard(lock);
  u64 old_size = size.exchange(new_size);
  u64 first = page_down(std::min(old_size, new_size));
  notify_observers(first, page_up(std::max(old_size, new_size)) - first);
}

void TestInode::mapping_written() {
  written++;
  extras()->written_unseen.store(false);
}

void TestInode::touch() {
  version.fetch_add(1);
}

Ref<fs::File> open_test_file(TestFileSystem& file_system, std::span<const std::byte> content, u32 flags) {
  auto inode = make_ref<TestInode>(file_system, content);
  auto file = make<TestFile>(*inode.value(), flags);
  return Ref<fs::File>::adopt(file.value());
}

std::vector<std::byte> host_bytes(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::vector<char> chars{std::istreambuf_iterator<char>(stream), {}};
  std::vector<std::byte> bytes(chars.size());
  std::memcpy(bytes.data(), chars.data(), chars.size());
  return bytes;
}

}  // namespace teacup
