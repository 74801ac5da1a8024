// EROFS images: what mkfs.erofs makes, and what a hostile hand makes of that.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <random>

#include "kernel/abi/erofs.h"
#include "tests/unit/fs/fs_machine.h"

namespace teacup {
namespace {

std::string tree_script(const std::string& path) {
  return "cd " + path +
         " && mkdir -p a/b && for i in 0 1 511 4095 4096 4097 8192 12289; do head -c $i /dev/zero | tr '\\0' "
         "y > a/s$i;"
         " done && ln -s target-of-link l && mkfifo fifo && for i in $(seq 200); do : > a/b/$i; done"
         " && dd if=/dev/zero of=sparse bs=1 count=1 seek=1000000 status=none";
}

std::vector<char> sample(const std::string& options = "") {
  HostDirectory tree;
  if (system(tree_script(tree.path()).c_str()) != 0) throw std::runtime_error("tree");
  return make_erofs(tree.path(), options);
}

void check_sizes(FsMachine& machine) {
  for (size_t size : {0, 1, 511, 4095, 4096, 4097, 8192, 12289}) {
    EXPECT_EQ(checked(machine.read("/a/s" + std::to_string(size))), std::string(size, 'y')) << size;
  }
  EXPECT_EQ(checked(machine.list("/a/b")).size(), 200u);
  EXPECT_EQ(checked(machine.readlink("/l")), "target-of-link");
  EXPECT_EQ(checked(machine.stat("/fifo")).mode & abi::kS_IFMT, static_cast<u32>(abi::kS_IFIFO));
  EXPECT_EQ(checked(machine.stat("/sparse")).size, 1000001);
}

TEST(ErofsTest, PlainAndInline) {
  FsMachine machine(sample());
  ASSERT_TRUE(machine.started);
  check_sizes(machine);
}

TEST(ErofsTest, ExtendedInodes) {
  FsMachine machine(sample("-E force-inode-extended"));
  ASSERT_TRUE(machine.started);
  check_sizes(machine);
}

TEST(ErofsTest, Chunks) {
  FsMachine machine(sample("--chunksize=4096"));
  ASSERT_TRUE(machine.started);
  check_sizes(machine);
}

// Names are found from where the last one was: in the order of the image, backwards, in two directories by
// turns, and where there are none in between.
TEST(ErofsTest, NamesInAnyOrder) {
  HostDirectory tree;
  std::vector<std::string> names;
  for (int i = 0; i < 700; i++)
    names.push_back(std::to_string(1000 + i) + std::string(static_cast<size_t>(i % 30), 'n'));
  for (const char* directory : {"a", "b"}) {
    ASSERT_EQ(system(("mkdir " + tree.path() + "/" + directory).c_str()), 0);
    for (const std::string& name : names)
      std::ofstream(tree.path() + "/" + directory + "/" + name) << directory << name;
  }
  const std::vector<char> image = make_erofs(tree.path());
  for (const char* order : {"forward", "backward", "by turns", "with gaps"}) {
    FsMachine machine(image);
    ASSERT_TRUE(machine.started);
    std::vector<std::string> paths;
    for (const std::string& name : names) {
      paths.push_back("a/" + name);
      if (*order == 'b' && order[1] == 'y') paths.push_back("b/" + name);
    }
    if (*order == 'b' && order[1] == 'a') std::reverse(paths.begin(), paths.end());
    for (const std::string& path : paths) {
      std::string expected = path;
      expected.erase(1, 1);
      if (*order == 'w') {
        EXPECT_TRUE(machine.stat("/" + path + "-").is(Errno::NOENT)) << path;
        EXPECT_TRUE(machine.stat("/b/0").is(Errno::NOENT));
      }
      EXPECT_EQ(checked(machine.stat("/" + path)).size, static_cast<s64>(expected.size()))
          << order << " " << path;
      EXPECT_EQ(checked(machine.read("/" + path)), expected) << order;
    }
  }
}

// Each kind of index and cluster.
constexpr const char* kCompressed[] = {
    "-zlz4",
    "-zlz4hc,9",
    "-zlz4 -Elegacy-compress",
    "-zlz4 -C65536",
    "-zlz4hc -C1048576",
    "-zlz4 -Eztailpacking",
    "-zlz4 -C16384 -Eztailpacking",
};

class ErofsCompressed : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Options, ErofsCompressed, testing::ValuesIn(kCompressed));

TEST_P(ErofsCompressed, ReadsAndWrites) {
  HostDirectory tree;
  ASSERT_EQ(system(tree_script(tree.path()).c_str()), 0);
  std::string numbers;
  for (int i = 0; i < 100000; i++) numbers += std::to_string(i) + "\n";
  std::ofstream(tree.path() + "/numbers") << numbers;
  FsMachine machine(make_erofs(tree.path(), GetParam()));
  ASSERT_TRUE(machine.started);
  check_sizes(machine);
  // Here and there, then on, then over the end.
  auto opened = machine.open("/numbers", abi::kO_RDWR);
  ASSERT_TRUE(opened.ok());
  fs::File& file = *opened.value();
  for (u64 at : {u64{333333}, u64{4095}, u64{500001}, u64{0}, u64{numbers.size() - 3}}) {
    EXPECT_EQ(read_all(file, at, 5000), numbers.substr(at, 5000)) << at;
  }
  EXPECT_EQ(checked(machine.read("/numbers")), numbers);
  (void)write_all(file, 123456, "written");
  numbers.replace(123456, 7, "written");
  EXPECT_EQ(checked(machine.read("/numbers")), numbers);
}

TEST(ErofsTest, RefusesFeaturesByName) {
  struct {
    u32 feature;
    const char* name;
  } cases[] = {{erofs::kIncompatFragments, "fragments"},
               {erofs::kIncompatXattrPrefixes, "xattr_prefixes"},
               {1 << 20, "newer mkfs.erofs"}};
  for (auto& [feature, name] : cases) {
    std::vector<char> image = sample();
    reinterpret_cast<erofs::SuperBlock*>(image.data() + erofs::kSuperOffset)->feature_incompat |= feature;
    FsMachine machine(image);
    EXPECT_FALSE(machine.started);
    ASSERT_NE(fs::fs_start_problem(), nullptr);
    EXPECT_NE(std::string_view(fs::fs_start_problem()).find(name), std::string_view::npos)
        << fs::fs_start_problem();
  }
}

// Goes everywhere and reads everything; whatever is found, it ends and does not crash.
void explore(FsMachine& machine, const std::string& path, int depth, int& budget) {
  if (depth > 6 || budget-- <= 0) return;
  auto names = machine.list(path);
  if (!names.ok()) return;
  for (const std::string& name : names.value()) {
    std::string child = path + "/" + name;
    auto stat = machine.stat(child, false);
    if (!stat.ok()) continue;
    switch (stat.value().mode & abi::kS_IFMT) {
      case abi::kS_IFDIR:
        explore(machine, child, depth + 1, budget);
        break;
      case abi::kS_IFLNK:
        (void)machine.readlink(child);
        break;
      case abi::kS_IFREG: {
        auto file = machine.open(child, abi::kO_RDWR);
        if (!file.ok()) break;
        (void)read_all(*file.value(), 0, 20000);
        fs::MapPiece pieces[4];
        (void)file.value()->map_pieces(0, 64 * KiB, false, pieces);
        (void)write_all(*file.value(), 100, "x");
        break;
      }
      default:
        break;
    }
    if (budget-- <= 0) return;
  }
}

void damage_and_explore(const std::vector<char>& good, int rounds) {
  std::mt19937 random(42);
  for (int round = 0; round < rounds; round++) {
    std::vector<char> bad = good;
    int changes = 1 + static_cast<int>(random() % 30);
    for (int i = 0; i < changes; i++) {
      // Mostly where the structures are: everything but the zero-filled data lies at the front.
      size_t at = round % 3 == 0 ? random() % bad.size() : 1024 + random() % 20000;
      if (at >= bad.size()) continue;
      bad[at] = static_cast<char>(random());
    }
    if (round % 10 == 9) bad.resize(bad.size() / 2);
    // The features stay what they were, or there is nothing to explore.
    auto* super = reinterpret_cast<erofs::SuperBlock*>(bad.data() + erofs::kSuperOffset);
    auto* was = reinterpret_cast<const erofs::SuperBlock*>(good.data() + erofs::kSuperOffset);
    super->magic = was->magic;
    super->feature_incompat = was->feature_incompat;
    super->block_bits = was->block_bits;
    super->directory_block_bits = was->directory_block_bits;
    FsMachine machine(bad);
    if (!machine.started) continue;
    int budget = 400;
    explore(machine, "", 0, budget);
  }
}

TEST(ErofsTest, SurvivesDamage) {
  damage_and_explore(sample(), 150);
}

// Cut off after any block, what can be read is right.
TEST_P(ErofsCompressed, SurvivesTruncation) {
  std::vector<char> good = sample(GetParam());
  for (size_t size = 4096; size < good.size(); size += 4096) {
    FsMachine machine(std::vector<char>(good.begin(), good.begin() + static_cast<s64>(size)));
    if (!machine.started) continue;
    int budget = 400;
    explore(machine, "", 0, budget);
    for (size_t length : {1, 4096, 4097, 12289}) {
      auto file = machine.open("/a/s" + std::to_string(length), abi::kO_RDONLY);
      if (!file.ok()) continue;
      std::string text = read_all(*file.value(), 0, length);
      if (text.starts_with("error ")) continue;
      EXPECT_EQ(text, std::string(text.size(), 'y')) << length << " bytes of an image cut to " << size;
    }
  }
}

TEST_P(ErofsCompressed, SurvivesDamage) {
  damage_and_explore(sample(GetParam()), 60);
}

}  // namespace
}  // namespace teacup
