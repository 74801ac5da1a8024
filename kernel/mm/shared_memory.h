// Shared anonymous memory: a page run that processes inherit by fork. A File without a name or an inode, so
// that its mappings are those of any other file.
#pragma once

#include "fs/file.h"
#include "kernel/frame/pages.h"

namespace teacup::mm {

class SharedMemory final : public fs::File {
 public:
  // `commit`: counts against the machine's memory at once. ENOMEM.
  static Result<Ref<fs::File>> create(u64 length, bool commit);
  SharedMemory(PageRun run, bool committed);
  ~SharedMemory() override;

  Result<size_t> map_pieces(u64 offset, u64 length, bool shared_writable,
                            std::span<fs::MapPiece> pieces) override;
  Result<void> allocate(int mode, u64 offset, u64 length) override;  // MADV_REMOVE punches holes
  void describe(TextBuffer& text) override;

 private:
  PageRun run_;
  bool committed_;
};

}  // namespace teacup::mm
