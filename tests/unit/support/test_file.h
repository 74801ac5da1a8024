// A regular file for tests of memory and programs: its content is an arena run.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "fs/filesystem.h"
#include "fs/inode.h"
#include "kernel/frame/pages.h"

namespace teacup {

// Owned by the test (on its stack or in a fixture): counts are never dropped to zero.
class TestFileSystem final : public fs::FileSystem {
 public:
  TestFileSystem();
  Result<Ref<fs::Inode>> root() override;
};

class TestInode final : public fs::Inode {
 public:
  TestInode(TestFileSystem& file_system, std::span<const std::byte> content);
  Result<size_t> read(IoDest& to, u64 offset) override;
  Result<size_t> map_pieces(u64 offset, u64 length, bool shared_writable,
                            std::span<fs::MapPiece> pieces) override;
  Result<void> stat(abi::Stat& stat) override;
  void resize(u64 new_size);  // as truncate: mappings are told
  void mapping_written() override;
  void touch();  // a new content version
  std::byte* data() { return reinterpret_cast<std::byte*>(run_.address()); }
  // The run is handed out in pieces of so many pages, as if it lay in several places.
  u64 piece_pages = ~u64{0} / kPageSize;
  int mapped = 0;   // calls of map_pieces
  int written = 0;  // of mapping_written

 private:
  PageRun run_;
};

class TestFile final : public fs::File {
 public:
  TestFile(fs::Inode& inode, u32 flags) : fs::File(flags), inode_(Ref<fs::Inode>::share(&inode)) {}
  Result<size_t> read(IoDest& to, u64 offset) override { return inode_->read(to, offset); }
  Result<void> stat(abi::Stat& stat) override { return inode_->stat(stat); }
  bool seekable() const override { return true; }
  fs::Inode* inode() override { return inode_.get(); }
  Result<size_t> map_pieces(u64 offset, u64 length, bool shared_writable,
                            std::span<fs::MapPiece> pieces) override {
    return inode_->map_pieces(offset, length, shared_writable, pieces);
  }

 private:
  Ref<fs::Inode> inode_;
};

// A new open file of a new inode.
Ref<fs::File> open_test_file(TestFileSystem& file_system, std::span<const std::byte> content,
                             u32 flags = abi::kO_RDWR);
// A host file's bytes; empty if it cannot be read.
std::vector<std::byte> host_bytes(const std::string& path);

}  // namespace teacup
