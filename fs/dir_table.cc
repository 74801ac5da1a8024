#include "fs/dir_table.h"

#include "fs/dcache.h"
#include "kernel/base/memory.h"

namespace teacup::fs {

DirTable::~DirTable() {
  for (Entry* entry : buckets_) {
    while (entry != nullptr) {
      Entry* next = entry->next;
      if (entry->inode != nullptr) entry->inode->unref();
      heap_free(entry);
      entry = next;
    }
  }
}

DirTable::Entry* DirTable::find(std::string_view name) const {
  if (count_ == 0) return nullptr;
  u32 hash = name_hash(name);
  Entry* entry = buckets_[hash & (buckets_.size() - 1)];
  while (entry != nullptr && (entry->hash != hash || entry->name() != name)) entry = entry->next;
  return entry;
}

Result<void> DirTable::grow_buckets() {
  size_t size = buckets_.size() == 0 ? 8 : buckets_.size() * 2;
  auto larger = HeapArray<Entry*>::create(size);
  if (!larger.ok()) return Errno::NOSPC;
  for (Entry* entry : buckets_) {
    while (entry != nullptr) {
      Entry* next = entry->next;
      Entry*& head = larger.value()[entry->hash & (size - 1)];
      entry->next = head;
      head = entry;
      entry = next;
    }
  }
  buckets_ = std::move(larger).value();
  return {};
}

// Positions rise, so the list stays sorted; erased slots are squeezed out when they are most of it.
Result<void> DirTable::append(Entry& entry) {
  if (order_used_ == order_.size()) {
    if (erased_ > order_used_ / 2) {
      size_t kept = 0;
      for (size_t i = 0; i < order_used_; i++) {
        if (order_[i].entry != nullptr) order_[kept++] = order_[i];
      }
      order_used_ = kept;
      erased_ = 0;
    } else {
      auto larger = HeapArray<Slot>::create(order_.size() == 0 ? 8 : order_.size() * 2);
      if (!larger.ok()) return Errno::NOSPC;
      if (order_used_ > 0) memcpy(larger.value().data(), order_.data(), order_used_ * sizeof(Slot));
      order_ = std::move(larger).value();
    }
  }
  order_[order_used_++] = Slot{entry.position, &entry};
  return {};
}

Result<DirTable::Entry*> DirTable::insert(std::string_view name, Ref<Inode> inode, bool covers) {
  if (count_ >= buckets_.size()) TRY(grow_buckets());
  auto* entry = static_cast<Entry*>(heap_allocate(sizeof(Entry) + name.size()));
  if (entry == nullptr) return Errno::NOSPC;
  entry->hash = name_hash(name);
  entry->covers = covers;
  entry->name_length = static_cast<u8>(name.size());
  memcpy(entry->text(), name.data(), name.size());
  entry->position = next_position_++;
  if (auto appended = append(*entry); !appended.ok()) {
    heap_free(entry);
    return appended.error();
  }
  entry->inode = inode.leak();
  Entry*& head = buckets_[entry->hash & (buckets_.size() - 1)];
  entry->next = head;
  head = entry;
  count_++;
  if (entry->inode != nullptr) live_++;
  return entry;
}

size_t DirTable::lower_bound(u64 position) const {
  size_t low = 0;
  size_t high = order_used_;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (order_[middle].position < position) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

Ref<Inode> DirTable::replace(Entry& entry, Ref<Inode> inode) {
  if (entry.inode != nullptr) live_--;
  if (inode) live_++;
  return Ref<Inode>::adopt(std::exchange(entry.inode, inode.leak()));
}

Ref<Inode> DirTable::erase(Entry& entry) {
  Entry** link = &buckets_[entry.hash & (buckets_.size() - 1)];
  while (*link != &entry) link = &(*link)->next;
  *link = entry.next;
  order_[lower_bound(entry.position)].entry = nullptr;
  erased_++;
  count_--;
  if (entry.inode != nullptr) live_--;
  auto inode = Ref<Inode>::adopt(entry.inode);
  heap_free(&entry);
  return inode;
}

DirTable::Entry* DirTable::at_or_after(u64 position) const {
  for (size_t i = lower_bound(position); i < order_used_; i++) {
    Entry* entry = order_[i].entry;
    if (entry != nullptr && entry->inode != nullptr) return entry;
  }
  return nullptr;
}

}  // namespace teacup::fs
