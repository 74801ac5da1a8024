#include "kernel/task/user_names.h"

#include <optional>

#include "kernel/base/memory.h"

namespace teacup {

namespace {

// Takes the text up to `separator` off the front of `rest`.
std::string_view take(std::string_view& rest, char separator) {
  size_t end = rest.find(separator);
  std::string_view piece = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return piece;
}

std::optional<u32> number(std::string_view text) {
  if (text.empty() || text.size() > 10) return std::nullopt;
  u64 value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<u64>(c - '0');
  }
  if (value >= 0xffffffff) return std::nullopt;  // (uid_t)-1 is nobody
  return static_cast<u32>(value);
}

struct PasswdEntry {
  std::string_view name, home;
  u32 uid, gid;
};

std::optional<PasswdEntry> next_user(std::string_view& passwd) {
  while (!passwd.empty()) {
    std::string_view line = take(passwd, '\n');
    PasswdEntry entry;
    entry.name = take(line, ':');
    take(line, ':');
    auto uid = number(take(line, ':'));
    auto gid = number(take(line, ':'));
    take(line, ':');
    entry.home = take(line, ':');
    if (!uid || !gid || entry.name.empty()) continue;
    entry.uid = *uid;
    entry.gid = *gid;
    return entry;
  }
  return std::nullopt;
}

struct GroupEntry {
  std::string_view name, members;
  u32 gid;
};

std::optional<GroupEntry> next_group(std::string_view& group) {
  while (!group.empty()) {
    std::string_view line = take(group, '\n');
    GroupEntry entry;
    entry.name = take(line, ':');
    take(line, ':');
    auto gid = number(take(line, ':'));
    entry.members = line;
    if (!gid || entry.name.empty()) continue;
    entry.gid = *gid;
    return entry;
  }
  return std::nullopt;
}

void set_home(UserIdentity& identity, std::string_view home) {
  if (home.empty()) home = "/";
  size_t length = home.size() < identity.home.size() - 1 ? home.size() : identity.home.size() - 1;
  memcpy(identity.home.data(), home.data(), length);
  identity.home[length] = '\0';
}

void add_groups_of(UserIdentity& identity, std::string_view user, std::string_view group) {
  while (auto entry = next_group(group)) {
    for (std::string_view members = entry->members; !members.empty();) {
      if (take(members, ',') != user || identity.group_count == identity.groups.size()) continue;
      identity.groups[identity.group_count++] = entry->gid;
      break;
    }
  }
}

}  // namespace

Result<UserIdentity> find_user(std::string_view wanted, std::string_view passwd, std::string_view group) {
  std::string_view wanted_group = wanted;
  std::string_view user = take(wanted_group, ':');
  if (user.empty()) user = "0";
  UserIdentity identity;
  set_home(identity, "/");
  auto as_number = number(user);
  bool found = false;
  std::string_view name;
  for (std::string_view rest = passwd; auto entry = next_user(rest);) {
    if (entry->name != user && !(as_number && *as_number == entry->uid)) continue;
    identity.uid = entry->uid;
    identity.gid = entry->gid;
    set_home(identity, entry->home);
    name = entry->name;
    found = true;
    break;
  }
  if (!found) {
    if (!as_number) return Errno::NOENT;
    identity.uid = *as_number;
    if (identity.uid == 0) set_home(identity, "/root");
  }
  if (wanted_group.empty()) {
    if (found) add_groups_of(identity, name, group);
    return identity;
  }
  for (std::string_view rest = group; auto entry = next_group(rest);) {
    if (entry->name != wanted_group) continue;
    identity.gid = entry->gid;
    return identity;
  }
  auto gid = number(wanted_group);
  if (!gid) return Errno::NOENT;
  identity.gid = *gid;
  return identity;
}

}  // namespace teacup
