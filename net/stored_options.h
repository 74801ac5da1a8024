// Options that are set, checked against a range and given back, and mean nothing more on a machine whose
// network is its own memory (ip(7), ipv6(7), tcp(7)). A Table says which there are (its static
// constexpr array, `entries`); a StoredOptions<Table> holds their values.
#pragma once

#include <array>

#include "net/socket.h"

namespace teacup::net {

struct StoredOption {
  s16 level;
  s16 name;
  s32 initial;
  s32 least, most;
  bool flag = false;  // any number but 0 is 1
};

// Numbers of 4 bytes; `short_too`: one byte does as well (ip(7)).
Result<s32> option_number(std::span<const std::byte> value, bool short_too);
size_t give_number(std::span<std::byte> into, s32 value, bool short_too);

template <typename Table>
class StoredOptions {
 public:
  StoredOptions() {
    for (size_t i = 0; i < std::size(Table::entries); i++) values_[i] = Table::entries[i].initial;
  }
  static constexpr int index(int level, int name) {
    for (size_t i = 0; i < std::size(Table::entries); i++) {
      if (Table::entries[i].level == level && Table::entries[i].name == name) return static_cast<int>(i);
    }
    return -1;
  }
  s32 get(int level, int name) const { return values_[static_cast<size_t>(index(level, name))].get(); }
  bool has(int level, int name) const { return index(level, name) >= 0; }
  // ENOPROTOOPT: not in the table.
  Result<size_t> give(int level, int name, std::span<std::byte> value) const {
    int i = index(level, name);
    if (i < 0) return Errno::NOPROTOOPT;
    return give_number(value, values_[static_cast<size_t>(i)].get(), level == abi::kIPPROTO_IP);
  }
  Result<void> set(int level, int name, std::span<const std::byte> value) {
    int i = index(level, name);
    if (i < 0) return Errno::NOPROTOOPT;
    s32 number = TRY(option_number(value, level == abi::kIPPROTO_IP));
    const StoredOption& option = Table::entries[static_cast<size_t>(i)];
    if (option.flag) number = number != 0;
    if (number < option.least || number > option.most) return Errno::INVAL;
    values_[static_cast<size_t>(i)] = number;
    return {};
  }

 private:
  std::array<Setting<s32>, std::size(Table::entries)> values_;
};

}  // namespace teacup::net
