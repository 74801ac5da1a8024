#include "kernel/mm/shared_memory.h"

#include <algorithm>

#include "kernel/base/format.h"
#include "kernel/frame/heap.h"

namespace teacup::mm {

SharedMemory::SharedMemory(PageRun run, bool committed)
    : fs::File(abi::kO_RDWR), run_(run), committed_(committed) {}

SharedMemory::~SharedMemory() {
  release_run(run_);
  if (committed_) uncommit_pages(run_.pages);
}

Result<Ref<fs::File>> SharedMemory::create(u64 length, bool commit) {
  u64 pages = length / kPageSize;
  if (commit && !commit_pages(pages)) return Errno::NOMEM;
  auto run = allocate_run(pages);
  if (!run.ok()) {
    if (commit) uncommit_pages(pages);
    return run.error();
  }
  auto made = make<SharedMemory>(run.value(), commit);
  if (!made.ok()) {
    release_run(run.value(), 0);
    if (commit) uncommit_pages(pages);
    return made.error();
  }
  return Ref<fs::File>::adopt(made.value());
}

Result<size_t> SharedMemory::map_pieces(u64 offset, u64 length, bool, std::span<fs::MapPiece> pieces) {
  if (offset >= run_.bytes() || pieces.empty()) return size_t{0};
  pieces[0] = {kArenaFd, run_.offset + offset, std::min(length, run_.bytes() - offset)};
  return size_t{1};
}

Result<void> SharedMemory::allocate(int mode, u64 offset, u64 length) {
  if (mode != (abi::kFALLOC_FL_PUNCH_HOLE | abi::kFALLOC_FL_KEEP_SIZE)) return Errno::NOTSUP;
  u64 end = std::min(page_down(offset + length), run_.bytes());
  u64 start = page_up(offset);
  if (start < end) punch_run(run_, start / kPageSize, (end - start) / kPageSize);
  return {};
}

void SharedMemory::describe(TextBuffer& text) {
  text.add("/dev/zero (deleted)");
}

}  // namespace teacup::mm
