#include "kernel/mm/mapping.h"

#include <algorithm>
#include <new>

#include "kernel/base/memory.h"
#include "kernel/base/panic.h"
#include "kernel/frame/heap.h"

namespace teacup::mm {

namespace {

// Mappings are moved about as bytes: a Ref is one counted pointer and does not know where it lies.
void move_bytes(Mapping* to, Mapping* from, size_t count) {
  memmove(static_cast<void*>(to), static_cast<const void*>(from), count * sizeof(Mapping));
}

}  // namespace

Mapping Mapping::slice(u64 from, u64 to) const {
  Mapping part = *this;
  part.start = from;
  part.end = to;
  part.backed_end = std::clamp(backed_end, from, to);
  if (file) part.offset = offset + (from - start);
  return part;
}

bool Mapping::joins(const Mapping& next) const {
  if (end != next.start || backed_end != end || kind != next.kind || kind == MappingKind::kTrampolines) {
    return false;
  }
  return prot == next.prot && shared == next.shared && locked == next.locked && no_fork == next.no_fork &&
         wipe_on_fork == next.wipe_on_fork && no_reserve == next.no_reserve && may_write == next.may_write &&
         grows_down == next.grows_down && searched == next.searched && file == next.file &&
         text == next.text && (!file || offset + length() == next.offset) &&
         (!text || object_base == next.object_base);
}

MappingList::~MappingList() {
  clear();
  heap_free(data_);
}

size_t MappingList::find(u64 address) const {
  size_t low = 0, high = size_;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (data_[middle].end <= address) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

Mapping* MappingList::at(u64 address) {
  size_t index = find(address);
  return index < size_ && data_[index].start <= address ? &data_[index] : nullptr;
}

bool MappingList::is_free(u64 start, u64 end) const {
  size_t index = find(start);
  return index == size_ || data_[index].start >= end;
}

Result<void> MappingList::reserve(size_t count) {
  if (size_ + count <= capacity_) return {};
  size_t capacity = std::max<size_t>({32, size_ + count, capacity_ + capacity_ / 2});
  auto* grown = static_cast<Mapping*>(heap_allocate(capacity * sizeof(Mapping)));
  if (grown == nullptr) return Errno::NOMEM;
  move_bytes(grown, data_, size_);
  heap_free(data_);
  data_ = grown;
  capacity_ = capacity;
  return {};
}

void MappingList::insert_at(size_t index, Mapping mapping) {
  KERNEL_ASSERT(size_ < capacity_);
  move_bytes(data_ + index + 1, data_ + index, size_ - index);
  new (data_ + index) Mapping(std::move(mapping));
  size_++;
}

void MappingList::insert(Mapping mapping) {
  size_t index = find(mapping.start);
  if (index > 0 && data_[index - 1].joins(mapping)) {
    Mapping& before = data_[--index];
    before.end = mapping.end;
    before.backed_end = mapping.backed_end;
  } else {
    insert_at(index, std::move(mapping));
  }
  if (index + 1 < size_ && data_[index].joins(data_[index + 1])) {
    data_[index].end = data_[index + 1].end;
    data_[index].backed_end = data_[index + 1].backed_end;
    erase(index + 1, 1);
  }
}

void MappingList::erase(size_t first, size_t count) {
  if (count == 0) return;
  for (size_t i = first; i < first + count; i++) data_[i].~Mapping();
  move_bytes(data_ + first, data_ + first + count, size_ - first - count);
  size_ -= count;
}

void MappingList::split(u64 address) {
  size_t index = find(address);
  if (index == size_ || data_[index].start >= address) return;
  Mapping& whole = data_[index];
  Mapping upper = whole.slice(address, whole.end);
  whole.end = address;
  whole.backed_end = std::min(whole.backed_end, address);
  insert_at(index + 1, std::move(upper));
}

void MappingList::join(u64 start, u64 end) {
  size_t index = find(start);
  if (index > 0) index--;
  while (index + 1 < size_ && data_[index + 1].start <= end) {
    if (!data_[index].joins(data_[index + 1])) {
      index++;
      continue;
    }
    data_[index].end = data_[index + 1].end;
    data_[index].backed_end = data_[index + 1].backed_end;
    erase(index + 1, 1);
  }
}

void MappingList::clear() {
  erase(0, size_);
}

}  // namespace teacup::mm
