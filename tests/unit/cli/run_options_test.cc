#include "cli/run_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

namespace teacup::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A directory with an image in it, removed at the end.
class RunOptionsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/teacup-run-options-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    image_ = directory_ + "/image";
    write(image_, "");
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  static void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

  RunRequest parse(const std::vector<std::string>& arguments) {
    return parse_run_options(arguments, [this](const char* name) -> const char* {
      auto found = caller_.find(name);
      return found == caller_.end() ? nullptr : found->second.c_str();
    });
  }

  // Parses `options` IMAGE CMD, which must succeed.
  RunOptions good(std::vector<std::string> options) {
    options.push_back(image_);
    options.push_back("true");
    return run(options);
  }

  RunOptions run(const std::vector<std::string>& arguments) {
    RunRequest request = parse(arguments);
    if (auto* error = std::get_if<CliError>(&request)) {
      ADD_FAILURE() << "refused: " << error->what;
      return {};
    }
    if (!std::holds_alternative<RunOptions>(request)) {
      ADD_FAILURE() << "not a run";
      return {};
    }
    return std::get<RunOptions>(request);
  }

  // The message with which `options` IMAGE CMD is refused; every refusal says what to do.
  std::string refusal(std::vector<std::string> options) {
    options.push_back(image_);
    options.push_back("true");
    return refusal_of(options);
  }

  std::string refusal_of(const std::vector<std::string>& arguments) {
    RunRequest request = parse(arguments);
    auto* error = std::get_if<CliError>(&request);
    if (error == nullptr) {
      ADD_FAILURE() << "accepted";
      return "";
    }
    EXPECT_FALSE(error->to_do.empty()) << error->what;
    return error->what;
  }

  std::string directory_;
  std::string image_;
  std::map<std::string, std::string> caller_;
};

TEST_F(RunOptionsTest, DefaultsAreIssuedWhenOnlyImageAndCommandAreGiven) {
  const RunOptions options = good({});
  EXPECT_EQ(options.image, image_);
  EXPECT_THAT(options.command, ElementsAre("true"));
  EXPECT_EQ(options.workdir, std::nullopt);
  EXPECT_EQ(options.user, std::nullopt);
  EXPECT_EQ(options.group, "");
  EXPECT_EQ(options.hostname, "");
  EXPECT_EQ(options.memory, 0u);
  EXPECT_EQ(options.mode, Mode::REWRITE);
  EXPECT_FALSE(options.trace);
  EXPECT_FALSE(options.stats);
  EXPECT_TRUE(options.environment.empty());
  EXPECT_TRUE(options.volumes.empty());
}

TEST_F(RunOptionsTest, EverythingAfterImageIsTheCommands) {
  const RunOptions options = run({"-w", "/tmp", image_, "ls", "-l", "--mode", "bogus", "-e", "--", "--help"});
  EXPECT_EQ(options.workdir, "/tmp");
  EXPECT_THAT(options.command, ElementsAre("ls", "-l", "--mode", "bogus", "-e", "--", "--help"));
}

TEST_F(RunOptionsTest, OneDoubleDashAfterImageIsDropped) {
  EXPECT_THAT(run({image_, "--", "make", "--", "test"}).command, ElementsAre("make", "--", "test"));
  EXPECT_THAT(run({image_, "--", "--weird-name"}).command, ElementsAre("--weird-name"));
}

TEST_F(RunOptionsTest, DoubleDashBeforeImageEndsOptions) {
  const RunOptions options = run({"-w", "/tmp", "--", image_, "env", "-i"});
  EXPECT_EQ(options.image, image_);
  EXPECT_THAT(options.command, ElementsAre("env", "-i"));
}

TEST_F(RunOptionsTest, EmptyArgumentsReachTheCommand) {
  EXPECT_THAT(run({image_, "printf", "", "x", ""}).command, ElementsAre("printf", "", "x", ""));
}

TEST_F(RunOptionsTest, EnvironmentTakesValuesAndTheCallersOwn) {
  caller_["LANG"] = "C.UTF-8";
  const RunOptions options = good({"-e", "A=1", "--env", "B=x=y z", "-e", "LANG", "-e", "GONE", "--env=C="});
  EXPECT_THAT(options.environment,
              ElementsAre(EnvironmentChange{"A", "1"}, EnvironmentChange{"B", "x=y z"},
                          EnvironmentChange{"LANG", "C.UTF-8"}, EnvironmentChange{"GONE", std::nullopt},
                          EnvironmentChange{"C", ""}));
}

TEST_F(RunOptionsTest, EnvironmentFileComesBeforeSingleVariables) {
  caller_["MINE"] = "here";
  write(directory_ + "/env", "# a comment\n\n  A=1 # not a comment\nMINE\nQ=\"as is\"\r\n");
  const RunOptions options = good({"-e", "A=2", "--env-file", directory_ + "/env"});
  EXPECT_THAT(options.environment,
              ElementsAre(EnvironmentChange{"A", "1 # not a comment"}, EnvironmentChange{"MINE", "here"},
                          EnvironmentChange{"Q", "\"as is\""}, EnvironmentChange{"A", "2"}));
}

TEST_F(RunOptionsTest, BadEnvironmentIsRefused) {
  EXPECT_THAT(refusal({"-e", "=x"}), HasSubstr("names no variable"));
  EXPECT_THAT(refusal({"--env-file", directory_ + "/none"}), HasSubstr("No such file"));
  write(directory_ + "/env", "A=1\nTWO WORDS=2\n");
  EXPECT_THAT(refusal({"--env-file", directory_ + "/env"}), HasSubstr("line 2"));
}

TEST_F(RunOptionsTest, UserIsNumberOrNameWithGroup) {
  EXPECT_EQ(good({"-u", "1000"}).user, "1000");
  const RunOptions options = good({"-u", "www-data:adm"});
  EXPECT_EQ(options.user, "www-data");
  EXPECT_EQ(options.group, "adm");
  for (const char* bad : {"", ":", "1:", ":5", "1:2:3"}) {
    EXPECT_THAT(refusal({"-u", bad}), HasSubstr("is not a user")) << bad;
  }
}

TEST_F(RunOptionsTest, VolumesAreAbsoluteAndNormal) {
  std::filesystem::create_directory(directory_ + "/src");
  const RunOptions options = good({"-v", directory_ + "/src:/src/", "-v",
                                   directory_ + "/src/../image:/a/./b:rw", "-v", directory_ + "/src:/c:cow"});
  ASSERT_EQ(options.volumes.size(), 3u);
  EXPECT_EQ(options.volumes[0], (Volume{directory_ + "/src", "/src", abi::VolumeMode::kReadOnly}));
  EXPECT_EQ(options.volumes[1], (Volume{image_, "/a/b", abi::VolumeMode::kWritable}));
  EXPECT_EQ(options.volumes[2], (Volume{directory_ + "/src", "/c", abi::VolumeMode::kCopyOnWrite}));
}

TEST_F(RunOptionsTest, BadVolumesAreRefused) {
  EXPECT_THAT(refusal({"-v", directory_}), HasSubstr("no guest path"));
  EXPECT_THAT(refusal({"-v", ":/x"}), HasSubstr("no host path"));
  EXPECT_THAT(refusal({"-v", directory_ + ":x"}), HasSubstr("not absolute"));
  EXPECT_THAT(refusal({"-v", directory_ + ":/x:rx"}), HasSubstr("none of ro, rw and cow"));
  EXPECT_THAT(refusal({"-v", directory_ + "/none:/x"}), HasSubstr("No such file"));
  EXPECT_THAT(refusal({"-v", directory_ + ":/"}), HasSubstr("whole tree"));
  EXPECT_THAT(refusal({"-v", directory_ + ":/x/..:rw"}), HasSubstr("whole tree"));
  EXPECT_THAT(refusal({"-v", directory_ + ":/x", "-v", image_ + ":/x/"}), HasSubstr("already"));
}

TEST_F(RunOptionsTest, Layers) {
  const std::string digest(64, 'a');
  const RunOptions options = good({"--layer", image_, "--layer", image_ + "@sha256:" + digest});
  EXPECT_THAT(options.layers, ElementsAre(NamedImage{image_, ""}, NamedImage{image_, digest}));
  EXPECT_THAT(refusal({"--layer", directory_ + "/none"}), HasSubstr("--layer"));
}

TEST_F(RunOptionsTest, TmpfsTakesDockersOptions) {
  const RunOptions options = good({"--tmpfs", "/run", "--tmpfs", "/a/../b/:rw,exec,size=64m,mode=755"});
  EXPECT_THAT(options.tmpfs,
              ElementsAre(Tmpfs{"/run", "", 2 | 4 | 8}, Tmpfs{"/b", "size=67108864,mode=755", 2 | 4}));
  EXPECT_THAT(refusal({"--tmpfs", "run"}), HasSubstr("not absolute"));
  EXPECT_THAT(refusal({"--tmpfs", "/"}), HasSubstr("whole tree"));
  EXPECT_THAT(refusal({"--tmpfs", "/x:size=0"}), HasSubstr("size=0"));
  EXPECT_THAT(refusal({"--tmpfs", "/x:mode=9"}), HasSubstr("mode=9"));
  EXPECT_THAT(refusal({"--tmpfs", "/x:fast"}), HasSubstr("fast"));
  EXPECT_THAT(refusal({"--tmpfs", "/x", "-v", directory_ + ":/x/"}), HasSubstr("already"));
}

TEST_F(RunOptionsTest, AcceptedDockerFlagsCombine) {
  const RunOptions options = good({"-it", "--rm"});
  EXPECT_TRUE(options.interactive);
  EXPECT_TRUE(options.terminal);
  EXPECT_TRUE(options.remove);
  EXPECT_EQ(good({"-itw", "/tmp"}).workdir, "/tmp");
}

TEST_F(RunOptionsTest, TraceAndStatsTakeAFileOnlyBehindEquals) {
  const RunOptions bare = run({"--trace", "--stats", image_, "true"});
  EXPECT_EQ(bare.trace, "");
  EXPECT_EQ(bare.stats, "");
  EXPECT_EQ(bare.image, image_);
  EXPECT_EQ(good({"--trace-files=used"}).trace_files, "used");
  const RunOptions files = good({"--trace=/tmp/t", "--stats=s.json"});
  EXPECT_EQ(files.trace, "/tmp/t");
  EXPECT_EQ(files.stats, "s.json");
  EXPECT_EQ(good({"--trace=a", "--trace=b"}).trace, "b");
}

TEST_F(RunOptionsTest, CpuModels) {
  EXPECT_EQ(good({}).cpu, abi::CpuModel::kHost);
  EXPECT_EQ(good({"--cpu", "x86-64"}).cpu, abi::CpuModel::kV1);
  EXPECT_EQ(good({"--cpu=x86-64-v3"}).cpu, abi::CpuModel::kV3);
  EXPECT_THAT(refusal({"--cpu", "pentium"}), HasSubstr("not known"));
  EXPECT_THAT(refusal({"--cpu", "x86-64", "--mode", "trap"}), HasSubstr("cpuid"));
  EXPECT_THAT(refusal({"--cpu", "x86-64", "--patch", "none"}), HasSubstr("cpuid"));
  EXPECT_EQ(good({"--cpu", "host", "--patch", "none"}).cpu, abi::CpuModel::kHost);
}

TEST_F(RunOptionsTest, DebuggersOptions) {
  const RunOptions none = good({});
  EXPECT_FALSE(none.crash_report || none.gdb_folder || none.perf_map);
  const RunOptions bare = run({"--crash-report", "--gdb", "--perf-map", image_, "true"});
  EXPECT_EQ(bare.crash_report, "");
  EXPECT_EQ(bare.gdb_folder, "");
  EXPECT_TRUE(bare.perf_map);
  EXPECT_EQ(good({"--gdb=/tmp/g"}).gdb_folder, "/tmp/g");
  EXPECT_EQ(good({"--crash-report=c"}).crash_report, "c");
}

TEST_F(RunOptionsTest, WaysOut) {
  EXPECT_TRUE(good({}).network.has_loopback);
  EXPECT_FALSE(good({"--network", "none"}).network.has_loopback);
  EXPECT_TRUE(good({"--network", "host-proxy"}).network.allow_all);
  const auto network = good({"--allow-net", "Example.com:443", "--allow-net", "10.0.0.0/8", "--allow-net",
                             "[2001:db8::1]:80", "--allow-net", "2001:db8::2", "--hosts", "DB=::1",
                             "--connect", "s:1=host:2", "--connect", "t:3=unix:/run/x"})
                           .network;
  ASSERT_EQ(network.allowed.size(), 4u);
  EXPECT_EQ(network.allowed[0].host, "example.com");
  EXPECT_EQ(network.allowed[0].prefix, -1);
  EXPECT_EQ(network.allowed[0].port, 443);
  EXPECT_EQ(network.allowed[1].host, "10.0.0.0");
  EXPECT_EQ(network.allowed[1].prefix, 8);
  EXPECT_EQ(network.allowed[1].port, 0);
  EXPECT_EQ(network.allowed[2].host, "2001:db8::1");
  EXPECT_EQ(network.allowed[2].port, 80);
  EXPECT_EQ(network.allowed[3].prefix, 128);
  EXPECT_EQ(network.hosts.at(0).name, "db");
  EXPECT_EQ(network.services.at(0).host, "host");
  EXPECT_EQ(network.services.at(0).host_port, 2);
  EXPECT_EQ(network.services.at(1).unix_path, "/run/x");
  EXPECT_THAT(refusal({"--allow-net", "127.0.0.1:80"}), HasSubstr("the machine itself"));
  EXPECT_THAT(refusal({"--network", "none", "-p", "80"}), HasSubstr("leaves nothing"));
}

TEST_F(RunOptionsTest, PublishedPorts) {
  const auto ports = good({"-p", "8080:80", "--publish", "127.0.0.1:81:81", "-p", "90", "-p", "[::1]::91",
                           "-p", "10-12:20-22"})
                         .network.published;
  ASSERT_EQ(ports.size(), 7u);
  EXPECT_EQ(ports[0].address, "");
  EXPECT_EQ(ports[0].host, 8080);
  EXPECT_EQ(ports[0].guest, 80);
  EXPECT_EQ(ports[1].address, "127.0.0.1");
  EXPECT_EQ(ports[1].host, 81);
  EXPECT_EQ(ports[2].host, 0);
  EXPECT_EQ(ports[2].guest, 90);
  EXPECT_EQ(ports[3].address, "[::1]");
  EXPECT_EQ(ports[3].host, 0);
  EXPECT_EQ(ports[6].host, 12);
  EXPECT_EQ(ports[6].guest, 22);
  EXPECT_THAT(refusal({"-p", "80:x"}), HasSubstr("'x' is not a port"));
  EXPECT_THAT(refusal({"-p", "1-2:1-3"}), HasSubstr("differ in length"));
  EXPECT_THAT(refusal({"-p", "example.com:1:1"}), HasSubstr("not an address"));
}

TEST_F(RunOptionsTest, ModeAndHostname) {
  EXPECT_EQ(good({"--mode", "trap"}).mode, Mode::TRAP);
  EXPECT_EQ(good({"--mode=rewrite"}).mode, Mode::REWRITE);
  EXPECT_THAT(refusal({"--mode", "fast"}), HasSubstr("not known"));
  EXPECT_EQ(good({"--hostname", "web-1.example"}).hostname, "web-1.example");
  EXPECT_THAT(refusal({"--hostname", "a b"}), HasSubstr("no host name"));
  EXPECT_THAT(refusal({"--hostname", std::string(65, 'a')}), HasSubstr("64"));
  EXPECT_THAT(refusal({"--hostname", "-x"}), HasSubstr("starts with"));
}

TEST_F(RunOptionsTest, RelativeWorkdirIsRefused) {
  EXPECT_THAT(refusal({"-w", "tmp"}), HasSubstr("not an absolute"));
}

TEST_F(RunOptionsTest, MemoryIsASize) {
  EXPECT_EQ(good({"--memory", "512m"}).memory, 512u << 20);
  EXPECT_EQ(good({"-m", "1.5g"}).memory, 3u << 29);
  EXPECT_THAT(refusal({"--memory", "12q"}), HasSubstr("is not a size"));
  EXPECT_THAT(refusal({"--memory", "1k"}), HasSubstr("too little"));
  EXPECT_EQ(good({"--memory", "6m"}).memory, 6u << 20);
}

TEST_F(RunOptionsTest, UnknownAndIncompleteOptionsAreNamed) {
  EXPECT_THAT(refusal({"--bogus"}), HasSubstr("there is no option --bogus"));
  EXPECT_THAT(refusal({"-x"}), HasSubstr("there is no option -x"));
  EXPECT_THAT(refusal_of({"-e"}), HasSubstr("--env"));
  EXPECT_THAT(refusal_of({}), HasSubstr("no image"));
  EXPECT_THAT(refusal_of({image_}), HasSubstr("no command"));
  EXPECT_THAT(refusal_of({image_, "--"}), HasSubstr("no command"));
}

TEST_F(RunOptionsTest, RegistryNamesAreExplained) {
  for (const char* name : {"debian:12", "debian", "library/debian:12", "ghcr.io/owner/app@sha256:00"}) {
    RunRequest request = parse({name, "sh"});
    const auto* error = std::get_if<CliError>(&request);
    ASSERT_NE(error, nullptr);
    EXPECT_THAT(error->what, HasSubstr("registry")) << name;
    EXPECT_THAT(error->to_do, HasSubstr("docker export")) << name;
  }
}

TEST_F(RunOptionsTest, MissingImageFileIsNotTakenForARegistryName) {
  EXPECT_THAT(refusal_of({directory_ + "/none", "sh"}), HasSubstr("No such file"));
  EXPECT_THAT(refusal_of({"none.erofs", "sh"}), HasSubstr("No such file"));
  EXPECT_THAT(refusal_of({"/dev/null", "sh"}), HasSubstr("neither a file nor a directory"));
}

TEST_F(RunOptionsTest, HelpAndHostSurfaceNeedNoImage) {
  for (const char* flag : {"-h", "--help"}) {
    RunRequest request = parse({flag});
    ASSERT_TRUE(std::holds_alternative<PrintHelp>(request));
    const std::string& text = std::get<PrintHelp>(request).text;
    EXPECT_THAT(text, HasSubstr("Usage: teacup run [OPTIONS] IMAGE [--] CMD"));
    EXPECT_THAT(text, HasSubstr("--trace[=FILE]"));
    EXPECT_THAT(text, HasSubstr("-v, --volume HOST:GUEST[:ro|rw|cow]"));
  }
  EXPECT_TRUE(std::holds_alternative<PrintHostSurface>(parse({"--print-host-surface"})));
}

TEST(ParseSize, TakesDockersNotation) {
  EXPECT_EQ(parse_size("4096"), 4096u);
  EXPECT_EQ(parse_size("4096b"), 4096u);
  EXPECT_EQ(parse_size("4k"), 4096u);
  EXPECT_EQ(parse_size("4KiB"), 4096u);
  EXPECT_EQ(parse_size("4Kb"), 4096u);
  EXPECT_EQ(parse_size("0.5g"), 1u << 29);
  EXPECT_EQ(parse_size(".5k"), 512u);
  EXPECT_EQ(parse_size("1.75k"), 1792u);
  EXPECT_EQ(parse_size("3."), 3u);
  EXPECT_EQ(parse_size("1.9b"), 1u);
  EXPECT_EQ(parse_size("15.5p"), (std::uint64_t{31} << 49));
  EXPECT_EQ(parse_size("2T"), std::uint64_t{1} << 41);
}

TEST(ParseSize, RefusesWhatIsNoSize) {
  for (const char* bad : {"", "m", ".", ".k", "-1", "0", "0.0", "0.1b", "1mm", "1 m", "1.2.3k", "1e3",
                          "20000p", "99999999999999999999", "0x10", "inf", "nan"}) {
    EXPECT_EQ(parse_size(bad), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace teacup::cli
