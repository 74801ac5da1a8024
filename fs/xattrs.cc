#include "fs/xattrs.h"

#include "kernel/abi/fs.h"
#include "kernel/base/memory.h"

namespace teacup::fs {

Xattrs::~Xattrs() {
  while (first_ != nullptr) {
    Item* next = first_->next;
    heap_free(first_);
    first_ = next;
  }
}

Xattrs::Item** Xattrs::find(std::string_view name) const {
  Item** link = &first_;
  while (*link != nullptr && std::string_view((*link)->name(), (*link)->name_size) != name)
    link = &(*link)->next;
  return link;
}

Result<size_t> Xattrs::get(std::string_view name, std::span<std::byte> value) const {
  Item* item = *find(name);
  if (item == nullptr) return Errno::NODATA;
  if (value.empty()) return size_t{item->value_size};
  if (value.size() < item->value_size) return Errno::RANGE;
  memcpy(value.data(), item->value(), item->value_size);
  return size_t{item->value_size};
}

Result<void> Xattrs::set(std::string_view name, std::span<const std::byte> value, u32 flags) {
  Item** link = find(name);
  Item* old = *link;
  if (old != nullptr && (flags & abi::kXATTR_CREATE) != 0) return Errno::EXIST;
  if (old == nullptr && (flags & abi::kXATTR_REPLACE) != 0) return Errno::NODATA;
  auto* item = static_cast<Item*>(heap_allocate(sizeof(Item) + name.size() + value.size()));
  if (item == nullptr) return Errno::NOSPC;
  item->name_size = static_cast<u32>(name.size());
  item->value_size = static_cast<u32>(value.size());
  memcpy(item->name(), name.data(), name.size());
  if (!value.empty()) memcpy(item->value(), value.data(), value.size());
  item->next = old != nullptr ? old->next : nullptr;
  *link = item;
  heap_free(old);
  return {};
}

Result<void> Xattrs::remove(std::string_view name) {
  Item** link = find(name);
  Item* old = *link;
  if (old == nullptr) return Errno::NODATA;
  *link = old->next;
  heap_free(old);
  return {};
}

Result<size_t> Xattrs::list(std::span<char> names) const {
  size_t total = 0;
  for (Item* item = first_; item != nullptr; item = item->next) {
    size_t size = item->name_size + size_t{1};
    if (!names.empty()) {
      if (total + size > names.size()) return Errno::RANGE;
      memcpy(names.data() + total, item->name(), item->name_size);
      names[total + item->name_size] = '\0';
    }
    total += size;
  }
  return total;
}

}  // namespace teacup::fs
