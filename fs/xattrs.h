// A small list of extended attributes in memory, for an inode of the memory layer.
//
// Locks: none of its own; under the inode's.
#pragma once

#include <span>
#include <string_view>

#include "kernel/base/result.h"
#include "kernel/frame/heap.h"

namespace teacup::fs {

class Xattrs {
 public:
  Xattrs() = default;
  ~Xattrs();

  // An empty span asks for the size. ENODATA, ERANGE.
  Result<size_t> get(std::string_view name, std::span<std::byte> value) const;
  Result<void> set(std::string_view name, std::span<const std::byte> value, u32 flags);  // EEXIST, ENODATA
  Result<void> remove(std::string_view name);                                            // ENODATA
  Result<size_t> list(std::span<char> names) const;                                      // ERANGE

 private:
  struct Item {
    Item* next;
    u32 name_size;
    u32 value_size;
    // The name, then the value.
    char* name() { return reinterpret_cast<char*>(this + 1); }
    std::byte* value() { return reinterpret_cast<std::byte*>(name() + name_size); }
  };
  Item** find(std::string_view name) const;

  mutable Item* first_ = nullptr;
};

}  // namespace teacup::fs
