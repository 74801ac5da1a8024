// squashfs images, made by mksquashfs, and what a hostile hand makes of them. That whole trees read back is
// tests/cli/formats_test.py's business.
#include "host/importer/squash_image.h"

#include <sys/stat.h>

#include <fstream>
#include <random>

#include "tests/unit/importer/ask.h"

namespace teacup::importer {
namespace {

// An image opened, and how to ask it.
class Opened {
 public:
  explicit Opened(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (ImportedImage::load_library(fd_, error)) image_ = ImportedImage::open(fd_, error);
  }
  ~Opened() { ::close(fd_); }
  bool ok() const { return image_ != nullptr; }
  Server server() {
    return [this](const abi::ImporterRequest& r, std::string_view name, std::span<std::byte> response) {
      return image_->serve(r, name, response);
    };
  }
  u64 root() {
    Answer info(server(), request(abi::ImporterOp::kInfo));
    return info.result > 0 ? info.records<abi::ImporterInfo>()[0].root : 0;
  }
  std::string error;

 private:
  int fd_;
  std::unique_ptr<ImportedImage> image_;
};

void make_squashfs(const Scratch& scratch, const std::string& options, const std::string& image) {
  int status = 0;
  const std::string said =
      run("cd " + scratch.path() +
              " && mkdir -p src/dir src/big && cd src && seq 100000 > numbers && printf tiny > tiny && "
              "ln -f tiny dir/hard && ln -sf dir/hard short && touch empty && truncate -s 3M sparse && "
              "printf end >> sparse && "
              "(cd big && seq -f 'entry-with-a-name-of-some-length-%g' 800 | xargs touch) && cd .. && "
              "rm -f " +
              image + " && mksquashfs src " + image + " -quiet -no-progress " + options +
              " -p 'node c 600 0 0 259 70000'",
          &status);
  ASSERT_EQ(status, 0) << said;
}

#define NEED_MKSQUASHFS() \
  if (!have("mksquashfs")) GTEST_SKIP() << "no squashfs-tools"

TEST(SquashImageTest, AnswersEachQuestion) {
  NEED_MKSQUASHFS();
  const Scratch scratch;
  make_squashfs(scratch, "-comp zstd", scratch / "image");
  if (HasFatalFailure()) return;
  Opened image(scratch / "image");
  ASSERT_TRUE(image.ok()) << image.error;
  const Server server = image.server();
  const u64 root = image.root();
  const auto names = list(server, root);
  EXPECT_EQ(names.size(), 8u);
  EXPECT_EQ(names.at("short").target, "dir/hard");
  EXPECT_EQ(names.at("node").inode.device_major, 259u);
  EXPECT_EQ(names.at("node").inode.device_minor, 70000u);
  EXPECT_EQ(names.at("tiny").inode.links, 2u);
  EXPECT_EQ(names.at("tiny").inode.number,
            list(server, names.at("dir").inode.number).at("hard").inode.number);

  // Whole, and in pieces that each hold a few names only.
  const u64 big = names.at("big").inode.number;
  EXPECT_EQ(list(server, big).size(), 800u);
  EXPECT_EQ(list(server, big, 1000).size(), 800u);
  // From a place other than where the last listing stopped.
  Answer part(server, request(abi::ImporterOp::kReadDirectory, big, 799));
  EXPECT_EQ(part.header().count, 1u);

  for (const char* name : {"numbers", "tiny", "empty", "sparse"}) {
    EXPECT_TRUE(content(server, names.at(name).inode.number) ==
                images::slurp(scratch / (std::string("src/") + name)))
        << name;
  }
  Answer end(server, request(abi::ImporterOp::kRead, names.at("sparse").inode.number, 3 * MiB - 1, 50));
  EXPECT_EQ(end.text(), std::string("\0end", 4));
  EXPECT_EQ(Answer(server, request(abi::ImporterOp::kExtents, names.at("tiny").inode.number)).result,
            -EOPNOTSUPP);
  EXPECT_EQ(names.at("sparse").inode.flags, u32{abi::kDataByRead | abi::kHasHoles});
  Answer data(server, request(abi::ImporterOp::kExtents, names.at("sparse").inode.number));
  ASSERT_EQ(data.header().count, 1u);
  EXPECT_EQ(data.header().next, 0u);
  EXPECT_EQ(data.records<abi::ImporterExtent>()[0].file_offset, 3 * MiB);
  EXPECT_EQ(Answer(server, request(abi::ImporterOp::kRead, big, 0, 10)).result, -EINVAL);
  EXPECT_EQ(Answer(server, request(abi::ImporterOp::kReadDirectory, names.at("tiny").inode.number)).result,
            -ENOTDIR);
  EXPECT_EQ(Answer(server, request(abi::ImporterOp::kReadLink, names.at("tiny").inode.number)).result,
            -EINVAL);
  EXPECT_LT(Answer(server, request(abi::ImporterOp::kInode, u64{1} << 47)).result, 0);
  auto lookup = request(abi::ImporterOp::kLookup, root);
  EXPECT_EQ(Answer(server, lookup, "tin").result, -ENOENT);
  EXPECT_GT(Answer(server, lookup, "tiny").result, 0);
}

TEST(SquashImageTest, SaysWhereDataLie) {
  NEED_MKSQUASHFS();
  const Scratch scratch;
  for (const std::string options : {"-b 4096", "-b 128K -always-use-fragments"}) {
    int status = 0;
    // Data in [0, 1), [40K, 41K) and, 9 times, a byte at each MiB; then zeros, and with the second a tail.
    const std::string said =
        run("cd " + scratch.path() +
                " && rm -rf src image && mkdir src && cd src && printf a > f && "
                "printf b | dd of=f bs=1K seek=40 conv=notrunc status=none && "
                "for i in $(seq 9); do printf c | dd of=f bs=1M seek=$i conv=notrunc status=none; done && "
                "truncate -s 20M f && cp --sparse=always f g && printf end >> g && cd .. && "
                "mksquashfs src image -quiet -no-progress " +
                options,
            &status);
    ASSERT_EQ(status, 0) << said;
    Opened image(scratch / "image");
    ASSERT_TRUE(image.ok()) << image.error;
    const Server server = image.server();
    for (const char* name : {"f", "g"}) {
      const u64 number = list(server, image.root()).at(name).inode.number;
      std::vector<u64> starts;
      u64 cursor = 0;
      do {
        Answer answer(server, request(abi::ImporterOp::kExtents, number, cursor), {}, 200);
        ASSERT_GT(answer.result, 0);
        u64 end = 0;
        for (u32 i = 0; i < answer.header().count; ++i) {
          const abi::ImporterExtent extent = answer.records<abi::ImporterExtent>()[i];
          EXPECT_EQ(extent.image_offset, 0u);
          EXPECT_TRUE(starts.empty() || extent.file_offset >= end + 64 * KiB);
          starts.push_back(extent.file_offset);
          end = extent.file_offset + extent.length;
        }
        cursor = answer.header().next;
      } while (cursor != 0);
      std::vector<u64> expected;
      for (u64 i = 0; i <= 9; ++i) expected.push_back(i * MiB);
      if (name[0] == 'g') expected.push_back(20 * MiB);
      EXPECT_EQ(starts, expected) << options << " " << name;
      EXPECT_TRUE(content(server, number) == images::slurp(scratch / (std::string("src/") + name)));
    }
  }
}

TEST(SquashImageTest, SaysWhyItCannotBeUsed) {
  NEED_MKSQUASHFS();
  const Scratch scratch;
  make_squashfs(scratch, "-comp lzo", scratch / "lzo");
  make_squashfs(scratch, "-comp gzip", scratch / "cut");
  if (HasFatalFailure()) return;
  Opened lzo(scratch / "lzo");
  EXPECT_TRUE(lzo.ok() || lzo.error.find("compressed with lzo") != std::string::npos) << lzo.error;
  struct stat st;
  ASSERT_EQ(::stat((scratch / "cut").c_str(), &st), 0);
  // Each is refused, or still whole: mksquashfs pads to 4 KiB.
  for (off_t size = 0; size < st.st_size; size += 4096) {
    const std::string copy = scratch / "copy";
    ASSERT_EQ(run("cp " + (scratch / "cut") + " " + copy), "");
    ASSERT_EQ(::truncate(copy.c_str(), size), 0);
    EXPECT_FALSE(Opened(copy).ok()) << size;
  }
}

// Goes everywhere and reads everything; whatever is found, it ends and does not crash.
void explore(const Server& server, u64 directory, int depth, int& budget) {
  u64 cursor = 0;
  do {
    if (depth > 6 || budget-- <= 0) return;
    Answer answer(server, request(abi::ImporterOp::kReadDirectory, directory, cursor));
    if (answer.result < 0) return;
    abi::ImporterRecords<abi::ImporterEntry> records(answer.response());
    while (const abi::ImporterEntry* entry = records.next()) {
      const u64 number = entry->inode.number;
      if (entry->error != 0 || budget-- <= 0) continue;
      (void)Answer(server, request(abi::ImporterOp::kXattrs, number)).result;
      if (S_ISDIR(entry->inode.mode)) explore(server, number, depth + 1, budget);
      if (!S_ISREG(entry->inode.mode)) continue;
      for (const u64 at : {u64{0}, u64{200000}, entry->inode.size - 10}) {
        (void)Answer(server, request(abi::ImporterOp::kRead, number, at, 100000)).result;
      }
    }
    if (answer.header().next <= cursor) return;
    cursor = answer.header().next;
  } while (cursor != 0);
}

TEST(SquashImageTest, SurvivesDamage) {
  NEED_MKSQUASHFS();
  const Scratch scratch;
  std::mt19937 random(7);
  for (const char* options : {"-comp gzip -noI", "-comp lz4", "-comp zstd -noI -noF"}) {
    make_squashfs(scratch, options, scratch / "image");
    if (HasFatalFailure()) return;
    const std::string good = images::slurp(scratch / "image");
    for (int round = 0; round < 100; ++round) {
      std::string bad = good;
      for (u32 i = 0; i < 1 + random() % 20; ++i) {
        // The tables are at the end.
        const size_t from = round % 4 == 0 ? 0 : bad.size() - std::min<size_t>(bad.size(), 24000);
        bad[from + random() % (bad.size() - from)] = static_cast<char>(random());
      }
      std::ofstream(scratch / "bad", std::ios::binary) << bad;
      Opened image(scratch / "bad");
      if (!image.ok()) continue;
      int budget = 300;
      explore(image.server(), image.root(), 0, budget);
    }
  }
}

}  // namespace
}  // namespace teacup::importer
