// Text that becomes executable by mprotect(2) alone: a file mapped to be read, or to be relocated, first.
//
// Its pages may be the process's own by then, written to: such text is left to the net, as patches are of the
// file's bytes. What it holds is compared with the file once it can no longer be written to; if it is the
// same, the mapping is replaced by the patched text, as if it had been executable from the beginning. (A page
// that was written to with what it held already is the file's afterwards: nobody can tell.)
#include <algorithm>

#include "fs/inode.h"
#include "kernel/abi/mm.h"
#include "kernel/base/memory.h"
#include "kernel/mm/address_space.h"
#include "kernel/mm/elf_layout.h"
#include "kernel/uaccess/guest.h"

namespace teacup::mm {

namespace {

bool may_be_late_text(const Mapping& mapping) {
  return mapping.file && !mapping.shared && !mapping.text && mapping.kind == MappingKind::kNormal &&
         mapping.file->inode() != nullptr && mapping.file->inode()->is_regular();
}

bool is_as_in_file(const Mapping& mapping) {
  constexpr u64 kChunk = 64 * KiB;
  auto scratch = allocate_run(2 * kChunk / kPageSize);
  if (!scratch.ok()) return false;
  auto* memory = reinterpret_cast<u8*>(scratch.value().address());
  u8* content = memory + kChunk;
  u64 size = mapping.file->inode()->size.load(std::memory_order_acquire);
  bool same = true;
  for (u64 at = 0; same && at < mapping.length(); at += kChunk) {
    u64 length = std::min(kChunk, mapping.length() - at);
    u64 offset = mapping.offset + at;
    u64 in_file = offset < size ? std::min(length, size - offset) : 0;
    same = copy_from_guest(memory, mapping.start + at, length).ok() &&
           read_exactly(*mapping.file, offset, content, in_file);
    // Behind the file's end its last page holds zeros.
    if (same) memset(content + in_file, 0, length - in_file);
    same = same && memcmp(memory, content, length) == 0;
  }
  release_run(scratch.value());
  return same;
}

}  // namespace

// The first file in [start, end) whose text that may be; null if there is none.
Ref<fs::File> AddressSpace::find_late_text(u64 start, u64 end) const {
  LockGuard guard(lock_);
  for (size_t i = mappings_.find(start); i < mappings_.size() && mappings_[i].start < end; i++) {
    if (may_be_late_text(mappings_[i])) return mappings_[i].file;
  }
  return nullptr;
}

// [start, end) is executable and not writable since just now. Whatever cannot be done is left as it is.
void AddressSpace::attach_late_text_locked(u64 start, u64 end, fs::File& file, const Ref<Text>& text) {
  constexpr size_t kInsertions = 4;  // two cuts, the trampolines
  const fs::Inode* inode = file.inode();
  for (u64 at = start; at < end;) {
    if (mappings_.size() + kInsertions > kMaxMappings || !mappings_.reserve(kInsertions).ok()) return;
    Mapping* mapping = mappings_.at(at);
    if (mapping == nullptr) return;
    u64 from = std::max(at, mapping->start), to = std::min(end, mapping->end);
    at = to;
    if (!may_be_late_text(*mapping) || mapping->file->inode() != inode) continue;
    Mapping part = mapping->slice(from, to);
    u64 covered = text->covered(part.offset, part.length());
    if (covered == 0 || part.backed_end < from + covered) continue;
    part = part.slice(from, from + covered);
    at = part.end;
    if (!is_as_in_file(part)) continue;
    part.text = text;
    if (!attach_text_locked(part)) {
      static_cast<void>(host_map_file_locked(part));  // it may have been replaced in part
      continue;
    }
    mappings_.split(part.start);
    mappings_.split(part.end);
    *mappings_.at(part.start) = std::move(part);
  }
}

}  // namespace teacup::mm
