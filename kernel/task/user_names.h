// -u USER[:GROUP], looked up in the image's passwd(5) and group(5).
#pragma once

#include <array>
#include <string_view>

#include "kernel/base/result.h"
#include "kernel/base/types.h"

namespace teacup {

struct UserIdentity {
  u32 uid = 0, gid = 0;
  u32 group_count = 0;
  std::array<u32, 32>
      groups{};  // supplementary: those of group(5) that list the user, unless a group was given
  std::array<char, 256> home{};  // "/" if the user is not in passwd

  std::string_view home_text() const { return home.data(); }
};

// `wanted`: empty (root), a name or number, with an optional ":group" that is a name or number. The texts are
// the files' contents. ENOENT: a name that is in neither.
Result<UserIdentity> find_user(std::string_view wanted, std::string_view passwd, std::string_view group);

}  // namespace teacup
