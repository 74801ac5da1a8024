#include "cli/machine_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace teacup::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const char* xterm(const char* name) {
  return std::string_view(name) == "TERM" ? "xterm" : nullptr;
}

TEST(MachineOptions, TermIsPassedOnToATerminalOnlyAndBeforeTheUsersOwn) {
  RunOptions options;
  EXPECT_THAT(machine_options(options, {}, false, xterm).environment, IsEmpty());
  options.environment = {{"TERM", "dumb"}, {"GONE", std::nullopt}};
  EXPECT_THAT(machine_options(options, {}, true, xterm).environment,
              ElementsAre("TERM=xterm", "TERM=dumb", "GONE"));
}

TEST(MachineOptions, UserAndGroupAreJoined) {
  RunOptions options;
  EXPECT_EQ(machine_options(options, {}, false, xterm).user, "0");
  options.user = "www-data";
  options.group = "adm";
  EXPECT_EQ(machine_options(options, {}, false, xterm).user, "www-data:adm");
}

TEST(MachineOptions, TheRestIsCopied) {
  RunOptions options;
  options.image = "image";
  options.layers = {{"over", ""}};
  options.tmpfs = {{"/run", "size=4096", 2}};
  options.read_only = true;
  options.command = {"a", "b"};
  options.workdir = "/w";
  options.hostname = "h";
  options.volumes = {{"/host", "/guest", abi::VolumeMode::kWritable}};
  options.memory = 1 << 20;
  options.mode = Mode::TRAP;
  options.trace = "";
  const host::MachineOptions machine = machine_options(options, {}, false, xterm);
  EXPECT_THAT(machine.images, ElementsAre("image", "over"));
  ASSERT_EQ(machine.tmpfs.size(), 1u);
  EXPECT_EQ(machine.tmpfs[0].guest, "/run");
  EXPECT_EQ(machine.tmpfs[0].data, "size=4096");
  EXPECT_EQ(machine.tmpfs[0].flags, 2u);
  EXPECT_TRUE(machine.read_only);
  EXPECT_THAT(machine.command, ElementsAre("a", "b"));
  EXPECT_EQ(machine.working_directory, "/w");
  EXPECT_EQ(machine.hostname, "h");
  ASSERT_EQ(machine.volumes.size(), 1u);
  EXPECT_EQ(machine.volumes[0].host, "/host");
  EXPECT_EQ(machine.volumes[0].guest, "/guest");
  EXPECT_EQ(machine.volumes[0].mode, abi::VolumeMode::kWritable);
  EXPECT_EQ(machine.memory, 1u << 20);
  EXPECT_TRUE(machine.trap);
  EXPECT_EQ(machine.trace, "");
  EXPECT_EQ(machine.stats, std::nullopt);
}

}  // namespace
}  // namespace teacup::cli
