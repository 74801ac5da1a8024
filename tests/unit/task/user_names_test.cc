#include "kernel/task/user_names.h"

#include <gtest/gtest.h>

namespace teacup {
namespace {

constexpr std::string_view kPasswd =
    "root:x:0:0:root:/root:/bin/bash\n"
    "# a comment\n"
    "broken line\n"
    "alice:x:1000:1000:Alice:/home/alice:/bin/sh\n"
    "nohome:x:1001:1001::\n";
constexpr std::string_view kGroup =
    "root:x:0:\n"
    "staff:x:50:alice,bob\n"
    "alice:x:1000:\n"
    "video:x:44:bob,alice\n";

UserIdentity find(std::string_view wanted) {
  auto result = find_user(wanted, kPasswd, kGroup);
  EXPECT_TRUE(result.ok()) << wanted;
  return result.ok() ? std::move(result).value() : UserIdentity{};
}

TEST(UserNames, DefaultIsRoot) {
  UserIdentity root = find("");
  EXPECT_EQ(root.uid, 0u);
  EXPECT_EQ(root.home_text(), "/root");
}

TEST(UserNames, NameBringsItsGroups) {
  UserIdentity alice = find("alice");
  EXPECT_EQ(alice.uid, 1000u);
  EXPECT_EQ(alice.gid, 1000u);
  EXPECT_EQ(alice.home_text(), "/home/alice");
  ASSERT_EQ(alice.group_count, 2u);
  EXPECT_EQ(alice.groups[0], 50u);
  EXPECT_EQ(alice.groups[1], 44u);
}

TEST(UserNames, NumbersAndGroups) {
  EXPECT_EQ(find("1000").home_text(), "/home/alice");
  UserIdentity stranger = find("4242");
  EXPECT_EQ(stranger.uid, 4242u);
  EXPECT_EQ(stranger.gid, 0u);
  EXPECT_EQ(stranger.home_text(), "/");
  UserIdentity both = find("alice:video");
  EXPECT_EQ(both.gid, 44u);
  EXPECT_EQ(both.group_count, 0u);
  EXPECT_EQ(find("7:8").gid, 8u);
  EXPECT_EQ(find("nohome").home_text(), "/");
}

TEST(UserNames, UnknownNames) {
  EXPECT_FALSE(find_user("carol", kPasswd, kGroup).ok());
  EXPECT_FALSE(find_user("alice:nogroup", kPasswd, kGroup).ok());
  EXPECT_FALSE(find_user("4294967295", kPasswd, kGroup).ok());
  EXPECT_TRUE(find_user("0", "", "").ok());
}

}  // namespace
}  // namespace teacup
